"""Runs migrations on the connection that ``Database.upgrade`` hands over."""

from alembic import context

from earmark.store.models import Base

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    # One migration at a time, whichever machine it starts on; released with the transaction.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(728463517)")
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()

"""Times of comparisons of projects with Label Studio, and of reported deletions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, columns in (
        ("projects", ("synced_at", "sync_after")),
        ("tasks", ("deleted_at",)),
        ("annotations", ("deleted_at",)),
    ):
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.add_column(sa.Column(column, sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    for table, columns in (
        ("annotations", ("deleted_at",)),
        ("tasks", ("deleted_at",)),
        ("projects", ("sync_after", "synced_at")),
    ):
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.drop_column(column)

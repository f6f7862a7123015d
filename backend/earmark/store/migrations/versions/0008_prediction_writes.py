"""Which prediction each task was last given, and the version whose name Label Studio shows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prediction_writes",
        sa.Column("project_key", sa.String(64), primary_key=True),
        sa.Column("task_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("answered_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("duplicated", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_prediction_writes_duplicated", "prediction_writes", ["duplicated", "project_key"])
    op.create_index("ix_events_received", "events", ["project_key", "received_at"])
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("shown_version", sa.String(128), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("shown_version")
    op.drop_index("ix_events_received", "events")
    op.drop_index("ix_prediction_writes_duplicated", "prediction_writes")
    op.drop_table("prediction_writes")

"""What was worked on or taken away; how long a comparison took, and when a training failed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("worked_on", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("cleared", sa.JSON(), nullable=True))
    with op.batch_alter_table("projects", schema=None) as batch_op:
        for name in ("sync_seconds", "failed_at"):
            batch_op.add_column(sa.Column(name, sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        for name in ("failed_at", "sync_seconds"):
            batch_op.drop_column(name)
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_column("cleared")
        batch_op.drop_column("worked_on")

"""Annotations that somebody worked on after they came, and tags that were taken away."""

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


def downgrade() -> None:
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_column("cleared")
        batch_op.drop_column("worked_on")

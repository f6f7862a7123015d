"""Without the median of edge distances: most edges are not moved, so it hid how far the others were."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("version_outcomes", schema=None) as batch_op:
        batch_op.drop_column("edge_error_seconds")


def downgrade() -> None:
    with op.batch_alter_table("version_outcomes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("edge_error_seconds", sa.Double(), nullable=True))

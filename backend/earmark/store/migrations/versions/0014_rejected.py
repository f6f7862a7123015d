"""Versions that measured worse than the active one are called rejected."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE versions SET status = 'rejected' WHERE status = 'kept'")
    op.execute("UPDATE trainings SET outcome = 'rejected' WHERE outcome = 'kept'")


def downgrade() -> None:
    op.execute("UPDATE versions SET status = 'kept' WHERE status = 'rejected'")
    op.execute("UPDATE trainings SET outcome = 'kept' WHERE outcome = 'rejected'")

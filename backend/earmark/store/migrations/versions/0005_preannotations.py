"""Bulk predictions: runs and their chunks."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "preannotations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("selection", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("cancelled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_preannotations"),
    )
    with op.batch_alter_table("preannotations", schema=None) as batch_op:
        batch_op.create_index("ix_preannotations_project_key", ["project_key"], unique=False)
    op.create_table(
        "preannotation_chunks",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=True),
        sa.Column("predicted", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_preannotation_chunks"),
    )


def downgrade() -> None:
    op.drop_table("preannotation_chunks")
    with op.batch_alter_table("preannotations", schema=None) as batch_op:
        batch_op.drop_index("ix_preannotations_project_key")
    op.drop_table("preannotations")

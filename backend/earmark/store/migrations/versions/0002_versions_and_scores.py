"""Versions that were kept, their folds and history; reviews, renamed labels, scores of predictions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("label_config_at", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(
            sa.Column("learnt_config", sa.String(length=64), nullable=False, server_default="")
        )
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reviewed", sa.Boolean(), nullable=False, server_default=sa.false()))
        # 0: what was shown for annotations of before is not known, and they have been learnt from
        batch_op.add_column(sa.Column("shown_at", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("shown", sa.JSON(), nullable=True))
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("folds", sa.LargeBinary(), nullable=True))
        batch_op.add_column(
            sa.Column("status", sa.String(length=16), nullable=False, server_default="accepted")
        )
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))

    op.create_table(
        "activations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("encoder", sa.String(length=128), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("activated_at", sa.Double(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_activations"),
    )
    with op.batch_alter_table("activations", schema=None) as batch_op:
        batch_op.create_index("ix_activations_project_key", ["project_key"], unique=False)
    # Until now each version became the active one when it was trained
    op.execute(
        "INSERT INTO activations (project_key, encoder, version_id, activated_at, cause) "
        "SELECT project_key, encoder, id, created_at, 'trained' FROM versions ORDER BY id"
    )

    op.create_table(
        "label_renames",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=False),
        sa.Column("new", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_label_renames"),
    )
    with op.batch_alter_table("label_renames", schema=None) as batch_op:
        batch_op.create_index("ix_label_renames_project_key", ["project_key"], unique=False)

    op.create_table(
        "prediction_scores",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("shown_at", sa.Double(), nullable=False),
        sa.Column("scored_at", sa.Double(), nullable=False),
        sa.Column("distances", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "annotation_id", name="pk_prediction_scores"),
    )


def downgrade() -> None:
    op.drop_table("prediction_scores")
    with op.batch_alter_table("label_renames", schema=None) as batch_op:
        batch_op.drop_index("ix_label_renames_project_key")
    op.drop_table("label_renames")
    with op.batch_alter_table("activations", schema=None) as batch_op:
        batch_op.drop_index("ix_activations_project_key")
    op.drop_table("activations")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        for name in ("reason", "status", "folds"):
            batch_op.drop_column(name)
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        for name in ("shown", "shown_at", "reviewed"):
            batch_op.drop_column(name)
    with op.batch_alter_table("projects", schema=None) as batch_op:
        for name in ("learnt_config", "label_config_at"):
            batch_op.drop_column(name)

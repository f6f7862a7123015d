"""Heads apart from figures, without the fold heads of superseded versions; what a training knew."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

FOLDS_KEPT = 5


def upgrade() -> None:
    op.create_table(
        "version_heads",
        sa.Column("version_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("head_bytes", sa.BigInteger(), nullable=False),
        sa.Column("fold_bytes", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("folds", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("version_id", name="pk_version_heads"),
    )
    with op.batch_alter_table("version_heads", schema=None) as batch_op:
        batch_op.create_index("ix_version_heads_project_key", ["project_key"], unique=False)
    op.execute(
        "INSERT INTO version_heads (version_id, project_key, head_bytes, fold_bytes, head, folds)"
        " SELECT id, project_key, LENGTH(head), 0, head,"
        " CASE WHEN active OR number > (SELECT MAX(newer.number) FROM versions AS newer"
        f" WHERE newer.project_key = versions.project_key) - {FOLDS_KEPT} THEN folds END FROM versions"
    )
    op.execute("UPDATE version_heads SET fold_bytes = LENGTH(folds) WHERE folds IS NOT NULL")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.drop_column("head")
        batch_op.drop_column("folds")
        # Empty: what versions of before were trained on is not known, so the next training makes one
        batch_op.add_column(sa.Column("digest", sa.String(length=64), nullable=False, server_default=""))
        batch_op.create_index("ix_versions_active", ["project_key", "active"], unique=False)
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("annotated", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("annotated")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.drop_index("ix_versions_active")
        batch_op.drop_column("digest")
        batch_op.add_column(sa.Column("folds", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("head", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE versions SET head = COALESCE("
        "(SELECT head FROM version_heads WHERE version_id = versions.id), ''),"
        " folds = (SELECT folds FROM version_heads WHERE version_id = versions.id)"
    )
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.alter_column("head", existing_type=sa.LargeBinary(), nullable=False)
    op.drop_table("version_heads")

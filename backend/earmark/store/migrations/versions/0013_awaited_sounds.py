"""Sounds that trainings wait for, moves of Label Studio to confirm, secrets encrypted or gone."""

import sqlalchemy as sa
from alembic import context, op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sounds_awaited", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("fetch_after", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("offered_hostname", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("offered_token", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("offered_at", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("offer_asked_at", sa.Double(), nullable=False, server_default="0"))
    encrypt = context.config.attributes.get("encrypt")
    if encrypt is not None:
        connection = op.get_bind()
        rows = connection.execute(sa.text("SELECT key, access_token FROM projects WHERE access_token <> ''"))
        for key, token in rows.all():
            change = sa.text("UPDATE projects SET access_token = :token WHERE key = :key")
            connection.execute(change, {"key": key, "token": encrypt(token)})
    # Addresses used to be stored whole, with passwords and signed queries; each fault comes again.
    op.execute("DELETE FROM sound_faults WHERE address LIKE '%://%' AND address LIKE '%?%'")
    op.execute("DELETE FROM sound_faults WHERE address LIKE '%://%@%'")


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        for name in ("offer_asked_at", "offered_at", "offered_token", "offered_hostname", "fetch_after"):
            batch_op.drop_column(name)
        batch_op.drop_column("sounds_awaited")

"""Shards of the index, and the catalogue's identity"""

import os
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("shard", sa.Integer(), nullable=False, server_default="0"))
        batch_op.drop_index("ix_message_change")
        batch_op.create_index("message_shard", ["shard", "change"], unique=False)
    connection = op.get_bind()
    first = connection.execute(sa.text("SELECT message, id, min(n) FROM record GROUP BY message")).all()
    if first:
        connection.execute(
            sa.text("UPDATE message SET shard = :shard WHERE n = :n"),
            [{"n": message, "shard": _quarter(record)} for message, record, _ in first],
        )
    connection.execute(
        sa.text("INSERT INTO meta (key, value) VALUES ('identity', :identity)"),
        {"identity": int.from_bytes(os.urandom(8)) >> 1},
    )


def _quarter(record: bytes) -> int:
    """The quarter of a UUIDv7, as ``appliance.index.shard`` gives it."""
    moment = datetime.fromtimestamp(min(int.from_bytes(record[:6]) // 1000, 253_402_300_799), UTC)
    return moment.year * 10 + (moment.month + 2) // 3

"""Mailboxes with aliases, sealed mailboxes, erased records, timestamping"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "door",
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("mailbox", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["mailbox"],
            ["mailbox.id"],
        ),
        sa.PrimaryKeyConstraint("address", "mailbox"),
    )
    op.create_table(
        "erased",
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("mailbox", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("record"),
    )
    with op.batch_alter_table("erased", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_erased_number"), ["number"], unique=False)

    op.create_table(
        "timestamping",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("mailbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("description", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("aliases", sa.String(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("catch_all", sa.String(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("sealed", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("delete_after_pull", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("retention_days", sa.Integer(), nullable=False, server_default="0"))

    op.execute("INSERT INTO door (address, mailbox, until) SELECT address, id, deleted_at FROM mailbox")

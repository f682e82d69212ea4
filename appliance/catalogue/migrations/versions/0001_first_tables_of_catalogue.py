"""First tables of catalogue"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_message_change"), ["change"], unique=False)

    op.create_table(
        "meta",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "volume",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("path"),
    )
    op.create_table(
        "record",
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("volume", sa.Integer(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("message", sa.Integer(), nullable=False),
        sa.Column("mailbox", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("report", sa.Boolean(), nullable=False),
        sa.Column("unparsed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message"],
            ["message.n"],
        ),
        sa.ForeignKeyConstraint(
            ["volume"],
            ["volume.id"],
        ),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("record", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_record_mailbox"), ["mailbox"], unique=False)
        batch_op.create_index(batch_op.f("ix_record_message"), ["message"], unique=False)
        batch_op.create_index(batch_op.f("ix_record_received_at"), ["received_at"], unique=False)

    op.create_table(
        "ownership",
        sa.Column("archive", sa.String(), nullable=False),
        sa.Column("record", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["record"],
            ["record.n"],
        ),
        sa.PrimaryKeyConstraint("archive", "record"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ownership", schema=None) as batch_op:
        batch_op.create_index("ownership_record", ["record"], unique=False)

    op.create_table(
        "participation",
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.Integer(), nullable=False),
        sa.Column("domain", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["record"],
            ["record.n"],
        ),
        sa.PrimaryKeyConstraint("address", "record"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("participation", schema=None) as batch_op:
        batch_op.create_index("participation_record", ["record"], unique=False)

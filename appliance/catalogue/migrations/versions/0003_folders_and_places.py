"""Folders and places of fetched mail"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "folder",
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("archive", sa.String(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("role_at", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["parent"], ["folder.n"]),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("folder", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_folder_archive"), ["archive"], unique=False)
        batch_op.create_index(batch_op.f("ix_folder_parent"), ["parent"], unique=False)

    op.create_table(
        "place",
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("folder", sa.Integer(), nullable=False),
        sa.Column("message", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["folder"], ["folder.n"]),
        sa.ForeignKeyConstraint(["message"], ["message.n"]),
        sa.PrimaryKeyConstraint("record", "folder"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("place", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_place_message"), ["message"], unique=False)
        batch_op.create_index("place_folder", ["folder", "message"], unique=False)

    op.add_column("volume", sa.Column("places", sa.Integer(), nullable=False, server_default="0"))

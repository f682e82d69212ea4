"""Directories, and which of their entries are users here"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "directory",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("put", sa.LargeBinary(), nullable=False),
        sa.Column("synchronised_at", sa.Integer(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "link",
        sa.Column("directory", sa.String(), nullable=False),
        sa.Column("lookup", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("put", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("directory", "lookup"),
    )
    op.create_index("ix_link_user_id", "link", ["user_id"])

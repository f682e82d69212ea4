"""Whose archives may be read by whom"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("archive", sa.String(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["archive"], ["user.id"]),
        sa.PrimaryKeyConstraint("user_id", "archive"),
    )
    op.create_index("ix_access_archive", "access", ["archive"])

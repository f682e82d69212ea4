"""Where the certificate comes from"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("put", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )

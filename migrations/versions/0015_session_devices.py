"""Store from which device and address somebody has signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("user_agent", sa.String(255), nullable=True))
    op.add_column("sessions", sa.Column("address", sa.String(45), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "address")
    op.drop_column("sessions", "user_agent")

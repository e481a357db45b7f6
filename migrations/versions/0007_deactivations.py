"""Count a user's deactivations, which invalidate earlier sign-ins and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("users", "sessions", "api_keys")


def upgrade() -> None:
    for table in TABLES:
        column = sa.Column("deactivations", sa.Integer(), server_default="0", nullable=False)
        op.add_column(table, column)
    # Those of inactive users become invalid too; the others stay valid.
    op.execute(
        "UPDATE users SET deactivations = 1 WHERE active = 0 AND ("
        "EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)"
        " OR EXISTS (SELECT 1 FROM api_keys WHERE api_keys.user_id = users.id))"
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        # No batch: it would recreate the table, and dropping the old one would cascade.
        op.drop_column(table, "deactivations")

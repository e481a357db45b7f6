"""Index users by role, and add the time of their last sign-in."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = (
    ("role", "id"),
    ("role", "created_at", "id"),
    ("role", "username_folded", "id"),
    ("role", "email_folded", "id"),
)


def upgrade() -> None:
    op.add_column("users", sa.Column("last_sign_in_at", sa.DateTime(), nullable=True))
    for columns in INDEXES:
        op.create_index(f"ix_users_{'_'.join(columns)}", "users", columns)
    op.drop_index("ix_users_role", "users")


def downgrade() -> None:
    op.create_index("ix_users_role", "users", ["role"])
    for columns in INDEXES:
        op.drop_index(f"ix_users_{'_'.join(columns)}", "users")
    # No batch: it would recreate the table, and dropping the old one would cascade.
    op.drop_column("users", "last_sign_in_at")

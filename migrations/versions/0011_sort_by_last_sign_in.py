"""Index the order by the time of the last sign-in, with each filter of the list.

An upgrade that was interrupted goes on where it stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_users_last_sign_in_at_id": ["last_sign_in_at", "id"],
    "ix_users_active_last_sign_in_at_id": ["active", "last_sign_in_at", "id"],
    "ix_users_role_last_sign_in_at_id": ["role", "last_sign_in_at", "id"],
}


def upgrade() -> None:
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("users")}
    for name, columns in INDEXES.items():
        if name not in existing:
            op.create_index(name, "users", columns)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "users")

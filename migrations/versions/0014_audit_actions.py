"""Index audit events by action.

Each index is made while writes go on, by MySQL and MariaDB; an upgrade that was interrupted goes on
where it stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEXES = (
    ("action", "created_at", "id"),
    ("user_id", "action", "created_at", "id"),
    ("actor", "action", "created_at", "id"),
)


def name_of(columns):
    return op.f(f"ix_audit_events_{'_'.join(columns)}")


def upgrade() -> None:
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("audit_events")}
    for columns in INDEXES:
        if name_of(columns) not in existing:
            op.create_index(name_of(columns), "audit_events", columns)


def downgrade() -> None:
    for columns in INDEXES:
        op.drop_index(name_of(columns), "audit_events")

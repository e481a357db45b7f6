"""Store the folded username, and index every order and filter of the list."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROWS_PER_BATCH = 5000
INDEXES = [
    ["username_folded", "id"],
    ["active", "id"],
    ["active", "created_at", "id"],
    ["active", "username_folded", "id"],
    ["active", "email_folded", "id"],
]

users = sa.table("users", sa.column("id"), sa.column("username"), sa.column("username_folded"))


def fold(username: str) -> str:
    """Fold as the code of this revision does; later code may differ."""
    normal = unicodedata.normalize("NFC", username)
    return unicodedata.normalize("NFC", normal.casefold()).rstrip(" ")


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("username_folded", sa.String(384), server_default="", nullable=False)
    )
    connection = op.get_bind()
    page = sa.select(users.c.id, users.c.username).order_by(users.c.id).limit(ROWS_PER_BATCH)
    change = (
        sa.update(users)
        .where(users.c.id == sa.bindparam("user_id"))
        .values(username_folded=sa.bindparam("folded"))
    )
    last_id = 0
    while rows := connection.execute(page.where(users.c.id > last_id)).all():
        connection.execute(
            change, [{"user_id": row.id, "folded": fold(row.username)} for row in rows]
        )
        last_id = rows[-1].id
    for columns in INDEXES:
        op.create_index(op.f("ix_users_" + "_".join(columns)), "users", columns)


def downgrade() -> None:
    for columns in INDEXES:
        op.drop_index(op.f("ix_users_" + "_".join(columns)), "users")
    with op.batch_alter_table("users") as batch:
        batch.drop_column("username_folded")

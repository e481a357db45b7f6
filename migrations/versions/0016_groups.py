"""Create the tables of groups and their members; make room for the scopes of API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {
        "engine": "InnoDB",
        "charset": "utf8mb4",
        "collate": "utf8mb4_bin",
    }.items()
}


def upgrade() -> None:
    _set_scopes_length(64, 255)
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("display_name_folded", sa.String(768), nullable=False),
        sa.Column("external_id", sa.String(128), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("display_name_folded", name=op.f("uq_groups_display_name_folded")),
        sqlite_autoincrement=True,
        **OPTIONS,
    )
    op.create_index(op.f("ix_groups_external_id_id"), "groups", ["external_id", "id"])
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_group_members_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_group_members_user_id"), ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_group_members_user_id_group_id"), "group_members", ["user_id", "group_id"]
    )


def downgrade() -> None:
    op.drop_table("group_members")
    _set_scopes_length(255, 64)
    op.drop_table("groups")


def _set_scopes_length(old: int, new: int) -> None:
    """Change the length of the column; a later change of a table makes all connections see it.

    SQLite has no statement for it, and does not enforce a length: the text of the schema is changed
    (https://sqlite.org/lang_altertable.html#otheralter). A new table would forget its next id.
    """
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(
            "api_keys",
            "scopes",
            existing_type=sa.String(old),
            type_=sa.String(new),
            existing_nullable=False,
        )
        return
    op.execute("PRAGMA writable_schema = ON")
    op.execute(
        f"UPDATE sqlite_master SET sql = replace(sql, 'scopes VARCHAR({old})',"
        f" 'scopes VARCHAR({new})') WHERE type = 'table' AND name = 'api_keys'"
    )
    op.execute("PRAGMA writable_schema = RESET")

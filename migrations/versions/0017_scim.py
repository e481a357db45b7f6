"""Keep what SCIM knows of users, and where pages of its lists begin."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_OPTIONS = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in {
        "engine": "InnoDB",
        "charset": "utf8mb4",
        "collate": "utf8mb4_bin",
    }.items()
}


def upgrade() -> None:
    op.create_table(
        "scim_users",
        sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_name", sa.String(128), nullable=False),
        sa.Column("user_name_folded", sa.String(512), nullable=False),
        sa.Column("external_id", sa.String(128), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], op.f("fk_scim_users_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_scim_users")),
        sa.UniqueConstraint("user_name_folded", name=op.f("uq_scim_users_user_name_folded")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_scim_users_external_id"), "scim_users", ["external_id"])
    op.create_table(
        "scim_emails",
        sa.Column("email_folded", sa.String(512), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], op.f("fk_scim_emails_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("email_folded", "user_id", name=op.f("pk_scim_emails")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_scim_emails_user_id"), "scim_emails", ["user_id"])
    op.create_table(
        "scim_places",
        sa.Column("listing", sa.String(64), nullable=False),
        sa.Column("start_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("after_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("listing", "start_index", name=op.f("pk_scim_places")),
        **_OPTIONS,
    )
    op.create_index(op.f("ix_scim_places_created_at"), "scim_places", ["created_at"])


def downgrade() -> None:
    op.drop_table("scim_places")
    op.drop_table("scim_emails")
    op.drop_table("scim_users")

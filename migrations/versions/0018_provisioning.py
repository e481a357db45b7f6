"""Create the tables of what keys have deactivated within an hour, and of the last SCIM requests."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
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
    op.create_table(
        "deactivation_guards",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("times", sa.String(1024), nullable=False),
        sa.Column("stopped_at", sa.DateTime(), nullable=True),
        sa.Column("allowed_until", sa.DateTime(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_deactivation_guards")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_deactivation_guards_changed_at"), "deactivation_guards", ["changed_at"]
    )
    op.create_table(
        "scim_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(512), nullable=True),
        sa.Column("key_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scim_requests")),
        sqlite_autoincrement=True,
        **OPTIONS,
    )
    op.create_index(op.f("ix_scim_requests_key_id_id"), "scim_requests", ["key_id", "id"])


def downgrade() -> None:
    op.drop_table("scim_requests")
    op.drop_table("deactivation_guards")

"""The users table."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Boolean, DateTime, Enum, Index, Integer, String, false
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, validates

from project.api.users.folding import fold_email, fold_username
from project.clock import utcnow
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

FOLDED_EMAIL_LENGTH = 512
FOLDED_TEXT_LENGTH = 3 * TEXT_LENGTH
PASSWORD_HASH_LENGTH = 255
ROLES = ("viewer", "editor", "admin")


def _created_at(context: DefaultExecutionContext) -> Any:
    return context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]


class StoredUser(NamedTuple):
    """A user as a statement has found or left the row: what clients see, and what writes ask."""

    id: int
    username: str
    email: str
    active: bool
    created_at: datetime
    updated_at: datetime
    version: int
    role: str | None
    password_version: int


class User(db.Model):  # type: ignore[name-defined,misc]
    """A user of the directory.

    ``User(username=..., email=...)`` alone is a complete row: the other columns fill themselves.
    One mailbox is one user, by the unique constraint on ``email_folded``; usernames repeat freely.
    Without a password nobody can sign in as the user; without a role it is an ordinary user.
    ``password_version`` counts the passwords that the user has had: a sign-in with another one is
    over. ``deactivations`` counts how often the user was deactivated: a sign-in of before is over,
    and so is an API key, until somebody resumes it. ``version`` counts the states of a user from 1;
    the ETag is made of it.
    Times are UTC, naive, in whole seconds. Text compares by code point in every database
    (utf8mb4_bin). An id is never given twice, also not after its user was removed.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    username: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    email: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    email_folded: Mapped[str] = mapped_column(String(FOLDED_EMAIL_LENGTH), unique=True)
    active: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(DateTime, default=_created_at, onupdate=utcnow)
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    username_folded: Mapped[str] = mapped_column(String(FOLDED_TEXT_LENGTH), server_default="")
    password_hash: Mapped[str | None] = mapped_column(String(PASSWORD_HASH_LENGTH))
    password_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    role: Mapped[str | None] = mapped_column(Enum(*ROLES, name="role"), index=True)
    deactivations: Mapped[int] = mapped_column(Integer, server_default="0")

    # Each UPDATE raises the version in the same statement.
    __mapper_args__ = {"version_id_col": version}

    __table_args__ = (
        # One for each order of the list, alone and among the active or the others. An order by id
        # alone is the table's own, one by email that of the unique constraint.
        Index(None, "created_at", "id"),
        Index(None, "username_folded", "id"),
        Index(None, "active", "id"),
        Index(None, "active", "created_at", "id"),
        Index(None, "active", "username_folded", "id"),
        Index(None, "active", "email_folded", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

    @validates("username")
    def _fold_username(self, _key: str, username: str) -> str:
        self.username_folded = fold_username(username)
        return username

    @validates("email")
    def _fold(self, _key: str, email: str) -> str:
        self.email_folded = fold_email(email)
        return email

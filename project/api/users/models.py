"""The users table."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Enum, ForeignKey, Index, Integer, String, false
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, validates

from project.api.users.folding import fold_email, fold_username
from project.api.users.words import WORD_LENGTH
from project.clock import utcnow
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

FOLDED_EMAIL_LENGTH = 512
FOLDED_TEXT_LENGTH = 3 * TEXT_LENGTH
PASSWORD_HASH_LENGTH = 255
ROLES = ("viewer", "editor", "admin")
FOLDED: dict[str, tuple[str, Callable[[str], str]]] = {
    "username": ("username_folded", fold_username),
    "email": ("email_folded", fold_email),
}
"""The columns that have a folded form: its column and its function."""


def _created_at(context: DefaultExecutionContext) -> Any:
    return context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]


class User(db.Model):  # type: ignore[name-defined,misc]
    """A user of the directory.

    ``User(username=..., email=...)`` is a complete row: the other columns have defaults. The unique
    constraint on ``email_folded`` allows one user per mailbox; usernames need not be unique.
    Nobody can sign in as a user without a password; a user without a role is an ordinary user.
    ``password_version`` counts the user's passwords; a sign-in with an earlier one has ended.
    ``last_sign_in_at`` is exact to the minute; setting it does not change the version.
    ``deactivations`` counts how often the user was deactivated; earlier sign-ins have ended, and
    earlier API keys are suspended until they are resumed. ``version`` counts the user's versions
    from 1 and is the ETag.
    Times are naive UTC in whole seconds. Text is compared by code point in every database
    (utf8mb4_bin). Ids are never reused, even after a user is removed.
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
    role: Mapped[str | None] = mapped_column(Enum(*ROLES, name="role"))
    deactivations: Mapped[int] = mapped_column(Integer, server_default="0")
    last_sign_in_at: Mapped[datetime | None] = mapped_column(DateTime)

    # Each UPDATE increments the version in the same statement.
    __mapper_args__ = {"version_id_col": version}

    __table_args__ = (
        # One per order of the list: unfiltered, filtered by active, and filtered by role. The order
        # by id is the primary key's, the unfiltered order by email the unique constraint's.
        Index(None, "created_at", "id"),
        Index(None, "username_folded", "id"),
        Index(None, "last_sign_in_at", "id"),
        Index(None, "active", "id"),
        Index(None, "active", "created_at", "id"),
        Index(None, "active", "username_folded", "id"),
        Index(None, "active", "email_folded", "id"),
        Index(None, "active", "last_sign_in_at", "id"),
        Index(None, "role", "id"),
        Index(None, "role", "created_at", "id"),
        Index(None, "role", "username_folded", "id"),
        Index(None, "role", "email_folded", "id"),
        Index(None, "role", "last_sign_in_at", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

    @validates(*FOLDED)
    def _fold(self, name: str, value: str) -> str:
        column, fold = FOLDED[name]
        setattr(self, column, fold(value))
        return value


class UserWord(db.Model):  # type: ignore[name-defined,misc]
    """A word by which a search finds a user; see ``words``."""

    __tablename__ = "user_words"

    word: Mapped[str] = mapped_column(String(WORD_LENGTH), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )

    __table_args__ = (
        Index(None, "user_id", "word"),
        {"sqlite_with_rowid": False, **TABLE_OPTIONS},
    )


class DeactivationGuard(db.Model):  # type: ignore[name-defined,misc]
    """What an API key has deactivated and removed within the last hour; see deactivation_guard.

    ``times`` is a JSON list of at most 50 times, in seconds since 1970. ``stopped_at`` is when the
    key was stopped, which is recorded once an hour. Until ``allowed_until``, nothing is counted.
    The key may be gone: ids of keys are never given twice, and the row goes after two hours.
    """

    __tablename__ = "deactivation_guards"

    key_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    times: Mapped[str] = mapped_column(String(1024))
    stopped_at: Mapped[datetime | None] = mapped_column(DateTime)
    allowed_until: Mapped[datetime | None] = mapped_column(DateTime)
    changed_at: Mapped[datetime] = mapped_column(DateTime, index=True)

    __table_args__ = TABLE_OPTIONS


class AdministratorGuard(db.Model):  # type: ignore[name-defined,misc]
    """One row, which every loss of an administrator changes, and the making of the first one.

    So two losses at once conflict, although they are of different users, even on two servers of a
    cluster, where the locks of one do not hold on the other.
    """

    __tablename__ = "administrator_guard"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    losses: Mapped[int] = mapped_column(Integer)

    __table_args__ = TABLE_OPTIONS

"""Who has signed in, and the keys of machines. Both go with their user."""

from datetime import datetime

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, Integer, String, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

SCOPES_LENGTH = 64
"""Of all scopes of a key, with a space between two."""


class Words(TypeDecorator[list[str]]):
    """A list of words, in a column of text with a space between two."""

    impl = String
    cache_ok = True
    python_type = list

    def process_bind_param(self, value: list[str] | None, _dialect: Dialect) -> str | None:
        """Return what is stored."""
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> list[str] | None:
        """Return what was stored."""
        return None if value is None else value.split()


class Session(db.Model):  # type: ignore[name-defined,misc]
    """A sign-in that is still good: its token or cookie names ``token_id``. Removed, it is over.

    So it is when the user has got another password since (``password_version``), or was deactivated
    (``deactivations``), also when the user is active again.
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token_id: Mapped[str] = mapped_column(String(32), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    password_version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    deactivations: Mapped[int] = mapped_column(Integer, server_default="0")

    __table_args__ = TABLE_OPTIONS


class APIKey(db.Model):  # type: ignore[name-defined,misc]
    """A key with which a machine acts for its user.

    Only a hash of the key is kept (SHA-256: keys are random, nothing could be guessed), and its
    first characters, by which people recognise it. It is suspended when the user was deactivated
    since it was made or resumed: ``deactivations`` is not the user's.
    """

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    prefix: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(Words(SCOPES_LENGTH))
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime | None] = mapped_column(DateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime)
    deactivations: Mapped[int] = mapped_column(Integer, server_default="0")

    __table_args__ = (
        Index(None, "user_id", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


class SignInAttempts(db.Model):  # type: ignore[name-defined,misc]
    """How often signing in has failed for a subject: an account, an address, or both.

    ``known_at`` is when the account has last signed in from the address.
    """

    __tablename__ = "sign_in_attempts"

    subject_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    attempted_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    known_at: Mapped[datetime | None] = mapped_column(DateTime)

    __table_args__ = TABLE_OPTIONS

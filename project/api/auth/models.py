"""Sign-ins and API keys. Both are deleted with their user."""

from datetime import datetime

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, Integer, String, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from project.api.audit.models import ADDRESS_LENGTH
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

SCOPES_LENGTH = 64
"""The maximum length of a key's scopes, separated by spaces."""

USER_AGENT_LENGTH = 255


class Words(TypeDecorator[list[str]]):
    """A list of words, stored as text separated by spaces."""

    impl = String
    cache_ok = True
    python_type = list

    def process_bind_param(self, value: list[str] | None, _dialect: Dialect) -> str | None:
        """Return the text to store."""
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> list[str] | None:
        """Return the list that was stored."""
        return None if value is None else value.split()


class Session(db.Model):  # type: ignore[name-defined,misc]
    """A sign-in, which a token or cookie refers to by ``token_id``. Deleting the row ends it.

    It is also invalid if the user's password has changed since (``password_version``), or if the
    user has been deactivated since (``deactivations``), even if they are active again.
    ``user_agent`` and ``address`` are what the client showed when it signed in, cut to their
    lengths; NULL: nothing.
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token_id: Mapped[str] = mapped_column(String(32), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    password_version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    deactivations: Mapped[int] = mapped_column(Integer, server_default="0")
    user_agent: Mapped[str | None] = mapped_column(String(USER_AGENT_LENGTH))
    address: Mapped[str | None] = mapped_column(String(ADDRESS_LENGTH))

    __table_args__ = TABLE_OPTIONS


class APIKey(db.Model):  # type: ignore[name-defined,misc]
    """A key with which a machine acts for its user.

    Only its hash is stored (SHA-256 suffices, since keys are random and cannot be guessed), and its
    first characters, by which people recognise it. It is suspended if ``deactivations`` differs
    from the user's: the user has been deactivated since it was created or last resumed.
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
    """The number of failed sign-ins of a subject: an account, an address, or both.

    ``known_at`` is when the account last signed in from the address.
    """

    __tablename__ = "sign_in_attempts"

    subject_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    attempted_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    known_at: Mapped[datetime | None] = mapped_column(DateTime)

    __table_args__ = TABLE_OPTIONS

"""Sign-ins, API keys and one-time links, which are deleted with their user; mails to send."""

from datetime import datetime

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, Integer, String, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from project.api.audit.models import ADDRESS_LENGTH, NAME_LENGTH
from project.api.users.models import FOLDED_EMAIL_LENGTH
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

SCOPES_LENGTH = 255
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


class Link(db.Model):  # type: ignore[name-defined,misc]
    """A user's one-time link, at which they choose a password and are signed in.

    A user has one at most; the next one replaces it. Only the hash of its token is stored (SHA-256
    suffices, since tokens are random). It is also invalid if the user's mailbox or password has
    changed since, or if the user has been deactivated since.
    """

    __tablename__ = "links"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    purpose: Mapped[str] = mapped_column(String(16))
    email_folded: Mapped[str] = mapped_column(String(FOLDED_EMAIL_LENGTH))
    password_version: Mapped[int] = mapped_column(Integer)
    deactivations: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    created_by: Mapped[str] = mapped_column(String(NAME_LENGTH))

    __table_args__ = TABLE_OPTIONS


class Mail(db.Model):  # type: ignore[name-defined,misc]
    """A mail with a one-time link that has not been sent yet.

    It has neither text nor link: both are made when it is sent, and then the row is deleted.
    ``recipient`` is the address as somebody entered it, whether or not a user has it.
    ``created_by`` is who asked for it, as in the audit trail. ``next_attempt_at`` is also the end
    of the running attempt's claim.
    """

    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    recipient: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    language: Mapped[str | None] = mapped_column(String(16))
    created_by: Mapped[str] = mapped_column(String(NAME_LENGTH))
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    attempts: Mapped[int] = mapped_column(Integer)
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    last_error: Mapped[str | None] = mapped_column(String(255))

    __table_args__ = TABLE_OPTIONS


class SetupCode(db.Model):  # type: ignore[name-defined,misc]
    """One row, from whose random salt and the secret key the code for the first start is made."""

    __tablename__ = "setup_codes"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    salt: Mapped[str] = mapped_column(String(64))

    __table_args__ = TABLE_OPTIONS

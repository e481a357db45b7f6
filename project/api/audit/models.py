"""The table of audit events."""

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from project.clock import utcnow
from project.database import TABLE_OPTIONS, db

NAME_LENGTH = 64
ADDRESS_LENGTH = 45


class AuditEvent(db.Model):  # type: ignore[name-defined,misc]
    """An action that was done. It never changes, except for the counts of a running import.

    ``actor`` is ``user:7``, ``key:3``, ``command:seed_db`` or ``anonymous``. ``user_id`` is the
    affected user: not a foreign key, since a user's events remain after the user is removed; NULL
    if not exactly one user was affected. ``before`` and ``after`` are JSON objects with the fields
    that changed, or with counts for several users. ``request_id`` and ``address`` are NULL for
    commands.
    """

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utcnow)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH))
    action: Mapped[str] = mapped_column(String(NAME_LENGTH))
    user_id: Mapped[int | None] = mapped_column(Integer)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    address: Mapped[str | None] = mapped_column(String(ADDRESS_LENGTH))

    __table_args__ = (
        # One per combination of filters, in the order of the list; none for all three, since few
        # events are by one actor to one user.
        Index(None, "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "actor", "created_at", "id"),
        Index(None, "user_id", "actor", "created_at", "id"),
        Index(None, "action", "created_at", "id"),
        Index(None, "user_id", "action", "created_at", "id"),
        Index(None, "actor", "action", "created_at", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

"""The trail of what was done."""

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from project.clock import utcnow
from project.database import TABLE_OPTIONS, db

NAME_LENGTH = 64
ADDRESS_LENGTH = 45


class AuditEvent(db.Model):  # type: ignore[name-defined,misc]
    """Something that was done. Never changed, but for the counts of an import under way.

    ``actor`` is ``user:7``, ``key:3``, ``command:seed_db`` or ``anonymous``. ``user_id`` is whom it
    was done to: no foreign key, since a user's events stay when the user goes; NULL when there is
    not just one. ``before`` and ``after`` are JSON objects of the fields that changed; of many
    users at once, of counts. ``request_id`` and ``address`` are NULL in commands.
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
        # One for each combination of filters, in the order of the list.
        Index(None, "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "actor", "created_at", "id"),
        Index(None, "user_id", "actor", "created_at", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

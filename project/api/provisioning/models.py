"""The table of the last SCIM requests."""

from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from project.database import TABLE_OPTIONS, db

METHOD_LENGTH = 16
ROUTE_LENGTH = 64
MESSAGE_LENGTH = 512


class SCIMRequest(db.Model):  # type: ignore[name-defined,misc]
    """A SCIM request and its answer, without personal data; only the last ones of a key are kept.

    ``route`` is the route's template, such as ``/Users/<id>``. ``message`` is what an error has
    said, without what the client had sent; NULL: no error. ``key_id`` is the API key's, which may
    be gone; NULL: no valid one, or a token.
    """

    __tablename__ = "scim_requests"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    method: Mapped[str] = mapped_column(String(METHOD_LENGTH))
    route: Mapped[str] = mapped_column(String(ROUTE_LENGTH))
    status: Mapped[int] = mapped_column(Integer)
    message: Mapped[str | None] = mapped_column(String(MESSAGE_LENGTH))
    key_id: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (
        Index(None, "key_id", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

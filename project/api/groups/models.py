"""The tables of groups and of their members."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from project.clock import utcnow
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

DISPLAY_NAME_LENGTH = 256
"""That of the longest name in Microsoft Entra ID. Folded, it just fits into an index of InnoDB."""


class Group(db.Model):  # type: ignore[name-defined,misc]
    """A group of users.

    ``external_id`` is the group's id in the directory that keeps it; it need not be unique.
    ``version`` counts the group's versions from 1, those of its members included, and is the ETag.
    """

    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    display_name: Mapped[str] = mapped_column(String(DISPLAY_NAME_LENGTH))
    display_name_folded: Mapped[str] = mapped_column(String(3 * DISPLAY_NAME_LENGTH), unique=True)
    external_id: Mapped[str | None] = mapped_column(String(TEXT_LENGTH))
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(DateTime, default=utcnow, onupdate=utcnow)
    version: Mapped[int] = mapped_column(Integer, server_default="1")

    __table_args__ = (
        Index(None, "external_id", "id"),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


class GroupMember(db.Model):  # type: ignore[name-defined,misc]
    """That a user is in a group. The row goes with either of them."""

    __tablename__ = "group_members"

    group_id: Mapped[int] = mapped_column(
        ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )

    __table_args__ = (
        Index(None, "user_id", "group_id"),
        {"sqlite_with_rowid": False, **TABLE_OPTIONS},
    )

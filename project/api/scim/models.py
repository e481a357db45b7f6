"""The tables of SCIM."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from project.api.users.models import FOLDED_EMAIL_LENGTH
from project.clock import utcnow
from project.database import TABLE_OPTIONS, db
from project.web.fields import TEXT_LENGTH

MAX_ATTRIBUTES_BYTES = 65_535
LISTING_LENGTH = 64


class SCIMUser(db.Model):  # type: ignore[name-defined,misc]
    """What SCIM knows of a user beyond the directory.

    A user without a row answers to its email as its ``userName``. ``user_name_folded`` is compared
    with ``users.email_folded``, so an address is folded alike in both. ``attributes`` is the JSON
    of the attributes that are only kept.
    """

    __tablename__ = "scim_users"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    user_name: Mapped[str] = mapped_column(String(TEXT_LENGTH))
    user_name_folded: Mapped[str] = mapped_column(String(FOLDED_EMAIL_LENGTH), unique=True)
    external_id: Mapped[str | None] = mapped_column(String(TEXT_LENGTH), index=True)
    attributes: Mapped[str] = mapped_column(Text)

    __table_args__ = TABLE_OPTIONS


class SCIMEmail(db.Model):  # type: ignore[name-defined,misc]
    """An email of a user beside that in the directory, by which a filter finds them too."""

    __tablename__ = "scim_emails"

    email_folded: Mapped[str] = mapped_column(String(FOLDED_EMAIL_LENGTH), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )

    __table_args__ = TABLE_OPTIONS


class SCIMPlace(db.Model):  # type: ignore[name-defined,misc]
    """Where a page of a list begins: after which id, as the page before it has ended.

    :ivar listing: the list and who reads it.
    """

    __tablename__ = "scim_places"

    listing: Mapped[str] = mapped_column(String(LISTING_LENGTH), primary_key=True)
    start_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    after_id: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=utcnow)

    __table_args__ = (Index(None, "created_at"), TABLE_OPTIONS)

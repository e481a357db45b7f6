"""The users table."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Index, Integer, String, false
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, validates

from project.api.users.emails import fold_email
from project.clock import utcnow
from project.extensions import db

TEXT_LENGTH = 128
FOLDED_EMAIL_LENGTH = 512


def _created_at(context: DefaultExecutionContext) -> Any:
    return context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]


class User(db.Model):  # type: ignore[name-defined,misc]
    """A user of the directory.

    ``User(username=..., email=...)`` alone is a complete row: the other columns fill themselves.
    One mailbox is one user, by the unique constraint on ``email_folded``; usernames repeat freely.
    ``version`` counts the states of a user from 1; the ETag is made of it.
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

    # Each UPDATE raises the version in the same statement.
    __mapper_args__ = {"version_id_col": version}

    __table_args__ = (
        Index(None, "created_at", "id"),
        {
            "sqlite_autoincrement": True,
            **{
                f"{dialect}_{option}": value
                for dialect in ("mysql", "mariadb")
                for option, value in {
                    "engine": "InnoDB",
                    "charset": "utf8mb4",
                    "collate": "utf8mb4_bin",
                }.items()
            },
        },
    )

    @validates("email")
    def _fold(self, _key: str, email: str) -> str:
        self.email_folded = fold_email(email)
        return email

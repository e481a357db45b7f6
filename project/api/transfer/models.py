"""The tables of imports that the pages run."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from project.database import TABLE_OPTIONS, db

FILE_NAME_LENGTH = 255
MESSAGE_LENGTH = 1000


class Import(db.Model):  # type: ignore[name-defined,misc]
    """A file that was uploaded, and what became of it.

    ``id`` cannot be guessed, and names the file on the server's disk; ``file_name`` is only shown.
    ``user_id`` is who uploaded it: not a foreign key, since the user may be removed; NULL if
    nobody has signed in. ``state`` is ``waiting``, ``running``, ``done``, ``failed``, ``undoing``
    or ``undone``. ``options`` and ``report`` are JSON objects. ``progress`` of ``total`` are bytes
    of the file, or its rows where a file is read as a whole before its first row. ``line`` is that
    of the last row that was saved.

    While a thread works on it, ``runner`` is a token of the thread, which writes ``beat_at`` with
    each batch. A thread whose token was replaced saves nothing more.
    """

    __tablename__ = "imports"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Integer)
    file_name: Mapped[str] = mapped_column(String(FILE_NAME_LENGTH))
    state: Mapped[str] = mapped_column(String(16))
    options: Mapped[str] = mapped_column(Text)
    report: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(String(MESSAGE_LENGTH))
    size: Mapped[int] = mapped_column(BigInteger)
    progress: Mapped[int] = mapped_column(BigInteger, server_default="0")
    total: Mapped[int | None] = mapped_column(BigInteger)
    line: Mapped[int] = mapped_column(Integer, server_default="0")
    runner: Mapped[str | None] = mapped_column(String(32))
    beat_at: Mapped[datetime | None] = mapped_column(DateTime)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    started_at: Mapped[datetime | None] = mapped_column(DateTime)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime)

    __table_args__ = (Index(None, "created_at", "id"), TABLE_OPTIONS)


class ImportChange(db.Model):  # type: ignore[name-defined,misc]
    """What an import has done to a user, so that it can be undone.

    ``user_id`` is not a foreign key, since the user may be removed. ``kind`` is ``created`` or
    ``changed``. ``before`` is a JSON object with the old values of the changed fields; NULL for a
    new user. ``version`` is the user's after the import; 0 if somebody else has changed the user
    during the import. ``kept`` says why an undo has left the user as they are; NULL: it has not.
    """

    __tablename__ = "import_changes"

    import_id: Mapped[str] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    before: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    kept: Mapped[str | None] = mapped_column(String(16))

    __table_args__ = TABLE_OPTIONS

"""The files that people upload on the page, in ``UPLOADS_DIR``. Knows neither HTTP nor SQL.

A file's name is the id of its import. It is removed after the import, or an hour after it was last
used. The rows that failed stand in a file beside it, which stays as long as the import is listed.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO

from flask import current_app

from project.errors import Message, NotFound, StorageFull, TooLarge
from project.web.pruning import prunes

PIECE_BYTES = 65_536
HOURS = 1
DAYS_LISTED = 7
_FAILED = ".failed"
_PART = ".part"
_SECONDS = {"": HOURS * 3600, _PART: HOURS * 3600, _FAILED: DAYS_LISTED * 86_400}
_ID = re.compile("[0-9a-f]{32}")
_open_private = partial(os.open, mode=0o600)


class FileGone(NotFound):
    """The file is not on this server: its time is over, or another server has it (404)."""

    message = "The file is not on this server any more."


def is_id(text: str) -> bool:
    """Return whether a text can be the id of an import."""
    return _ID.fullmatch(text) is not None


def save(read: Callable[[int], bytes], max_bytes: int) -> tuple[str, int]:
    """Store a file piece by piece; return its new id, and its size. What is incomplete is removed.

    :param read: returns at most the given number of bytes, and none at the end.
    :raises TooLarge: the file has more than ``max_bytes`` (413).
    :raises StorageFull: the disk has no room, or the folder cannot be written (507).
    """
    upload_id, size = secrets.token_hex(16), 0
    part = _path(upload_id, _PART)
    try:
        with _storage_errors():
            part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(part, "xb", opener=_open_private) as file:
                while data := read(PIECE_BYTES):
                    size += len(data)
                    if size > max_bytes:
                        raise TooLarge(
                            Message(
                                "The data is larger than %(limit)s bytes.", limit=f"{max_bytes:,}"
                            )
                        )
                    file.write(data)
            part.rename(_path(upload_id))
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return upload_id, size


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFull from error


def exists(upload_id: str) -> bool:
    """Return whether the file is on this server."""
    return _path(upload_id).is_file()


def opened(upload_id: str) -> BinaryIO:
    """Return the file, opened.

    :raises FileGone: it is not on this server (404).
    """
    try:
        return open(_path(upload_id), "rb")
    except FileNotFoundError as error:
        raise FileGone from error


def touch(upload_id: str) -> None:
    """Keep the file for another hour."""
    with suppress(OSError):
        os.utime(_path(upload_id))


def remove(upload_id: str) -> None:
    """Remove the file; that of the failed rows stays."""
    with suppress(OSError):
        _path(upload_id).unlink()


def remove_all(upload_id: str) -> None:
    """Remove the file, and that of the failed rows."""
    remove(upload_id)
    with suppress(OSError):
        _path(upload_id, _FAILED).unlink()


def open_failed(upload_id: str) -> TextIO:
    """Return the file for the rows that fail, to append to it.

    As CSV it begins with UTF-8's mark, for spreadsheets.

    :raises StorageFull: it cannot be written (507).
    """
    with _storage_errors():
        return open(
            _path(upload_id, _FAILED),
            "a",
            encoding="utf-8-sig",
            errors="replace",
            newline="",
            opener=_open_private,
        )


def read_failed(upload_id: str) -> Iterator[bytes]:
    """Return the file of the rows that failed, piece by piece.

    :raises FileGone: it is not on this server (404).
    """
    try:
        file = open(_path(upload_id, _FAILED), "rb")
    except FileNotFoundError as error:
        raise FileGone from error

    def pieces() -> Iterator[bytes]:
        with file:
            yield from iter(partial(file.read, PIECE_BYTES), b"")

    return pieces()


@prunes("uploaded files")
def remove_expired(limit: int) -> int:
    """Remove files whose time is over, also those that a killed process has left.

    :return: the number of files removed.
    """
    removed, now = 0, time.time()
    for path in _folder().glob("*"):
        seconds = _SECONDS.get(path.suffix)
        if seconds is None or not is_id(path.stem):
            continue
        with suppress(OSError):  # another process may have removed it
            if path.stat().st_mtime < now - seconds:
                path.unlink()
                removed += 1
        if removed == limit:
            break
    return removed


def _folder() -> Path:
    return Path(current_app.config["UPLOADS_DIR"] or Path(current_app.instance_path, "uploads"))


def _path(upload_id: str, suffix: str = "") -> Path:
    if not is_id(upload_id):
        raise FileGone
    return _folder() / f"{upload_id}{suffix}"

"""Writes and reads backup files: gzip of NDJSON, in three parts. Knows no database.

1. The header: format, version, schema revision, time, and the name, columns, number of rows and
   next id of each table.
2. The rows, one array each, table by table in the header's order.
3. The trailer: the number of all rows, and the SHA-256 of all lines before it.

See docs/decisions/backup-format.md for the reasons.
"""

import gzip
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import partial
from gzip import GzipFile
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from sqlalchemy import Column, Row, Table

from project.progress import progress_bar

FORMAT = "users-service backup"
VERSION = 1
GZIP_LEVEL = 6
ROWS_PER_BATCH = 1000
BYTES_PER_BATCH = 2**20
MAX_HEADER_BYTES = 2**16
MAX_TEXT_BYTES = 2**16 - 1
"""The longest value of a column without a length: the limit of MySQL's TEXT and BLOB."""


class BackupError(Exception):
    """A backup cannot be written or restored; the message is one line for the operator."""


class TableHeader(BaseModel):
    """The header's entry for one table.

    :param next_id: greater than every id ever assigned, including those of deleted rows; None: the
        table does not assign ids.
    """

    model_config = ConfigDict(strict=True)

    name: str
    columns: list[str]
    rows: NonNegativeInt
    next_id: Annotated[PositiveInt, Field(lt=2**63)] | None


class Header(BaseModel):
    """The first line.

    :param revision: the Alembic revision of the rows' schema.
    :param created_at: UTC, ISO 8601 with Z.
    """

    model_config = ConfigDict(strict=True)

    format: str = FORMAT
    version: int = VERSION
    revision: Annotated[str, Field(pattern=r"^\w{1,32}$")]
    created_at: str
    tables: list[TableHeader]


def write(path: Path, header: Header, batches: Iterable[Sequence[Row[Any]]]) -> str:
    """Write a new file that only its owner may read, and sync it to disk.

    :param batches: the rows of the header's tables, in the header's order.
    :return: the SHA-256 of the content, in hexadecimal digits.
    :raises OSError: it cannot be written.
    """
    digest = sha256()
    # Without a name and time in the gzip header, the same content gives the same bytes.
    with (
        open(path, "xb", opener=partial(os.open, mode=0o600)) as raw,
        _progress("Writing", header) as progress,
    ):
        with GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as file:
            digest.update(first := _line(header.model_dump()))
            file.write(first)
            for rows in batches:
                digest.update(lines := b"".join(_line(tuple(row)) for row in rows))
                file.write(lines)
                progress.update(len(rows))
            file.write(_trailer(header, digest.hexdigest()))
        raw.flush()
        os.fsync(raw.fileno())
    return digest.hexdigest()


class Reader:
    """Iterates over the rows of a file in batches, each with its table; empty tables give none.

    Only a complete iteration verifies the file. ``header`` is set from the first batch on,
    ``digest`` at the end. Memory holds one batch at most, whatever size the file claims to have.

    :param name: the file's name in messages; None: its path.
    :param revision: the schema revision that the file must have.
    :raises BackupError: while iterating: the file cannot be read, is corrupt, or has another
        version, revision or schema.
    """

    header: Header
    digest: str

    def __init__(
        self, path: Path, name: str | None, doing: str, revision: str, tables: Sequence[Table]
    ) -> None:
        self.path, self.name, self.doing = path, name or str(path), doing
        self.revision, self.tables = revision, tables

    def read_header(self) -> Header:
        """Return the header only, to refuse at once a file that is not a backup for this code."""
        with self._opened() as file:
            return self._read_header(file)[1]

    def __iter__(self) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
        with self._opened() as file:
            yield from self._read(file)

    @contextmanager
    def _opened(self) -> Iterator[GzipFile]:
        try:
            with gzip.open(self.path) as file:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise BackupError(f"{self.name} is not a valid backup: {reason}.") from error
        except OSError as error:
            raise BackupError(f"{self.name} cannot be read: {error.strerror}.") from error

    def _read(self, file: GzipFile) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
        first, self.header = self._read_header(file)
        digest = sha256(first)
        with _progress(self.doing, self.header) as progress:
            for table, saved in zip(self.tables, self.header.tables, strict=True):
                columns = [table.columns[name] for name in saved.columns]
                decoders = {column.name: decoder(column) for column in columns}
                for batch in _batches(file, saved, max_line_bytes(columns)):
                    digest.update(b"".join(batch))
                    yield table, [_decode(line, decoders) for line in batch]
                    progress.update(len(batch))
        self.digest = digest.hexdigest()
        trailer = _trailer(self.header, self.digest)
        if file.read(len(trailer)) != trailer or file.read(1):
            raise ValueError("its rows do not match the checksum at its end")

    def _read_header(self, file: GzipFile) -> tuple[bytes, Header]:
        """Return the first line, and the header in it."""
        line = _read_line(file, MAX_HEADER_BYTES, "its header", "it is empty")
        found = orjson.loads(line)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError("it does not begin with the header of one")
        if (version := found.get("version")) != VERSION:
            raise BackupError(
                f"{self.name} has format version {version!r:.20}; this code reads {VERSION}."
            )
        try:
            header = Header.model_validate(found)
        except ValidationError as error:
            raise ValueError("its header is incomplete") from error
        if header.revision != self.revision:
            raise BackupError(
                f"{self.name} has schema revision {header.revision}, and this code requires"
                f" {self.revision}: restore it with the code that wrote it, then upgrade."
            )
        saved = [(table.name, sorted(table.columns)) for table in header.tables]
        known = [(table.name, sorted(table.columns.keys())) for table in self.tables]
        if saved != known:
            raise BackupError(f"{self.name} contains {saved}, but the schema has {known}.")
        return line, header


def _batches(file: GzipFile, table: TableHeader, limit: int) -> Iterator[list[bytes]]:
    """Yield a table's lines in batches whose size is limited, whatever the file claims."""
    left = table.rows
    while left:
        batch: list[bytes] = []
        size = 0
        while len(batch) < min(left, ROWS_PER_BATCH) and size < BYTES_PER_BATCH:
            batch.append(_read_line(file, limit, f"a row of {table.name}", "it is truncated"))
            size += len(batch[-1])
        left -= len(batch)
        yield batch


def _read_line(file: GzipFile, limit: int, what: str, nothing: str) -> bytes:
    line = file.readline(limit + 1)
    if not line:
        raise ValueError(nothing)
    if len(line) > limit:
        raise ValueError(f"{what} is longer than {limit:,} bytes")
    return line


def max_line_bytes(columns: Iterable[Column[Any]]) -> int:
    """Return the maximum length of a row's line: an escaped character takes six bytes."""
    return sum(64 + 6 * _max_length(column) for column in columns)


def _max_length(column: Column[Any]) -> int:
    if column.type.python_type not in (str, bytes, list):
        return 0
    return getattr(column.type, "length", None) or MAX_TEXT_BYTES


def decoder(column: Column[Any]) -> Callable[[Any], Any]:
    """Return the function that converts JSON into a value of the column, except for None.

    :raises NotImplementedError: the format does not support the column's type yet.
    """
    kind = column.type.python_type
    if kind not in _DECODERS:
        raise NotImplementedError(f"{column}: backups do not support {kind.__name__}.")
    return _DECODERS[kind]


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r:.20} is not of type {kind.__name__}")
        return value

    return check


def _integer(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{value!r:.20} is not a 64-bit integer")
    return value


def _words(value: Any) -> list[str]:
    return list(map(_exactly(str), _exactly(list)(value)))


_DECODERS: dict[type, Callable[[Any], Any]] = {
    bool: _exactly(bool),
    int: _integer,
    str: _exactly(str),
    list: _words,
    bytes: b64decode,
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
}


def _decode(line: bytes, decoders: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {
        name: None if value is None else decode(value)
        for (name, decode), value in zip(decoders.items(), orjson.loads(line), strict=True)
    }


def _line(value: Any) -> bytes:
    return orjson.dumps(value, _encode_bytes, orjson.OPT_APPEND_NEWLINE)


def _encode_bytes(value: Any) -> str:
    """Return bytes as text for orjson; a TypeError for any other type."""
    return b64encode(value).decode()


def _trailer(header: Header, digest: str) -> bytes:
    return _line({"rows": sum(table.rows for table in header.tables), "sha256": digest})


def _progress(doing: str, header: Header) -> Any:
    return progress_bar(sum(table.rows for table in header.tables), " rows", doing)

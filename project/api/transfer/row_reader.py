"""Reads rows of CSV (RFC 4180) or NDJSON line by line from a stream of bytes.

A row that cannot be parsed is yielded as a ``BadRow``; reading continues with the line after its
first. Knows neither HTTP nor the database nor the fields of users.
"""

import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from project.errors import FieldError, Invalid, TooLarge

MAX_ROW_BYTES = 65_536
MAX_IGNORED = 100
MAX_NAME_LENGTH = 100
_BOM = b"\xef\xbb\xbf"
_EMPTY = (b"\n", b"\r\n")

# Limits on the work that the bytes received may cause: a free allowance, and more in proportion to
# the bytes. Measured on exports that compress extremely well: 26 bytes per byte, 4.8 bytes per row.
FREE_BYTES = 1_048_576
FREE_LINES = FREE_FAILURES = 10_000
UNPACKED_PER_BYTE = 200
BYTES_PER_LINE = 2
BYTES_PER_FAILURE = 4
REREAD_PER_BYTE = 2  # lines after an unclosed quote are read again


class OutOfProportion(TooLarge):
    """The bytes would cause more work than their number allows (413)."""


class Row(NamedTuple):
    """A row that was parsed; its values are not validated.

    :param line: the number of its first line, from 1.
    :param values: by known column; empty optional cells of CSV are omitted.
    """

    line: int
    values: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be parsed.

    :param line: the number of its first line, from 1.
    """

    line: int
    reason: str


class Columns:
    """The columns of CSV, or keys of NDJSON, to read; others are ignored.

    :param required: columns that a CSV must have; an empty cell is a value.
    :param optional: columns that a CSV may have; an empty cell counts as missing.
    :param with_id: whether to read ``id``, which a CSV must then have.
    """

    def __init__(
        self, required: Sequence[str], optional: Sequence[str], with_id: bool = False
    ) -> None:
        self.required = (*required, "id") if with_id else tuple(required)
        self.never_empty = tuple(required)
        self.known = (*required, *(("id",) if with_id else ()), *optional)
        self.ignored: list[str] = []
        self._seen = set(self.known)

    def note(self, names: Collection[str]) -> None:
        """Remember the first 100 ignored names, each truncated to 100 characters."""
        if self._seen.issuperset(names):
            return
        for name in names:
            if name and name not in self._seen and len(self.ignored) < MAX_IGNORED:
                self._seen.add(name)
                cut = name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
                self.ignored.append(cut)


class Source(io.RawIOBase):
    """The bytes of a file or a request.

    :param read: returns at most the given number of bytes, and none at the end.
    :param size: the expected number of bytes; None: unknown.
    :param max_bytes: the limit on the number of bytes, and on the decompressed bytes; None: no
        limit.
    :raises TooLarge: the limit is exceeded; also raised later, while reading (413).
    """

    def __init__(
        self, read: Callable[[int], bytes], size: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.position = 0
        self.max_bytes = max_bytes
        self._read, self._size = read, size
        self.refuse_over_limit(size or 0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        :raises Invalid: the data ends before ``size`` bytes (400).
        :raises TooLarge: the data exceeds ``max_bytes`` (413).
        """
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        self.refuse_over_limit(self.position)
        if not data and self._size is not None and self.position < self._size:
            raise Invalid(f"The data ends after {self.position:,} of {self._size:,} bytes.")
        return len(data)

    def refuse_over_limit(self, count: int) -> None:
        """Check a number of bytes against the limit.

        :raises TooLarge: it exceeds the limit (413).
        """
        if self.max_bytes is not None and count > self.max_bytes:
            raise TooLarge(f"The data is larger than {self.max_bytes:,} bytes.")

    def refuse_bomb(self, unpacked: int, lines: int) -> None:
        """Check that the decompressed data is in proportion to the bytes received so far.

        :raises OutOfProportion: it is not (413).
        """
        if unpacked > FREE_BYTES + self.position * UNPACKED_PER_BYTE:
            ratio = f"{UNPACKED_PER_BYTE} bytes per byte"
        elif lines > FREE_LINES + self.position // BYTES_PER_LINE:
            ratio = f"one line per {BYTES_PER_LINE} bytes"
        else:
            return
        raise OutOfProportion(f"The data decompresses to more than {ratio} received.")

    def refuse_failures(self, count: int) -> None:
        """Check that the number of failed rows is in proportion to the bytes received so far.

        :raises OutOfProportion: it is not, and the source has a limit (413).
        """
        allowed = FREE_FAILURES + self.position // BYTES_PER_FAILURE
        if self.max_bytes is not None and count > allowed:
            raise OutOfProportion(
                f"More than one row has failed per {BYTES_PER_FAILURE} bytes received."
            )


def read_rows(source: Source, form: str, gzipped: bool, columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of a stream, in constant memory. The errors are raised while iterating.

    :param form: ``csv`` or ``ndjson``.
    :param columns: the columns to read; its ``ignored`` has the names of others afterwards.
    :raises Invalid: the header is invalid, or the data is incomplete or corrupt (400).
    :raises TooLarge: the data exceeds the source's limit (413).
    :raises OutOfProportion: the data would cause too much work (413).
    """
    lines = _lines(source, gzipped)
    return _read_csv(lines, columns) if form == "csv" else _read_ndjson(lines, columns)


class _Line(NamedTuple):
    number: int
    data: bytes | None  # None: too long

    def text(self) -> str:
        """Return the line's text.

        :raises ValueError: it is too long or not UTF-8; the message is a sentence.
        """
        if self.data is None:
            raise ValueError(f"Is longer than {MAX_ROW_BYTES:,} bytes.")
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise ValueError("Is not valid UTF-8.") from error


def _lines(source: Source, gzipped: bool) -> Iterator[_Line]:
    stream: Any = gzip.GzipFile(fileobj=source) if gzipped else source
    file = io.BufferedReader(stream, MAX_ROW_BYTES)
    pieces = iter(partial(file.readline, MAX_ROW_BYTES + 1), b"")
    number = unpacked = 0

    def count(piece: bytes) -> None:
        nonlocal unpacked
        unpacked += len(piece)
        source.refuse_over_limit(unpacked)
        if gzipped:
            source.refuse_bomb(unpacked, number)

    try:
        for piece in pieces:
            number += 1
            count(piece)
            data = None if _is_incomplete(piece) else piece
            while _is_incomplete(piece):
                piece = next(pieces, b"")
                count(piece)
            yield _Line(number, data.removeprefix(_BOM) if data and number == 1 else data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Invalid(f"The gzip data is incomplete or corrupt: {error}.") from error


def _is_incomplete(piece: bytes) -> bool:
    """Return whether the line continues after this piece."""
    return len(piece) > MAX_ROW_BYTES and not piece.endswith(b"\n")


def _read_ndjson(lines: Iterator[_Line], columns: Columns) -> Iterator[Row | BadRow]:
    for line in lines:
        try:
            text = line.text()
            if not text.strip():
                continue
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield BadRow(line.number, f"Is not valid JSON: {error}.")
        except ValueError as error:
            yield BadRow(line.number, str(error))
        else:
            if isinstance(values, dict):
                columns.note(values)
                known = {name: values[name] for name in columns.known if name in values}
                yield Row(line.number, known)
            else:
                yield BadRow(line.number, "Must be a JSON object.")


class _Records:
    """The lines for csv.reader, and those of its current record."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines, self._again = lines, deque[_Line]()
        self._record: list[_Line] = []
        self._bytes = self._bytes_before = self._bytes_again = 0

    def __iter__(self) -> "_Records":
        return self

    def __next__(self) -> str:
        while True:
            line = self._again.popleft() if self._again else next(self._lines)
            if self._record or line.data not in _EMPTY:
                break
        self._record.append(line)
        self._bytes += len(line.data or b"")
        text = line.text()
        if self._bytes > MAX_ROW_BYTES:
            raise ValueError(f"Has no closing quote within {MAX_ROW_BYTES:,} bytes.")
        return text

    def begin(self) -> None:
        """Start a new record at the next line that is not empty."""
        self._record.clear()
        self._bytes_before += self._bytes
        self._bytes = 0

    @property
    def line(self) -> int:
        """The number of the record's first line."""
        return self._record[0].number

    def reread(self) -> None:
        """Continue after the record's first line: the other lines may be separate rows.

        :raises OutOfProportion: too much of the data has been read again (413).
        """
        first, *others = self._record
        self._again.extendleft(reversed(others))
        self._bytes_again += self._bytes
        self._bytes = len(first.data or b"")
        if self._bytes_again > FREE_BYTES + self._bytes_before * REREAD_PER_BYTE:
            raise OutOfProportion("Too many quotes in the data are not closed.")


def _read_csv(lines: Iterator[_Line], columns: Columns) -> Iterator[Row | BadRow]:
    first = next((line for line in lines if line.data is None or line.data.strip()), None)
    if first is None:
        return
    records = _Records(chain([first], lines))
    try:
        text = first.text()
        # Spreadsheets write semicolons in locales where the comma is the decimal separator.
        delimiter = ";" if text.count(";") > text.count(",") else ","
        reader = csv.reader(records, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader)]
    except (csv.Error, ValueError) as error:
        raise Invalid(f"The header cannot be read: {_sentence(error)}") from error
    header = [name.lower() for name in names]
    _check_header(header, columns)
    known = [name for name in columns.known if name in header]
    columns.note([name for name in names if name.lower() not in known])
    pick = itemgetter(*map(header.index, known))
    while True:
        records.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            yield BadRow(records.line, _sentence(error))
            records.reread()
            continue
        if len(cells) == len(header):
            values = dict(zip(known, pick(cells), strict=True))
            for name in known[len(columns.never_empty) :]:
                if not values[name]:
                    del values[name]
            yield Row(records.line, values)
        elif cells:  # an empty line has none
            yield BadRow(records.line, f"Has {len(cells)} columns; the header has {len(header)}.")


def _check_header(header: list[str], columns: Columns) -> None:
    problems = [
        FieldError(name, "This column is missing in the header.")
        for name in columns.required
        if name not in header
    ] + [
        FieldError(name, "The header has this column more than once.")
        for name in columns.known
        if header.count(name) > 1
    ]
    if problems:
        raise Invalid("The header is invalid.", problems)


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."

"""Rows of users in CSV (RFC 4180) or NDJSON, read line by line from a stream of bytes.

A row that cannot be read is given as a ``BadRow``, and reading goes on with the line after its
first. Knows neither HTTP nor the database, nor what makes a user.
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

# What the bytes that came may cost to read: so much at first, and more in proportion to them.
# Measured on exports made up to pack tightly: 26 bytes a byte, 4.8 bytes a row.
FREE_BYTES = 1_048_576
FREE_LINES = FREE_FAILURES = 10_000
UNPACKED_PER_BYTE = 200
BYTES_PER_LINE = 2
BYTES_PER_FAILURE = 4
REREAD_PER_BYTE = 2  # a quote that is not closed makes lines be read again


class OutOfProportion(TooLarge):
    """Few bytes would cost more work than their number is worth (413)."""


class Row(NamedTuple):
    """A row that can be read; what it says is not checked.

    :param line: where it begins, from 1.
    :param values: by column that is known; of CSV, none of those that may be missing if empty.
    """

    line: int
    values: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be read.

    :param line: where it begins, from 1.
    :param reason: a sentence.
    """

    line: int
    reason: str


class Columns:
    """Which columns of CSV, or keys of NDJSON, are read; the others are ignored.

    :param required: those that a CSV must have, and whose cells may not be missing.
    :param optional: those that it may have; an empty cell is as none.
    :param with_id: whether ``id`` is read; a CSV must have it then.
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
        """Keep the names that are ignored, the first 100 of them, each cut to 100 characters."""
        if self._seen.issuperset(names):
            return
        for name in names:
            if name and name not in self._seen and len(self.ignored) < MAX_IGNORED:
                self._seen.add(name)
                cut = name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
                self.ignored.append(cut)


class Source(io.RawIOBase):
    """The bytes of a file or a request.

    :param read: gives at most so many bytes, and none at the end.
    :param size: how many bytes there should be; None: not known.
    :param max_bytes: how many there may be, and as many again may be unpacked of them; None: any
        number.
    :raises TooLarge: there are more; also later, while reading (413).
    """

    def __init__(
        self, read: Callable[[int], bytes], size: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.position = 0
        self.max_bytes = max_bytes
        self._read, self._size = read, size
        self.refuse_over_limit(size or 0)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        :raises Invalid: they end before there are ``size`` of them (400).
        """
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        self.refuse_over_limit(self.position)
        if not data and self._size is not None and self.position < self._size:
            raise Invalid(f"The data is cut off after {self.position:,} of {self._size:,} bytes.")
        return len(data)

    def refuse_over_limit(self, count: int) -> None:
        """See that so many bytes are not too many.

        :raises TooLarge: they are (413).
        """
        if self.max_bytes is not None and count > self.max_bytes:
            raise TooLarge(f"The data is larger than {self.max_bytes:,} bytes.")

    def refuse_bomb(self, unpacked: int, lines: int) -> None:
        """See that what the bytes so far have been unpacked to is in proportion to them.

        :raises OutOfProportion: it is not (413).
        """
        if unpacked > FREE_BYTES + self.position * UNPACKED_PER_BYTE:
            many = f"{UNPACKED_PER_BYTE} bytes for each byte"
        elif lines > FREE_LINES + self.position // BYTES_PER_LINE:
            many = f"one line for each {BYTES_PER_LINE} bytes"
        else:
            return
        raise OutOfProportion(f"The data unpacks to more than {many} that came.")

    def refuse_failures(self, count: int) -> None:
        """See that so many failed rows are in proportion to the bytes so far.

        :raises OutOfProportion: they are not, and there is a limit on the bytes (413).
        """
        allowed = FREE_FAILURES + self.position // BYTES_PER_FAILURE
        if self.max_bytes is not None and count > allowed:
            raise OutOfProportion(
                f"More than one row has failed for each {BYTES_PER_FAILURE} bytes that came."
            )


def read_rows(source: Source, form: str, gzipped: bool, columns: Columns) -> Iterator[Row | BadRow]:
    """Give the rows of a stream, in constant memory.

    :param form: ``csv`` or ``ndjson``.
    :param columns: which are read; ``ignored`` names the others afterwards.
    :raises Invalid: while iterating: the header is wrong, or the data is cut off or damaged (400).
    :raises TooLarge: while iterating: there is more than the source allows (413).
    :raises OutOfProportion: while iterating: to read on would cost too much (413).
    """
    lines = _lines(source, gzipped)
    return _read_csv(lines, columns) if form == "csv" else _read_ndjson(lines, columns)


class _Line(NamedTuple):
    number: int
    data: bytes | None  # None: too long

    def text(self) -> str:
        """Return the line's text.

        :raises ValueError: it has none; the message says why.
        """
        if self.data is None:
            raise ValueError(f"Is longer than {MAX_ROW_BYTES:,} bytes.")
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise ValueError("Is not UTF-8.") from error


def _lines(source: Source, gzipped: bool) -> Iterator[_Line]:
    packed_or_plain: Any = gzip.GzipFile(fileobj=source) if gzipped else source
    file = io.BufferedReader(packed_or_plain, MAX_ROW_BYTES)
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
            data = None if _goes_on(piece) else piece
            while _goes_on(piece):
                piece = next(pieces, b"")
                count(piece)
            yield _Line(number, data.removeprefix(_BOM) if data and number == 1 else data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Invalid(f"The gzip data is cut off or damaged: {error}.") from error


def _goes_on(piece: bytes) -> bool:
    """Say whether a line has more than this piece of it."""
    return len(piece) > MAX_ROW_BYTES and not piece.endswith(b"\n")


def _read_ndjson(lines: Iterator[_Line], columns: Columns) -> Iterator[Row | BadRow]:
    for line in lines:
        try:
            text = line.text()
            if not text.strip():
                continue
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield BadRow(line.number, f"Is not JSON: {error}.")
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
    """The lines that csv.reader takes, and those of the record that it is at."""

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
        """Let the next line that is not empty be the first of a record."""
        self._record.clear()
        self._bytes_before += self._bytes
        self._bytes = 0

    @property
    def line(self) -> int:
        """Where the record begins."""
        return self._record[0].number

    def give_up(self) -> None:
        """Go on after the record's first line: the others may be rows of their own.

        :raises OutOfProportion: too much of the data has been read again (413).
        """
        first, *others = self._record
        self._again.extendleft(reversed(others))
        self._bytes_again += self._bytes
        self._bytes = len(first.data or b"")
        if self._bytes_again > FREE_BYTES + self._bytes_before * REREAD_PER_BYTE:
            raise OutOfProportion("Too many quotes in the data are never closed.")


def _read_csv(lines: Iterator[_Line], columns: Columns) -> Iterator[Row | BadRow]:
    first = next((line for line in lines if line.data is None or line.data.strip()), None)
    if first is None:
        return
    records = _Records(chain([first], lines))
    try:
        text = first.text()
        # Spreadsheets write semicolons where the comma parts whole numbers from fractions.
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
            records.give_up()
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
        FieldError(name, "The header has no such column.")
        for name in columns.required
        if name not in header
    ] + [
        FieldError(name, "The header has this column more than once.")
        for name in columns.known
        if header.count(name) > 1
    ]
    if problems:
        raise Invalid("The header is wrong.", problems)


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."

"""Rows of tables: CSV (RFC 4180) with any usual delimiter, and sheets."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from project.api.transfer.archives import sheet_rows
from project.api.transfer.cells import trimmed
from project.api.transfer.columns import Columns
from project.api.transfer.stream import (
    FREE_BYTES,
    MAX_ROW_BYTES,
    BadRow,
    Limits,
    Line,
    OutOfProportion,
    Row,
)
from project.errors import Invalid, Message, error_text, joined

REREAD_PER_BYTE = 2  # lines after an unclosed quote are read again
_EMPTY = (b"\n", b"\r\n")
DELIMITERS = ",;\t|"
MAX_COLUMNS = 1000  # each row that lacks some is filled up
HEADER_LINES = 10
HEADER_FIELDS = 2
_RowReader = Callable[[int, list[Any]], Row | BadRow | None]
_SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)\s*", re.IGNORECASE)
_PREAMBLE = re.compile(r"#TYPE\b|version:", re.IGNORECASE)


def read_csv(lines: Iterator[Line], columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of CSV.

    :raises Invalid: the header is invalid (400).
    :raises OutOfProportion: too many quotes are not closed (413).
    """
    header = _find_header(lines, columns)
    if header is None:
        return
    read = _row_reader(header.names, header.line, columns)
    records = _Records(lines)
    reader = csv.reader(records, delimiter=header.delimiter, strict=True, skipinitialspace=True)
    while True:
        records.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            reason = _sentence(error, header.delimiter)
            yield BadRow(records.line, reason, header.names, [records.shown()])
            records.reread()
            continue
        if (row := read(records.line, cells)) is not None:
            yield row


def read_sheets(content: bytes, limits: Limits, columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of the first sheet with a user's columns; their line is that in the sheet.

    :raises Invalid: no sheet has such columns, or the file cannot be read (400).
    """
    read: _RowReader | None = None
    line = 0
    for cells in sheet_rows(content, limits.count):
        if cells is None:  # a sheet begins
            if read is not None:
                return
            line = 0
            continue
        line += 1
        if read is not None:
            if (row := read(line, cells)) is not None:
                yield row
        elif line <= HEADER_LINES:
            names = [trimmed(str(cell)) for cell in cells]
            if columns.score(names) >= HEADER_FIELDS:
                read = _row_reader(names, line, columns)
    if read is None:
        raise Invalid(Message("No sheet has columns for username and email."))


def _row_reader(names: list[str], line: int, columns: Columns) -> _RowReader:
    """Return a function that makes a row of cells; of empty ones it makes None.

    Cells that lack at the end of a row are empty.

    :raises Invalid: the header is invalid (400).
    """
    width = len(names)
    if width > MAX_COLUMNS:
        raise Invalid(
            Message(
                "The header has %(count)s columns; %(most)s are read at most.",
                count=f"{width:,}",
                most=f"{MAX_COLUMNS:,}",
            )
        )
    plan = columns.plan(names)
    columns.check(plan)
    columns.header_line = line

    def read(number: int, cells: list[Any]) -> Row | BadRow | None:
        if len(cells) != width:
            if any(map(trimmed, cells[width:])):
                reason = Message(
                    "Has %(count)s columns; the header has %(width)s.",
                    count=len(cells),
                    width=width,
                )
                return BadRow(number, reason, names, cells)
            if not any(map(trimmed, cells)):
                return None
            cells = [*cells[:width], *[""] * (width - len(cells))]
        values = plan.read(cells)
        if values.get("id") == "":
            del values["id"]
        if not values.get("email") and not any(map(trimmed, cells)):
            return None
        return Row(number, values, names, cells)

    return read


class _Header(NamedTuple):
    names: list[str]
    delimiter: str
    line: int
    score: int


def _find_header(lines: Iterator[Line], columns: Columns) -> _Header | None:
    """Return the header; the lines after it are left.

    A title may stand above it: then it is the first of ten lines that names a user's columns. If
    none does, the first line is returned, for the error to name what it lacks.

    :return: None: there are no lines.
    :raises Invalid: the first line can be no header (400).
    """
    first: _Header | None = None
    given, seen = DELIMITERS, 0
    for line in lines:
        if line.data is not None and not line.data.strip():
            continue
        try:
            text = line.text().rstrip("\r\n")
            if first is None and (separator := _SEPARATOR.fullmatch(text)):
                given = separator[1]
                continue
            if first is None and _PREAMBLE.match(text):
                continue
            header = _best_header(text, line.number, given, columns)
        except (csv.Error, ValueError) as error:
            if first is None:
                message = Message(
                    "The header cannot be read: %(reason)s", reason=joined([_sentence(error)])
                )
                raise Invalid(message) from error
            continue
        if header.score >= HEADER_FIELDS:
            return header
        first, seen = first or header, seen + 1
        if seen == HEADER_LINES:
            break
    return first


def _best_header(text: str, line: int, given: str, columns: Columns) -> _Header:
    """Return the header in a line, parted by the delimiter that gives most fields.

    :raises csv.Error: no delimiter parts it.
    """
    headers, problems = [], []
    for delimiter in given:
        try:
            [cells] = csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True)
        except csv.Error as error:
            problems.append(error)
        else:
            names = [trimmed(cell) for cell in cells]
            headers.append(_Header(names, delimiter, line, columns.score(names)))
    if not headers:
        raise problems[0]
    return max(headers, key=lambda header: (header.score, len(header.names)))


class _Records:
    """The lines for csv.reader, and those of its current record."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines, self._again = lines, deque[Line]()
        self._record: list[Line] = []
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
            message = Message(
                "Has no closing quote within %(limit)s bytes.", limit=f"{MAX_ROW_BYTES:,}"
            )
            raise ValueError(message)
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

    def shown(self) -> str:
        """Return the record's first line, as far as it can be read."""
        return self._record[0].shown()

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


def _sentence(error: Exception, delimiter: str = ",") -> str:
    """Return what is wrong with a row, in our words instead of those of Python's reader."""
    if not isinstance(error, csv.Error):
        return error_text(error)
    text = str(error)
    if "expected after" in text:
        return Message(
            "A quoted cell must end at a %(delimiter)s or at the end of the line.",
            delimiter=repr(delimiter),
        )
    if "end of data" in text:
        return Message("A quoted cell has no closing quote.")
    return Message("The cells cannot be told apart: a line ends in the middle of one.")

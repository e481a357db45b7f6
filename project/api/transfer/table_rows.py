"""Rows of tables: CSV (RFC 4180) with any usual delimiter, and sheets."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from project.api.transfer.archives import sheets
from project.api.transfer.cells import trimmed
from project.api.transfer.columns import Columns
from project.api.transfer.stream import (
    FREE_BYTES,
    MAX_ROW_BYTES,
    BadRow,
    Line,
    OutOfProportion,
    Row,
    Source,
)
from project.errors import Invalid

REREAD_PER_BYTE = 2  # lines after an unclosed quote are read again
_EMPTY = (b"\n", b"\r\n")
DELIMITERS = ",;\t|"
HEADER_LINES = 10
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_PREAMBLE = re.compile(r"#TYPE\b|version:", re.IGNORECASE)


def read_csv(lines: Iterator[Line], columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of CSV.

    :raises Invalid: the header is invalid (400).
    :raises OutOfProportion: too many quotes are not closed (413).
    """
    found = _find_header(lines, columns)
    if found is None:
        return
    names, delimiter, first = found
    plan = columns.plan(names)
    columns.check(plan)
    columns.header_line = first
    records = _Records(lines)
    reader = csv.reader(records, delimiter=delimiter, strict=True, skipinitialspace=True)
    width, read = len(names), plan.read
    while True:
        records.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            yield BadRow(records.line, _sentence(error, delimiter))
            records.reread()
            continue
        if (row := _row_of_cells(records.line, cells, width, read)) is not None:
            yield row


def _row_of_cells(
    number: int, cells: list[Any], width: int, read: Callable[[list[Any]], dict[str, Any]]
) -> Row | BadRow | None:
    """Return a row; None: all its cells are empty. Cells that lack at its end are empty."""
    if len(cells) != width:
        if any(map(trimmed, cells[width:])):
            return BadRow(number, f"Has {len(cells)} columns; the header has {width}.")
        cells = [*cells[:width], *[""] * (width - len(cells))]
    values = read(cells)
    if values.get("id") == "":
        del values["id"]
    if not values.get("email") and not any(map(trimmed, cells)):
        return None
    return Row(number, values)


def read_sheets(content: bytes, source: Source, columns: Columns) -> Iterator[Row | BadRow]:
    """Read the first sheet with a user's columns; a row's line is its number in the sheet."""
    for rows in sheets(content, source):
        for number, names in enumerate(rows[:HEADER_LINES], 1):
            if columns.score([str(name) for name in names]) >= 2:
                plan = columns.plan([trimmed(str(name)) for name in names])
                columns.check(plan)
                columns.header_line = number
                for line, cells in enumerate(rows[number:], number + 1):
                    row = _row_of_cells(line, cells, len(names), plan.read)
                    if row is not None:
                        yield row
                return
    raise Invalid("No sheet has columns for username and email.")


def _find_header(lines: Iterator[Line], columns: Columns) -> tuple[list[str], str, int] | None:
    """Return the header's names, the delimiter and its line; the lines after it are left.

    A title may stand above it: then it is the first of ten lines that names a user's columns.

    :return: None: there are no lines.
    :raises Invalid: the first line can be no header (400).
    """
    first: tuple[list[str], str, int] | None = None
    given, problem = DELIMITERS, None
    seen = 0
    for line in lines:
        if line.data is not None and not line.data.strip():
            continue
        seen += 1
        try:
            text = line.text()
            if first is None and (separator := _SEPARATOR.fullmatch(text.rstrip("\r\n"))):
                given = separator[1]
                continue
            if first is None and _PREAMBLE.match(text):
                continue
            names, delimiter, score = _best_header(text, given, columns)
        except (csv.Error, ValueError) as error:
            if first is None and problem is None:
                problem = Invalid(f"The header cannot be read: {_sentence(error)}")
                raise problem from error
            continue
        if score >= 2:
            return names, delimiter, line.number
        first = first or (names, delimiter, line.number)
        if seen >= HEADER_LINES:
            break
    return first


def _best_header(text: str, given: str, columns: Columns) -> tuple[list[str], str, int]:
    """Return the names in a line, the delimiter that gives most, and how many fields they give."""
    best: tuple[list[str], str, int] | None = None
    problem: csv.Error | None = None
    for delimiter in given:
        line = [text.rstrip("\r\n")]
        try:
            [cells] = csv.reader(line, delimiter=delimiter, strict=True, skipinitialspace=True)
        except csv.Error as error:
            problem = problem or error
            continue
        names = [trimmed(cell) for cell in cells]
        key = (columns.score(names), len(names))
        if best is None or key > (best[2], len(best[0])):
            best = names, delimiter, key[0]
    if best is None:
        raise problem or ValueError("It has no delimiter.")
    return best


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


def _sentence(error: Exception, delimiter: str = ",") -> str:
    """Return what is wrong with a row, in our words instead of those of Python's reader."""
    if not isinstance(error, csv.Error):
        return str(error)
    text = str(error)
    if "expected after" in text:
        return f"A quoted cell must end at a {delimiter!r} or at the end of the line."
    if "end of data" in text:
        return "A quoted cell has no closing quote."
    return "The cells cannot be told apart: a line ends in the middle of one."

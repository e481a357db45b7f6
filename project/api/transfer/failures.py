"""Rows that failed, in the form in which they came, so that they can be mended and sent again."""

import csv
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple, TextIO

import orjson

from project.api.transfer.stream import BadRow, Row

ERROR = "error"
"""The column, or key, that says why a row has failed; an import ignores it."""

MAX_SHOWN = 1000
MAX_SHOWN_BYTES = 1_048_576


class Failure(NamedTuple):
    """A row that failed."""

    row: Row | BadRow
    reason: str

    def cells(self) -> Iterator[tuple[str, Any]]:
        """Yield what came, with the names of the columns; ``""`` beyond them."""
        names, cells = self.row.names, self.row.cells
        # A line that could not be parsed is one cell: none of it is an error of before.
        is_parsed = len(cells) >= len(names)
        for name, cell in zip_longest(names[: len(cells)], cells, fillvalue=""):
            if name != ERROR or not is_parsed:
                yield name, cell

    def as_object(self) -> dict[str, Any]:
        """Return what came, and the error, as an object that JSON can hold."""
        shown: dict[str, Any] = {}
        for place, (name, cell) in enumerate(self.cells(), 1):
            shown[name if name and name not in shown else f"column {place}"] = cell
        shown[ERROR] = self.reason
        try:
            orjson.dumps(shown)
        except TypeError:  # lone surrogates, or a number without bounds
            return {"row": ascii(dict(self.cells())), ERROR: self.reason}
        return shown


class FailedRows:
    """The first rows that failed, as far as there is room in an answer.

    :ivar shown: as objects.
    """

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, failures: Iterable[Failure]) -> None:
        """Add rows until there are 1,000, or 1 MiB."""
        for failure in failures:
            if len(self.shown) == MAX_SHOWN or self._bytes > MAX_SHOWN_BYTES:
                return
            row = failure.as_object()
            self._bytes += len(orjson.dumps(row))
            if self._bytes <= MAX_SHOWN_BYTES:
                self.shown.append(row)


def write_failures(file: TextIO, failures: Iterable[Failure], as_table: bool) -> None:
    """Write rows to a file: CSV with the columns of the file they came from, or NDJSON.

    The error stands first, so that it has its place in rows with too many cells, too.
    """
    writer, is_empty = csv.writer(file), not file.tell()
    for failure in failures:
        if not as_table:
            file.write(orjson.dumps(failure.as_object(), option=orjson.OPT_APPEND_NEWLINE).decode())
            continue
        if is_empty:
            writer.writerow([ERROR, *(name for name in failure.row.names if name != ERROR)])
            is_empty = False
        writer.writerow([failure.reason, *(cell for _name, cell in failure.cells())])

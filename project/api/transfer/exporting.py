"""Export: users in order of id, as lines or rows that the database renders. Knows no HTTP."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Boolean, ColumnElement, DateTime, Integer

from project.api.transfer.workbook import TIME_STYLE, SheetColumn, Workbook
from project.api.users import fields, queries, service
from project.api.users.paging import search_key
from project.database import Row, may_lag, read
from project.database.rendering import csv_line, json_object, sheet_row
from project.errors import Message

ROWS_PER_CHUNK = 2000
BOM = "\ufeff"
SHEET = "Users"
_WIDTHS = ((DateTime, 22), (Boolean, 10), (Integer, 10))
_TEXT_WIDTH = 32


class Chunk(NamedTuple):
    """A part of an export.

    :param data: the next bytes of the file: lines in UTF-8, or a part of a compressed sheet.
    """

    rows: int
    data: bytes


class Layout(NamedTuple):
    """How users are written.

    :param form: ``csv`` (RFC 4180, all text quoted), ``ndjson`` or ``xlsx``.
    :param columns: fields that clients see, in this order.
    :param bom: whether a CSV begins with UTF-8's byte order mark, by which Excel knows it.
    :param safe: whether a CSV has an apostrophe before what would be a formula.
    """

    form: str
    columns: tuple[str, ...] = fields.SHOWN
    bom: bool = False
    safe: bool = False


def read_columns(text: str) -> tuple[str, ...]:
    """Return the columns that a text names, comma-separated.

    :raises ValueError: it names others, or one twice; the message is a sentence.
    """
    names = tuple(text.split(","))
    if len(set(names)) < len(names) or not set(names) <= set(fields.SHOWN):
        raise ValueError(
            Message(
                "Must be comma-separated and once each, of %(names)s.",
                names=", ".join(fields.SHOWN),
            )
        )
    return names


def export_users(
    layout: Layout,
    before_chunk: Callable[[], None] = lambda: None,
    filters: Mapping[str, Any] = {},
    ids: Sequence[int] | None = None,
    words: str | None = None,
) -> Iterator[Chunk]:
    """Yield users chunk by chunk, in constant memory: by id, or those that a search finds by rank.

    Each chunk is a separate SELECT, so concurrent changes may or may not be included; a user who
    exists throughout is included exactly once.

    :param before_chunk: called before each chunk but the first; may raise to stop the export.
    :param filters: the values of the filters of ``queries.page``, by name.
    :param ids: only users with one of these ids; None: with any.
    :param words: only users whom a search for this finds; None: no search.
    """
    parts = _in_order(layout, filters, ids) if words is None else _found(layout, filters, words)
    is_sheet = layout.form == "xlsx"
    file = Workbook(SHEET, _sheet_columns(layout.columns)) if is_sheet else _Lines(layout)
    for number, lines in parts:
        data = file.add(lines)
        if number < ROWS_PER_CHUNK:
            yield Chunk(number, data + file.end())
            return
        yield Chunk(number, data)
        before_chunk()


_Part = tuple[int, Sequence[str]]
"""The number of rows, and their lines, which may be one text."""


class _Lines:
    """A file of lines in the making."""

    def __init__(self, layout: Layout) -> None:
        self._header = ""
        if layout.form == "csv":
            self._header = f"{BOM if layout.bom else ''}{','.join(layout.columns)}\r\n"

    def add(self, lines: Sequence[str]) -> bytes:
        text = self._header + "".join(lines)
        self._header = ""
        return text.encode()

    def end(self) -> bytes:
        return b""


def _sheet_columns(names: Sequence[str]) -> list[SheetColumn]:
    """Return a sheet's columns; their names are those of CSV, as an import reads them."""
    columns = []
    for name in names:
        kind = fields.COLUMNS[name].type
        width = next((width for each, width in _WIDTHS if isinstance(kind, each)), _TEXT_WIDTH)
        suffix = " (UTC)" if isinstance(kind, DateTime) else ""
        columns.append(SheetColumn(f"{name}{suffix}", width))
    return columns


def _in_order(
    layout: Layout, filters: Mapping[str, Any], ids: Sequence[int] | None
) -> Iterator[_Part]:
    joined = layout.form != "xlsx"
    statement = queries.lines(_line(layout), tuple(filters), ids is not None, joined=joined)
    values = {**filters, **({} if ids is None else {"ids": ids}), "limit": ROWS_PER_CHUNK}
    last_id = 0
    while True:
        rows = may_lag(read)(statement, {**values, "after": last_id})
        yield _joined(rows[0]) if joined else (len(rows), [row.line for row in rows])
        last_id = rows[-1].last_id if joined else rows[-1].id


def _joined(row: Row) -> _Part:
    text = row.lines or ""
    if row.number and not text.endswith("\n"):
        raise RuntimeError("The database cut a chunk off: group_concat_max_len is too small.")
    return row.number, [text]


def _found(layout: Layout, filters: Mapping[str, Any], words: str) -> Iterator[_Part]:
    after: Sequence[Any] | None = None
    find = may_lag(service.search_users)
    columns: tuple[Any, ...] = (_line(layout),)
    while True:
        found = find(words, ROWS_PER_CHUNK, after, filters, columns)
        yield len(found), [row.line for _part, row in found]
        after = search_key(*found[-1])


@cache
def _line(layout: Layout) -> ColumnElement[str]:
    columns = [fields.COLUMNS[name] for name in layout.columns]
    if layout.form == "csv":
        line = csv_line(columns, layout.safe)
    elif layout.form == "xlsx":
        line = sheet_row(columns, TIME_STYLE)
    else:
        line = json_object(columns) + "\n"
    return line.label("line")

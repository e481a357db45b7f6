"""Export: users in order of id, as lines that the database renders. Knows no HTTP."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement

from project.api.users import fields, queries, service
from project.api.users.paging import search_key
from project.database import Row, may_lag, read
from project.database.rendering import csv_line, json_object

ROWS_PER_CHUNK = 2000
BOM = "\ufeff"


class Chunk(NamedTuple):
    """A part of an export.

    :param data: their lines in UTF-8; the first chunk of a CSV starts with the header.
    """

    rows: int
    data: bytes


class Layout(NamedTuple):
    """How users are written.

    :param form: ``csv`` (RFC 4180, all text quoted) or ``ndjson``.
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
        raise ValueError(f"Must be comma-separated and once each, of {', '.join(fields.SHOWN)}.")
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
    text = ""
    if layout.form == "csv":
        text = f"{BOM if layout.bom else ''}{','.join(layout.columns)}\r\n"
    for rows in parts:
        text += "".join([row.line for row in rows])
        yield Chunk(len(rows), text.encode())
        if len(rows) < ROWS_PER_CHUNK:
            return
        text = ""
        before_chunk()


def _in_order(
    layout: Layout, filters: Mapping[str, Any], ids: Sequence[int] | None
) -> Iterator[Sequence[Row]]:
    statement = queries.lines(_line(layout), tuple(filters), ids is not None)
    values = {**filters, **({} if ids is None else {"ids": ids}), "limit": ROWS_PER_CHUNK}
    last_id = 0
    while True:
        rows = may_lag(read)(statement, {**values, "after": last_id})
        yield rows
        last_id = rows[-1].id


def _found(layout: Layout, filters: Mapping[str, Any], words: str) -> Iterator[Sequence[Row]]:
    after: Sequence[Any] | None = None
    find = may_lag(service.search_users)
    columns: tuple[Any, ...] = (_line(layout),)
    while True:
        found = find(words, ROWS_PER_CHUNK, after, filters, columns)
        yield [row for _part, row in found]
        after = search_key(*found[-1])


@cache
def _line(layout: Layout) -> ColumnElement[str]:
    columns = [fields.COLUMNS[name] for name in layout.columns]
    is_csv = layout.form == "csv"
    line = csv_line(columns, layout.safe) if is_csv else json_object(columns) + "\n"
    return line.label("line")

"""SQL expressions with which the database renders rows as text: a JSON object or a CSV line.

One text column costs the driver, and Python, much less than the columns that it is made of. The
constant parts are literals in the SQL, since parameters would cost time again.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, String

FORMULA_STARTS = "=+-@"
"""With these, spreadsheets take a cell for a formula (OWASP, CSV injection); control characters,
which do so too, are in no text that was validated."""


def json_object(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """Return the SQL expression of a JSON object with these columns (RFC 8259)."""
    parts = [part for each in columns for part in (_text(f',"{each.name}":'), _json_value(each))]
    return reduce(add, [_text(f'{{"{columns[0].name}":'), *parts[1:], _text("}")])


def csv_line(columns: Sequence[Column[Any]], safe: bool = False) -> ColumnElement[str]:
    """Return the SQL expression of a CSV line (RFC 4180): text is quoted, NULL is empty.

    :param safe: put an apostrophe before a text that a spreadsheet would run as a formula.
    """
    parts = [part for column in columns for part in (_text(","), _csv_value(column, safe))]
    return reduce(add, [*parts[1:], _text("\r\n")])


def _json_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, String):
        value: ColumnElement[str] = sa.func.json_quote(column, type_=String)
    elif isinstance(column.type, sa.DateTime):
        value = _text('"') + _unquoted_value(column) + _text('"')
    else:
        value = _unquoted_value(column)
    return _or_if_null(value, "null", column)


def _csv_value(column: Column[Any], safe: bool) -> ColumnElement[str]:
    if not isinstance(column.type, String):
        return _or_if_null(_unquoted_value(column), "", column)
    quote, two_quotes = _text('"'), _text('""')
    value = sa.func.replace(column, quote, two_quotes, type_=String) + quote
    if safe and not isinstance(column.type, sa.Enum):
        one: ColumnElement[int] = sa.literal_column("1")
        starts = sa.func.substr(column, one, one).in_([_text(each) for each in FORMULA_STARTS])
        value = sa.case((starts, _text("''")), else_=_text("")) + value
    return _or_if_null(quote + value, "", column)


def _unquoted_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, sa.DateTime):
        # SQLite stores a fraction of the second, always zero.
        seconds = sa.func.substr(
            sa.cast(column, String(19)), sa.literal_column("1"), sa.literal_column("19")
        )
        return sa.func.replace(seconds, _text(" "), _text("T"), type_=String) + _text("Z")
    if isinstance(column.type, sa.Boolean):
        return sa.case((column, _text("true")), else_=_text("false"))
    return sa.cast(column, String(11))


def _or_if_null(value: ColumnElement[str], text: str, column: Column[Any]) -> ColumnElement[str]:
    """Return a value, or a text instead of NULL: concatenation with NULL gives NULL."""
    if not column.nullable:
        return value
    return sa.case((column.is_(None), _text(text)), else_=value)


def _text(value: str) -> ColumnElement[str]:
    """Return the SQL literal of a text without apostrophes."""
    return sa.literal_column(f"'{value}'", String)

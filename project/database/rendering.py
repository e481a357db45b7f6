"""Rows as text that the database renders: an object of JSON, or a line of CSV.

One column of text is much less work for the driver, and for us, than the columns that it is made
of. The constant parts stand in the SQL as they are, since parameters would be work again.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    String,
    case,
    cast,
    func,
    literal_column,
)


def json_object(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """Return the SQL of a JSON object with these columns (RFC 8259)."""
    parts = [part for each in columns for part in (_text(f',"{each.name}":'), _json_value(each))]
    return reduce(add, [_text(f'{{"{columns[0].name}":'), *parts[1:], _text("}")])


def csv_line(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """Return the SQL of a line of CSV with its end (RFC 4180): text is quoted, NULL is empty."""
    parts = [part for column in columns for part in (_text(","), _csv_value(column))]
    return reduce(add, [*parts[1:], _text("\r\n")])


def _json_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, String):
        value: ColumnElement[str] = func.json_quote(column, type_=String)
    elif isinstance(column.type, DateTime):
        value = _text('"') + _bare_value(column) + _text('"')
    else:
        value = _bare_value(column)
    return _or_if_null(value, "null", column)


def _csv_value(column: Column[Any]) -> ColumnElement[str]:
    if not isinstance(column.type, String):
        return _or_if_null(_bare_value(column), "", column)
    quote, two_quotes = _text('"'), _text('""')
    value = quote + func.replace(column, quote, two_quotes, type_=String) + quote
    return _or_if_null(value, "", column)


def _bare_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, DateTime):
        # SQLite keeps a fraction of the second, always of zero.
        seconds = func.substr(cast(column, String(19)), literal_column("1"), literal_column("19"))
        return func.replace(seconds, _text(" "), _text("T"), type_=String) + _text("Z")
    if isinstance(column.type, Boolean):
        return case((column, _text("true")), else_=_text("false"))
    return cast(column, String(11))


def _or_if_null(value: ColumnElement[str], text: str, column: Column[Any]) -> ColumnElement[str]:
    """Return a value, or a text for NULL, to which anything is NULL that it is joined with."""
    if not column.nullable:
        return value
    return case((column.is_(None), _text(text)), else_=value)


def _text(value: str) -> ColumnElement[str]:
    """Return a constant without an apostrophe as SQL."""
    return literal_column(f"'{value}'", String)

"""Users as text that the database writes: a line of CSV, or an object of JSON.

One column of text is much less work for the driver, and for us, than the columns that it is made
of. The constant parts stand in the SQL as they are, since parameters would be work again.
"""

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

from project.api.users.models import User
from project.api.users.schemas import UserRead

_shown: list[Column[Any]] = [User.__table__.c[name] for name in UserRead.model_fields]


def csv_line() -> ColumnElement[str]:
    """Return the SQL of a line of CSV (RFC 4180, all text quoted), its end included."""
    parts = [part for column in _shown for part in (_text(","), _csv_value(column))]
    return reduce(add, [*parts[1:], _text("\r\n")])


def json_object() -> ColumnElement[str]:
    """Return the SQL of the JSON object that clients see."""
    parts = [
        part for column in _shown for part in (_text(f',"{column.name}":'), _json_value(column))
    ]
    return reduce(add, [_text(f'{{"{_shown[0].name}":'), *parts[1:], _text("}")])


def _csv_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, String):
        quote, two_quotes = _text('"'), _text('""')
        return quote + func.replace(column, quote, two_quotes, type_=String) + quote
    return _plain_value(column)


def _json_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, String):
        return func.json_quote(column, type_=String)
    if isinstance(column.type, DateTime):
        return _text('"') + _plain_value(column) + _text('"')
    return _plain_value(column)


def _plain_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, DateTime):
        # SQLite keeps a fraction of the second, always of zero.
        seconds = func.substr(cast(column, String(19)), literal_column("1"), literal_column("19"))
        return func.replace(seconds, _text(" "), _text("T"), type_=String) + _text("Z")
    if isinstance(column.type, Boolean):
        return case((column, _text("true")), else_=_text("false"))
    return cast(column, String(11))


def _text(value: str) -> ColumnElement[str]:
    """Return a constant without an apostrophe as SQL."""
    return literal_column(f"'{value}'", String)

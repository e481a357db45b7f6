"""Export: all users in the order of their ids, as lines that the database builds. Knows no HTTP."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    String,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
)

from project.api.users.models import User
from project.api.users.schemas import UserRead
from project.extensions import fetch_all

ROWS_PER_CHUNK = 2000
END_OF_LINE = {"csv": "\r\n", "ndjson": "}\n"}
_users = User.__table__.c
_shown = [_users[name] for name in UserRead.model_fields]


class Chunk(NamedTuple):
    """A part of an export.

    :param rows: how many users it has.
    :param data: their lines in UTF-8; the first part of a CSV begins with the header.
    """

    rows: int
    data: bytes


def export_users(form: str) -> Iterator[Chunk]:
    """Give all users, chunk by chunk, in constant memory.

    Each chunk is a SELECT of its own, so users who come or change meanwhile may be there or not;
    nobody who is there all the time is missing or comes twice.

    :param form: ``csv`` (RFC 4180, all text quoted) or ``ndjson``.
    """
    statement, last_id, text = _select(form), 0, ""
    if form == "csv":
        text = f"{','.join(UserRead.model_fields)}\r\n"
    while True:
        rows = fetch_all(statement, {"after": last_id, "limit": ROWS_PER_CHUNK})
        text += "".join([row.line for row in rows])
        yield Chunk(len(rows), text.encode())
        if len(rows) < ROWS_PER_CHUNK:
            return
        last_id, text = rows[-1].id, ""


@cache
def _select(form: str) -> Select[Any]:
    return (
        select(_users.id, _line(form).label("line"))
        .where(_users.id > bindparam("after", type_=Integer))
        .order_by(_users.id)
        .limit(bindparam("limit", type_=Integer))
    )


def _line(form: str) -> ColumnElement[str]:
    """Return the SQL that makes a user's line, its end included."""
    csv = form == "csv"
    line: ColumnElement[str] = literal("" if csv else "{")
    before = ""
    for column in _shown:
        value, quote = _value(column, csv)
        name = "" if csv else f'"{column.name}":'
        line = line + f"{before}{name}{quote}" + value
        before = f"{quote},"
    return line + f"{before.removesuffix(',')}{END_OF_LINE[form]}"


def _value(column: Column[Any], csv: bool) -> tuple[ColumnElement[str], str]:
    """Return the SQL that writes a column's value, and the quote that belongs around it."""
    if isinstance(column.type, String):
        if csv:
            return func.replace(column, '"', '""', type_=String), '"'
        return func.json_quote(column, type_=String), ""
    if isinstance(column.type, DateTime):
        # SQLite keeps a fraction of the second, always of zero.
        text = func.substr(cast(column, String(19)), 1, 19)
        return func.replace(text, " ", "T", type_=String) + "Z", "" if csv else '"'
    if isinstance(column.type, Boolean):
        return case((column, "true"), else_="false"), ""
    return cast(column, String(11)), ""

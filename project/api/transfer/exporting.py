"""Export: all users in order of id, as lines that the database renders. Knows no HTTP."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Integer, Select, bindparam, select

from project.api.users import fields
from project.database import may_lag, read

ROWS_PER_CHUNK = 2000
_id = fields.COLUMNS.id


class Chunk(NamedTuple):
    """A part of an export.

    :param data: their lines in UTF-8; the first chunk of a CSV starts with the header.
    """

    rows: int
    data: bytes


def export_users(form: str, before_chunk: Callable[[], None] = lambda: None) -> Iterator[Chunk]:
    """Yield all users chunk by chunk, in constant memory.

    Each chunk is a separate SELECT, so concurrent changes may or may not be included; a user who
    exists throughout is included exactly once.

    :param form: ``csv`` (RFC 4180, all text quoted) or ``ndjson``.
    :param before_chunk: called before each chunk but the first; may raise to stop the export.
    """
    statement, last_id, text = _select(form), 0, ""
    if form == "csv":
        text = f"{','.join(fields.SHOWN)}\r\n"
    while True:
        rows = may_lag(read)(statement, {"after": last_id, "limit": ROWS_PER_CHUNK})
        text += "".join([row.line for row in rows])
        yield Chunk(len(rows), text.encode())
        if len(rows) < ROWS_PER_CHUNK:
            return
        last_id, text = rows[-1].id, ""
        before_chunk()


@cache
def _select(form: str) -> Select[Any]:
    line = fields.CSV if form == "csv" else fields.JSON + "\n"
    return (
        select(_id, line.label("line"))
        .where(_id > bindparam("after", type_=Integer))
        .order_by(_id)
        .limit(bindparam("limit", type_=Integer))
    )

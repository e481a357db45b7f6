"""Export: groups with their members, in order of both ids, in constant memory. Knows no HTTP."""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from project.api.groups import queries
from project.api.groups.schemas import MembershipRow
from project.database import Row, may_lag, read
from project.database.rendering import FORMULA_STARTS

ROWS_PER_CHUNK = 2000
BOM = "\ufeff"
COLUMNS = tuple(MembershipRow.model_fields)
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}

Values = tuple[Any, ...]


def export_groups(
    form: str,
    before_chunk: Callable[[], None] = lambda: None,
    bom: bool = False,
    safe: bool = False,
) -> Iterator[bytes]:
    """Yield the file part by part, each from SELECTs of its own.

    A group, or a member, that exists throughout is in it exactly once.

    :param form: ``csv`` or ``ndjson``.
    :param before_chunk: called before each part but the first; may raise to stop the export.
    :param bom: whether a CSV begins with UTF-8's byte order mark.
    :param safe: whether a CSV has an apostrophe before what would be a formula.
    """
    render = _json_lines if form == "ndjson" else _csv_lines
    start = "" if form == "ndjson" else f"{BOM if bom else ''}{','.join(COLUMNS)}\r\n"
    for place, rows in enumerate(_rows()):
        if place:
            before_chunk()
        yield start.encode() + render([_safe(row) for row in rows] if safe else rows)
        start = ""
    yield start.encode()


def _json_lines(rows: Sequence[Values]) -> bytes:
    return b"".join(orjson.dumps(dict(zip(COLUMNS, row, strict=True))) + b"\n" for row in rows)


def _csv_lines(rows: Sequence[Values]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _rows() -> Iterator[Sequence[Values]]:
    """Yield the rows of groups, so many at a time, and of their members."""
    last_id = 0
    while groups := may_lag(read)(
        queries.EXPORTED_GROUPS, {"after": last_id, "limit": ROWS_PER_CHUNK}
    ):
        yield from _with_members(groups, last_id)
        last_id = groups[-1].id


def _with_members(groups: Sequence[Row], before: int) -> Iterator[Sequence[Values]]:
    """Yield the rows of these groups: one for each member, or one for a group without any."""
    by_id = {group.id: group for group in groups}
    left, last_id = deque(groups), groups[-1].id
    key = {"key": before + 1, "key_id": 0}
    while True:
        members = may_lag(read)(
            queries.EXPORTED_MEMBERS, {**key, "last": last_id, "limit": ROWS_PER_CHUNK}
        )
        rows: list[Values] = []
        for group_id, *user in members:
            while left and left[0].id < group_id:
                rows.append((*left.popleft(), None, None, None))
            if left and left[0].id == group_id:
                left.popleft()
            if group_id in by_id:  # it was not added meanwhile
                rows.append((*by_id[group_id], *user))
        if len(members) < ROWS_PER_CHUNK:
            yield [*rows, *((*group, None, None, None) for group in left)]
            return
        yield rows
        key = {"key": members[-1].group_id, "key_id": members[-1].user_id}


def _safe(row: Values) -> Values:
    return tuple(
        f"'{each}" if isinstance(each, str) and each.startswith(tuple(FORMULA_STARTS)) else each
        for each in row
    )

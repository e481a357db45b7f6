"""Pages of lists: by ``startIndex`` (RFC 7644) and by cursor (RFC 9865), neither by an offset.

A page by ``startIndex`` begins after the id with which the page before it has ended for the same
caller; so what is removed meanwhile causes no gap. See docs/decisions/scim.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import request

from project.api.scim import places
from project.api.scim.errors import InvalidRequest, NotSupported
from project.api.scim.filters import Filter, Found, Operators, parse
from project.api.scim.requests import DEFAULT_COUNT, MAX_COUNT, read_number
from project.database import Row
from project.errors import Invalid
from project.web.guard import principal
from project.web.pagination import make_cursor, read_cursor


class Kind(NamedTuple):
    """A resource type, as a list needs it.

    :ivar name: the name of its list in places and cursors.
    :ivar page: returns the rows after an id: at most so many, in order of id.
    :ivar skip: returns the id of the last of so many rows after an id; None: there are not so many.
    :ivar find: returns the ids that a filter finds, in order, and what returns some of their rows.
    """

    name: str
    schema: str
    operators: Operators
    page: Callable[[int, int], Sequence[Row]]
    skip: Callable[[int, int], int | None]
    total: Callable[[], int]
    find: Callable[[Filter], Found]


class Page(NamedTuple):
    """A page of a list.

    :ivar position: ``startIndex`` or ``nextCursor``, as the response has it.
    """

    rows: Sequence[Row]
    total: int
    position: Mapping[str, Any]


def list_page(kind: Kind) -> Page:
    """Return the page of a list for which the request asks.

    :raises InvalidRequest: a parameter is wrong, or the filter is not supported (400).
    """
    if "sortBy" in request.args:
        raise NotSupported
    count = max(0, min(read_number("count", DEFAULT_COUNT), MAX_COUNT))
    start = max(1, read_number("startIndex", 1))
    condition = None
    if (text := request.args.get("filter")) is not None:
        condition = parse(text, kind.operators, kind.schema)
    cursor = request.args.get("cursor")
    if cursor is not None:
        return _by_cursor(kind, condition, cursor, count)
    if condition is None:
        return _of_all(kind, start, count)
    ids, fetch = kind.find(condition)
    return Page(fetch(ids[start - 1 : start - 1 + count]), len(ids), {"startIndex": start})


def _of_all(kind: Kind, start: int, count: int) -> Page:
    listing = f"{kind.name} {principal().name}"
    after = _find_place(kind, listing, start) if count else None
    rows = [] if after is None else kind.page(after, count)
    if count and rows and len(rows) == count:
        places.remember(listing, start + count, rows[-1].id)
    is_end = after is not None and len(rows) < count and (rows or start == 1)
    total = (
        start - 1 + len(rows) if is_end else max(kind.total(), start - 1 + len(rows) if rows else 0)
    )
    return Page(rows, total, {"startIndex": start})


def _by_cursor(kind: Kind, condition: Filter | None, cursor: str, count: int) -> Page:
    """Return the page of a cursor; an empty one is that of the first page (RFC 9865 section 2)."""
    name = f"scim {kind.name} {condition!r}"
    try:
        after = read_cursor(name, cursor)[0] if cursor else 0
    except Invalid as error:
        detail = "cursor: Is not a cursor of this list with this filter."
        raise InvalidRequest("invalidCursor", detail) from error
    if condition is None:
        found = kind.page(after, count + 1)
        total = len(found) if not after and len(found) <= count else kind.total()
    else:
        ids, fetch = kind.find(condition)
        total = len(ids)
        found = fetch([each for each in ids if each > after][: count + 1])
    rows = found[:count]
    has_more = rows and len(found) > count
    next_cursor = make_cursor(name, [rows[-1].id]) if has_more else None
    return Page(rows, total, {"nextCursor": next_cursor})


def _find_place(kind: Kind, listing: str, start: int) -> int | None:
    """Return after which id a page begins; None: it lies beyond the end.

    After a jump, the ids from the nearest known place on are counted.
    """
    if start == 1:
        return 0
    known, after = places.find_nearest(listing, start)
    if known == start:
        return after
    return None if start > kind.total() else kind.skip(after, start - known)

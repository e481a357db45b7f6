"""Keyset pagination: a page starts after the last row of the previous one, never at an offset.

The cursor that a client sends back contains that row's sort key, signed. So it cannot be forged or
used for another list.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Protocol

import orjson
from flask import current_app
from itsdangerous import BadData, Signer, base64_decode, base64_encode
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import Column

from project.database import Row, keyset
from project.errors import FieldError, Invalid, Message

MAX_LIMIT = 1000
NAMED_PARAMETERS = 10


def _read_limit(text: str | int) -> int:
    if isinstance(text, int):  # set by the HTML page
        return text
    if re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise PydanticCustomError(
        "limit",
        "{reason}",
        {"reason": Message("Must be an integer from 1 to %(maximum)s.", maximum=MAX_LIMIT)},
    )


Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_read_limit)]
"""The maximum number of rows in a page, 1 to 1000."""


class Page(NamedTuple):
    """A page of a list.

    :param next: the cursor of the next page; None: this is the last.
    :param previous: the cursor of the previous page; None: unknown.
    :param total: the number of rows in all pages; None: not counted.
    """

    rows: Sequence[Row]
    next: str | None = None
    previous: str | None = None
    total: int | None = None


class PageQuery(Protocol):
    """What a query for a page of a list has."""

    limit: int
    cursor: str | None


def find_page(
    query: PageQuery,
    kind: str,
    order: Sequence[Column[Any]],
    find: Callable[[int, list[Any] | None], Sequence[Row]],
) -> Page:
    """Return the page of a list that a query asks for.

    :param order: the columns that the list is sorted by, together unique; each row has them.
    :param find: returns rows: so many at most, from the one after this key on; None: from the
        first.
    :raises Invalid: the cursor is not one of this kind of list (400).
    """
    after = None
    if query.cursor is not None:
        after = keyset.from_cursor(order, read_cursor(kind, query.cursor))
    rows = find(query.limit + 1, after)
    if len(rows) <= query.limit:
        return Page(rows)
    shown = rows[: query.limit]
    return Page(shown, make_cursor(kind, key_of(shown[-1], order)))


class Way(NamedTuple):
    """A list in one of two opposite orders.

    :param list_page: returns the page of a cursor; None: the first.
    :param cursor_of: returns the cursor of the page that starts after a row.
    """

    list_page: Callable[[str | None], Page]
    cursor_of: Callable[[Row], str]


def find_both_ways(cursor: str | None, before: str | None, onwards: Way, back: Way) -> Page:
    """Return a page with the cursor of the previous page.

    :param cursor: of the order ``onwards``.
    :param before: of the order ``back``: the page ends before its row; None: use ``cursor``.
    :raises Invalid: a cursor is not valid for its list (400).
    """
    if before is not None:
        page = back.list_page(before)
        if page.next is not None:
            rows = page.rows[::-1]
            return Page(rows, onwards.cursor_of(rows[-1]), previous=back.cursor_of(rows[0]))
        cursor = None  # show the first page, and a full one
    page = onwards.list_page(cursor)
    if cursor is None or not page.rows:
        return page
    return page._replace(previous=back.cursor_of(page.rows[0]))


def key_of(row: Row, order: Sequence[Column[Any]]) -> list[Any]:
    """Return the sort key of a row, as a cursor contains it."""
    return keyset.to_cursor([getattr(row, column.name) for column in order])


def make_cursor(kind: str, key: Sequence[Any]) -> str:
    """Return the cursor of the page that starts after a row.

    :param kind: identifies the list, its order and its filters.
    :param key: the row's sort key, of values that JSON can represent.
    """
    return _signer(kind).sign(base64_encode(orjson.dumps(key))).decode()


def read_cursor(kind: str, cursor: str) -> list[Any]:
    """Return the sort key in a cursor.

    :raises Invalid: it is not a cursor of this kind of list (400).
    """
    try:
        key: list[Any] = orjson.loads(base64_decode(_signer(kind).unsign(cursor)))
    except (BadData, ValueError) as error:  # ValueError: earlier versions signed compressed keys
        raise invalid_parameters(
            [FieldError("cursor", "Is not a valid cursor for this list.")]
        ) from error
    return key


def invalid_parameters(errors: Sequence[FieldError]) -> Invalid:
    """Return the error for invalid parameters of the query string."""
    names = ", ".join(error.field for error in errors[:NAMED_PARAMETERS])
    names += "…" if len(errors) > NAMED_PARAMETERS else ""
    return Invalid(Message("Invalid parameter: %(names)s.", names=names), errors)


def _signer(kind: str) -> Signer:
    config = current_app.config
    # The last key signs.
    return _new_signer(kind, *(config["SECRET_KEY_FALLBACKS"] or ()), config["SECRET_KEY"])


@lru_cache(maxsize=64)  # limited, since search terms are part of the kind
def _new_signer(kind: str, *keys: str) -> Signer:
    return Signer(keys, salt=f"cursor:{kind}")

"""The SELECTs of users: each reads a range of an index, in the order of that index.

They are built once for each combination of columns, order and filters, and filled in by parameters.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    not_,
    or_,
    select,
)

from project.api.users import fields
from project.api.users.models import User
from project.database import Row, keyset

_users = fields.COLUMNS
_LIMIT = bindparam("limit", type_=Integer)
COMPLETE = (*fields.SHOWN, "version")

HAS_ID = _users.id == bindparam("user_id")
_HAS_IDS = _users.id.in_(bindparam("ids", expanding=True))
LOCKED = select(*(_users[name] for name in fields.STORED)).where(HAS_ID).with_for_update()
ADMINISTRATORS = select(_users.id).where(_HAS_IDS, _users.role == "admin")
LAST_ID = select(func.max(_users.id))

_SORTED_BY: dict[str, Column[Any]] = {
    "id": _users.id,
    "created_at": _users.created_at,
    "username": _users.username_folded,
    "email": _users.email_folded,
}
SORTS = tuple(_SORTED_BY)
# A time as text is half of the work, and is what a cursor and the page need.
_RENDERED: dict[str, ColumnElement[Any]] = {
    "json": fields.JSON,
    "created_at_text": cast(_users.created_at, String(19)).label("created_at_text"),
}
_HAS_PREFIX = {
    name: and_(column >= bindparam(f"{name}_from"), column < bindparam(f"{name}_to"))
    for name, column in (("username", _users.username_folded), ("email", _users.email_folded))
}
_PARTS: dict[str | None, list[ColumnElement[bool]]] = {
    None: [],
    "username": [_HAS_PREFIX["username"]],
    "email": [_HAS_PREFIX["email"], not_(_HAS_PREFIX["username"])],
}
NO_ROLE = "none"


class Filters(NamedTuple):
    """Which users are wanted; None: all.

    :param active: those that are active, or that are not.
    :param email_folded: the one with this mailbox.
    :param role: those with this role; ``none``: without one.
    """

    active: bool | None = None
    email_folded: str | None = None
    role: str | None = None

    def used(self) -> tuple[str, ...]:
        """Return the names of those that filter, ``no role`` among them."""
        return tuple(
            [
                "no role" if value == NO_ROLE else name
                for name, value in zip(self._fields, self, strict=True)
                if value is not None
            ]
        )

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that fill the filters in."""
        return {
            name: None if value == NO_ROLE else value
            for name, value in zip(self._fields, self, strict=True)
            if value is not None
        }


# Unlike IS NULL, SQLite takes it for as good a reason to use the index as =.
_HAS_ROLE = _users.role.is_not_distinct_from(bindparam("role", type_=_users.role.type))
_FILTERS: dict[str, ColumnElement[bool]] = {
    "active": _users.active == bindparam("active"),
    "email_folded": _users.email_folded == bindparam("email_folded"),
    "role": _HAS_ROLE,
    "no role": _HAS_ROLE,
}


@cache
def by_id(columns: tuple[str, ...] = COMPLETE) -> Select[Any]:
    """Return the SELECT of the user with the parameter ``user_id``.

    :param columns: names of columns; ``json``: the object that clients see, as the database
        renders it.
    """
    return select(*_select(columns)).where(HAS_ID)


@cache
def by_ids(columns: tuple[str, ...] = COMPLETE) -> Select[Any]:
    """Return the SELECT of the users with one of the parameters ``ids``, in their order."""
    return select(*_select(columns)).where(_HAS_IDS).order_by(_users.id)


@cache
def page(
    columns: tuple[str, ...],
    sort: str,
    filters: tuple[str, ...],
    after: bool,
    part: str | None = None,
) -> Select[Any]:
    """Return the SELECT of a page; its rows have the key that they are sorted by as well.

    :param columns: as for by_id.
    :param sort: one of ``SORTS``; with ``-``, descending.
    :param filters: as ``Filters.used`` names them.
    :param after: whether it starts after a row with the parameters ``key`` and ``key_id``.
    :param part: of a search: those with a ``username`` that matches, or by ``email`` alone.
    """
    column, descending = sort_column(sort), sort.startswith("-")
    conditions = _conditions(filters, part)
    order = [column] if _is_unique(column) else [column, _users.id]
    if after:
        key = [bindparam("key", type_=column.type), bindparam("key_id", type_=Integer)]
        conditions += keyset.after(order, key, descending=descending)
    statement = select(*_select((*columns, "id", _key_name(column)))).where(*conditions)
    statement = statement.order_by(*(each.desc() if descending else each for each in order))
    if index := _index(column, filters):
        for dialect in ("mysql", "mariadb"):
            statement = statement.with_hint(User.__table__, f"FORCE INDEX ({index})", dialect)
    return statement.limit(_LIMIT)


@cache
def total(filters: tuple[str, ...], search: bool) -> Select[Any]:
    """Return the SELECT that counts; it alone may read many rows."""
    conditions = _conditions(filters, None)
    if search:
        conditions.append(or_(_HAS_PREFIX["username"], _HAS_PREFIX["email"]))
    return select(func.count()).select_from(User.__table__).where(*conditions)


def sort_column(sort: str) -> Column[Any]:
    """Return the column that an order is by."""
    return _SORTED_BY[sort.removeprefix("-")]


def key_of(sort: str, row: Row) -> tuple[Any, int]:
    """Return the key that a row of an order is sorted by, a time as text, and the id."""
    return getattr(row, _key_name(sort_column(sort))), row.id


def read_key(sort: str, content: Sequence[Any]) -> tuple[Any, int]:
    """Return the key and the id that a cursor of an order holds."""
    key, user_id = keyset.from_cursor([sort_column(sort), _users.id], content)
    return key, user_id


def _key_name(column: Column[Any]) -> str:
    return f"{column.name}_text" if f"{column.name}_text" in _RENDERED else column.name


def _select(names: Sequence[str]) -> list[ColumnElement[Any]]:
    return [_RENDERED.get(name, _users.get(name)) for name in dict.fromkeys(names)]


def _conditions(filters: tuple[str, ...], part: str | None) -> list[ColumnElement[bool]]:
    return [*_PARTS[part], *(_FILTERS[name] for name in filters)]


def _is_unique(column: ColumnElement[Any]) -> bool:
    """Say whether a column has no ties; its index then ends with it."""
    return column is _users.id or column is _users.email_folded


def _index(column: Column[Any], filters: tuple[str, ...]) -> str | None:
    """Return the index that a page must be read from; None: the database finds it.

    A database would rather walk an index without the filter's column and leave rows out on the way:
    cheap when half of the users pass, a scan when hardly any does. Of two filters, the rarer one
    leads: few have a role, and most are active.
    """
    if "email_folded" in filters or not filters:
        return None
    first = "role" if "role" in filters or "active" not in filters else "active"
    names = [first, *([] if column is _users.id else [column.name]), "id"]
    return f"ix_users_{'_'.join(names)}"

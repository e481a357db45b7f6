"""The SELECTs of users: each reads a range of an index, in the order of that index.

Each combination of columns, order and filters is built once; parameters fill it in.
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
from project.api.users.schemas import NO_ROLE
from project.database import keyset

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
# Reading a time as text costs half, and the cursor and the page need text.
_RENDERED: dict[str, ColumnElement[Any]] = {
    "json": fields.JSON,
    "created_at_text": cast(_users.created_at, String(19)).label("created_at"),
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


class Filters(NamedTuple):
    """The filters of a list; None: do not filter.

    :param active: active or inactive users.
    :param email_folded: the user with this mailbox.
    :param role: users with this role; ``none``: without a role.
    """

    active: bool | None = None
    email_folded: str | None = None
    role: str | None = None

    def used(self) -> tuple[str, ...]:
        """Return the names of the filters that are set; ``none`` gives ``no role``."""
        return tuple(
            [
                "no role" if value == NO_ROLE else name
                for name, value in zip(self._fields, self, strict=True)
                if value is not None
            ]
        )

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the filters that are set."""
        return {
            name: None if value == NO_ROLE else value
            for name, value in zip(self._fields, self, strict=True)
            if value is not None
        }


# SQLite rates this as high as = when it chooses an index, unlike IS NULL.
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

    :param columns: the names of columns; ``json``: the JSON object that clients see, rendered by
        the database.
    """
    return select(*_select(columns)).where(HAS_ID)


@cache
def by_ids(columns: tuple[str, ...] = COMPLETE) -> Select[Any]:
    """Return the SELECT of the users whose id is in the parameter ``ids``, in order of id."""
    return select(*_select(columns)).where(_HAS_IDS).order_by(_users.id)


@cache
def page(
    columns: tuple[str, ...],
    sort: str,
    filters: tuple[str, ...],
    after: bool,
    part: str | None = None,
) -> Select[Any]:
    """Return the SELECT of a page; its rows include the sort key.

    :param columns: as for by_id.
    :param sort: one of ``SORTS``; with ``-``, descending.
    :param filters: as returned by ``Filters.used``.
    :param after: whether the page starts after the row of the parameters ``key`` and ``key_id``.
    :param part: the part of a search: ``username`` matches, or only ``email``; None: no search.
    """
    column, descending = sort_column(sort), sort.startswith("-")
    conditions = _conditions(filters, part)
    order = [column] if _is_unique(column) else [column, _users.id]
    if after:
        key = [bindparam("key", type_=column.type), bindparam("key_id", type_=Integer)]
        conditions += keyset.after(order, key, descending=descending)
    key_column = f"{column.name}_text" if f"{column.name}_text" in _RENDERED else column.name
    statement = select(*_select((*columns, "id", key_column))).where(*conditions)
    statement = statement.order_by(*(each.desc() if descending else each for each in order))
    if index := _index(column, filters):
        for dialect in ("mysql", "mariadb"):
            statement = statement.with_hint(User.__table__, f"FORCE INDEX ({index})", dialect)
    return statement.limit(_LIMIT)


@cache
def total(filters: tuple[str, ...], search: bool) -> Select[Any]:
    """Return the SELECT that counts users; only this one may read many rows."""
    conditions = _conditions(filters, None)
    if search:
        conditions.append(or_(_HAS_PREFIX["username"], _HAS_PREFIX["email"]))
    return select(func.count()).select_from(User.__table__).where(*conditions)


def sort_column(sort: str) -> Column[Any]:
    """Return the column of an order."""
    return _SORTED_BY[sort.removeprefix("-")]


def _select(names: Sequence[str]) -> list[ColumnElement[Any]]:
    columns: dict[str | None, ColumnElement[Any]] = {}
    for name in names:  # of two forms of one column, the first is wanted
        column = _RENDERED.get(name, _users.get(name))
        columns.setdefault(column.key, column)
    return [*columns.values()]


def _conditions(filters: tuple[str, ...], part: str | None) -> list[ColumnElement[bool]]:
    return [*_PARTS[part], *(_FILTERS[name] for name in filters)]


def _is_unique(column: ColumnElement[Any]) -> bool:
    """Return whether a column is unique; its index then ends with it."""
    return column is _users.id or column is _users.email_folded


def _index(column: Column[Any], filters: tuple[str, ...]) -> str | None:
    """Return the index that a page must use; None: the database chooses the right one.

    Databases tend to scan an index without the filter's column and skip rows. That is cheap if half
    of the users match, but a full scan if hardly any do. With two filters, the more selective one
    comes first: few users have a role, and most are active.
    """
    if "email_folded" in filters or not filters:
        return None
    first = "role" if "role" in filters or "active" not in filters else "active"
    names = [first, *([] if column is _users.id else [column.name]), "id"]
    return f"ix_users_{'_'.join(names)}"

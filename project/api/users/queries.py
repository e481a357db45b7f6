"""The SELECTs of users: each reads a range of an index, in the order of that index.

They are built once for each combination of order and filters, and filled in by parameters. A list's
rows hold what clients see as ``json``, and beside it the key that they are sorted by, unless the
JSON tells that.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
)

from project.api.users.models import StoredUser, User
from project.api.users.schemas import UserRead
from project.api.users.written import json_object

_users = User.__table__.c
_json = json_object().label("json")
_LIMIT = bindparam("limit", type_=Integer)

HAS_ID = _users.id == bindparam("user_id")
BY_ID = select(*(_users[name] for name in UserRead.model_fields), _users.version).where(HAS_ID)
WRITTEN_BY_ID = select(_json, _users.version).where(HAS_ID)
LOCKED = select(*(_users[name] for name in StoredUser._fields)).where(HAS_ID).with_for_update()
BY_IDS = select(_json).where(_users.id.in_(bindparam("ids", expanding=True))).order_by(_users.id)

ADMINISTRATORS = select(_users.id).where(
    _users.id.in_(bindparam("ids", expanding=True)), _users.role == "admin"
)

_IMPORTED = select(
    *(
        _users[name]
        for name in ("id", "email_folded", "username", "email", "active", "version", "role")
    )
)
BY_MAILBOXES = _IMPORTED.where(_users.email_folded.in_(bindparam("mailboxes", expanding=True)))
BY_IMPORTED_IDS = _IMPORTED.where(_users.id.in_(bindparam("ids", expanding=True)))
LAST_ID = select(func.max(_users.id))

_SORTED_BY: dict[str, Column[Any]] = {
    "id": _users.id,
    "created_at": _users.created_at,
    "username": _users.username_folded,
    "email": _users.email_folded,
}
_KEYS_IN_JSON: dict[str, Callable[[Any], Any]] = {
    "id": int,
    "created_at": lambda text: datetime.fromisoformat(text.removesuffix("Z")),
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
    """Which users are wanted; None: all.

    :param active: those that are active, or that are not.
    :param email_folded: the one with this mailbox.
    """

    active: bool | None = None
    email_folded: str | None = None

    def used(self) -> tuple[bool, bool]:
        """Say which of the two filter."""
        return self.active is not None, self.email_folded is not None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that fill the filters in."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@cache
def page(sort: str, active: bool, email: bool, after: bool, part: str | None = None) -> Select[Any]:
    """Return the SELECT of a page.

    :param sort: ``id``, ``created_at``, ``username`` or ``email``; with ``-``, descending.
    :param active: whether it filters by ``active``.
    :param email: whether it filters by ``email_folded``.
    :param after: whether it starts after a row with the parameters ``key`` and ``key_id``.
    :param part: of a search: those with a ``username`` that matches, or by ``email`` alone.
    """
    column = _SORTED_BY[sort.removeprefix("-")]
    conditions = _conditions(active, email, part)
    if after:
        conditions += _after(column, sort.startswith("-"))
    order = [column] if _is_unique(column) else [column, _users.id]
    if sort.startswith("-"):
        order = [each.desc() for each in order]
    keys = [] if column.name in _KEYS_IN_JSON else [column]
    statement = select(_json, *keys).where(*conditions).order_by(*order).limit(_LIMIT)
    if active and not email:
        # MySQL would rather walk an index without `active` and leave rows out on the way: cheap
        # when half of the users are active, a scan when hardly any is.
        columns = ["active", *([] if column is _users.id else [column.name]), "id"]
        for dialect in ("mysql", "mariadb"):
            hint = f"FORCE INDEX (ix_users_{'_'.join(columns)})"
            statement = statement.with_hint(User.__table__, hint, dialect)
    return statement


@cache
def total(active: bool, email: bool, search: bool) -> Select[Any]:
    """Return the SELECT that counts; it alone may read many rows."""
    conditions = _conditions(active, email, None)
    if search:
        conditions.append(or_(_HAS_PREFIX["username"], _HAS_PREFIX["email"]))
    return select(func.count()).select_from(User.__table__).where(*conditions)


def _conditions(active: bool, email: bool, part: str | None) -> list[ColumnElement[bool]]:
    conditions = list(_PARTS[part])
    if active:
        conditions.append(_users.active == bindparam("active"))
    if email:
        conditions.append(_users.email_folded == bindparam("email_folded"))
    return conditions


def _after(column: ColumnElement[Any], descending: bool) -> list[ColumnElement[bool]]:
    key, key_id = bindparam("key", type_=column.type), bindparam("key_id", type_=Integer)
    if _is_unique(column):
        return [column < key if descending else column > key]
    beyond, beyond_id = (
        (column < key, _users.id < key_id) if descending else (column > key, _users.id > key_id)
    )
    # The first condition follows from the second; it is what SQLite takes for a range of the index.
    return [
        column <= key if descending else column >= key,
        or_(beyond, and_(column == key, beyond_id)),
    ]


def _is_unique(column: ColumnElement[Any]) -> bool:
    """Say whether a column has no ties; its index then ends with it."""
    return column is _users.id or column is _users.email_folded


def key_of(sort: str) -> Callable[[Any], tuple[Any, int]]:
    """Return a function that gives the key and the id that a row is sorted by."""
    name = _SORTED_BY[sort.removeprefix("-")].name

    def key(row: Any) -> tuple[Any, int]:
        user = orjson.loads(row.json)
        read = _KEYS_IN_JSON.get(name)
        return read(user[name]) if read else getattr(row, name), user["id"]

    return key


def as_json(key: Any) -> Any:
    """Return a key as a cursor can hold it."""
    return key.isoformat() if isinstance(key, datetime) else key


def from_json(sort: str, key: Any) -> Any:
    """Return the key that ``as_json`` made a cursor's text of."""
    return datetime.fromisoformat(key) if sort.removeprefix("-") == "created_at" else key

"""The SELECTs of groups and of their members: each reads a range of an index, in its order."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from project.api.groups.models import Group, GroupMember
from project.api.groups.schemas import GroupRead
from project.api.users.models import User
from project.database import keyset

GROUPS = Group.__table__
MEMBERS = GroupMember.__table__
_users = User.__table__.c
STORED = (*GroupRead.model_fields, "version")
"""The columns of a group's row."""

HAS_ID = GROUPS.c.id == sa.bindparam("group_id", type_=sa.Integer)
HAS_IDS = GROUPS.c.id.in_(sa.bindparam("ids", expanding=True))
IN_GROUP = MEMBERS.c.group_id == sa.bindparam("of_group", type_=sa.Integer)
ARE_MEMBERS = MEMBERS.c.user_id.in_(sa.bindparam("ids", expanding=True))
USERS_HAVE_IDS = _users.id.in_(sa.bindparam("ids", expanding=True))
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_SORTED_BY = {"id": GROUPS.c.id, "display_name": GROUPS.c.display_name_folded}
_FOLDED = GROUPS.c.display_name_folded
_FILTERS: dict[str, list[sa.ColumnElement[bool]]] = {
    "display_name": [_FOLDED == sa.bindparam("display_name")],
    "external_id": [GROUPS.c.external_id == sa.bindparam("external_id")],
    "q": [_FOLDED >= sa.bindparam("from"), _FOLDED < sa.bindparam("to")],
}

_shown = [GROUPS.c[name] for name in STORED]
BY_ID = sa.select(*_shown).where(HAS_ID)
LOCKED = BY_ID.with_for_update()
BY_IDS = sa.select(*_shown).where(HAS_IDS)
_name = GROUPS.c.display_name_folded
BY_NAME_START = (
    sa.select(*_shown)
    .where(_name >= sa.bindparam("start"), _name < sa.bindparam("end"))
    .order_by(_name)
    .limit(_LIMIT)
)
KNOWN_USERS = sa.select(_users.id).where(USERS_HAVE_IDS).order_by(_users.id)
KNOWN_USERS = KNOWN_USERS.with_for_update(read=True)
"""The users with these ids, who stay until the transaction ends."""
MEMBER_IDS = sa.select(MEMBERS.c.user_id).where(IN_GROUP).order_by(MEMBERS.c.user_id)
MEMBER_IDS_AMONG = MEMBER_IDS.where(ARE_MEMBERS)
MEMBER_BEYOND = MEMBER_IDS.limit(1).offset(sa.bindparam("number", type_=sa.Integer))
GROUP_IDS_OF = sa.select(MEMBERS.c.group_id).where(ARE_MEMBERS).distinct()
MEMBERS_OF = (
    sa.select(MEMBERS.c.group_id, MEMBERS.c.user_id)
    .where(MEMBERS.c.group_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(MEMBERS.c.group_id, MEMBERS.c.user_id)
)
GROUPS_OF = (
    sa.select(MEMBERS.c.user_id, GROUPS.c.id, GROUPS.c.display_name)
    .join_from(MEMBERS, GROUPS)
    .where(ARE_MEMBERS)
    .order_by(MEMBERS.c.user_id, MEMBERS.c.group_id)
)

EXPORTED_GROUPS = (
    sa.select(GROUPS.c.id, GROUPS.c.display_name, GROUPS.c.external_id)
    .where(GROUPS.c.id > sa.bindparam("after", type_=sa.Integer))
    .order_by(GROUPS.c.id)
    .limit(_LIMIT)
)
_EXPORT_ORDER = [MEMBERS.c.group_id, MEMBERS.c.user_id]
EXPORTED_MEMBERS = (
    sa.select(*_EXPORT_ORDER, _users.username, _users.email)
    .select_from(MEMBERS.join(User.__table__))
    .where(
        *keyset.after(
            _EXPORT_ORDER,
            [sa.bindparam("key", type_=sa.Integer), sa.bindparam("key_id", type_=sa.Integer)],
        ),
        MEMBERS.c.group_id <= sa.bindparam("last", type_=sa.Integer),
    )
    .order_by(*_EXPORT_ORDER)
    .with_hint(User.__table__, "NOT INDEXED", "sqlite")
    .prefix_with("STRAIGHT_JOIN", dialect="mysql")
    .prefix_with("STRAIGHT_JOIN", dialect="mariadb")
    .limit(_LIMIT)
)
"""The members of groups up to the parameter ``last``, after the one of ``key`` and ``key_id``."""


def order_of(sort: str) -> list[sa.Column[Any]]:
    """Return the columns of an order; each is unique by itself, and in the rows of a page."""
    return [_SORTED_BY[sort.removeprefix("-")]]


@cache
def page(sort: str, filters: tuple[str, ...], after: bool) -> sa.Select[Any]:
    """Return the SELECT of a page of groups; its rows include the sort key.

    :param sort: ``id`` or ``display_name``; with ``-``, descending.
    :param filters: ``display_name``; ``external_id``, in order of id; ``q``, the groups whose name
        is in the range of the parameters ``from`` and ``to``, in order of name.
    :param after: whether the page starts after the group with the parameter ``key``.
    """
    [column], descending = order_of(sort), sort.startswith("-")
    conditions = [each for name in filters for each in _FILTERS[name]]
    if after:
        key = sa.bindparam("key", type_=column.type)
        conditions += keyset.after([column], [key], descending=descending)
    statement = sa.select(*_shown, *([column] if column.name not in STORED else []))
    statement = statement.where(*conditions)
    if (not filters or "q" in filters) and column is not GROUPS.c.id:
        for dialect in ("mysql", "mariadb"):
            index = "FORCE INDEX (uq_groups_display_name_folded)"
            statement = statement.with_hint(GROUPS, index, dialect)
    return statement.order_by(column.desc() if descending else column).limit(_LIMIT)


@cache
def total(filters: tuple[str, ...]) -> sa.Select[Any]:
    """Return the SELECT that counts groups."""
    conditions = [each for name in filters for each in _FILTERS[name]]
    return sa.select(sa.func.count()).select_from(GROUPS).where(*conditions)


@cache
def page_of_user(after: bool) -> sa.Select[Any]:
    """Return the SELECT of a page of the groups of a user, in order of id."""
    order = MEMBERS.c.group_id
    conditions: list[Any] = [MEMBERS.c.user_id == sa.bindparam("user_id", type_=sa.Integer)]
    if after:
        conditions += keyset.after([order], [sa.bindparam("key", type_=sa.Integer)])
    statement = sa.select(*_shown).select_from(MEMBERS.join(GROUPS)).where(*conditions)
    statement = statement.with_hint(GROUPS, "NOT INDEXED", "sqlite")
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return statement.order_by(order).limit(_LIMIT)


def parts(ids: Sequence[int], size: int = 1000) -> list[Sequence[int]]:
    """Return ids in parts that fit into a statement."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]

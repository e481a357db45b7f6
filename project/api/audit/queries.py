"""The SELECTs of audit events: each reads a range of an index, in the order of that index."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from project.api.audit.models import AuditEvent
from project.database import keyset

_events = AuditEvent.__table__.c
ORDER = (_events.created_at, _events.id)
_STATES = ("before", "after")
_shown = [
    sa.type_coerce(column, sa.JSON).label(column.name) if column.name in _STATES else column
    for column in _events
]

OLDER = (
    sa.select(_events.id)
    .where(_events.created_at < sa.bindparam("before", type_=sa.DateTime))
    .order_by(_events.created_at, _events.id)
    .limit(sa.bindparam("limit", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)


EQUAL = ("user_id", "actor", "action")
"""The filters by value; ``since`` and ``until`` are the ends of a range."""


@cache
def page(filters: frozenset[str], after: bool, oldest_first: bool = False) -> sa.Select[Any]:
    """Return the SELECT of a page, newest event first unless ``oldest_first``.

    The order is not by id alone: ``since`` would then have to skip all older events. Within a
    second, the event with the higher id is newer.

    :param filters: the names of the filters' parameters: those of ``EQUAL``, ``since`` (events at
        this time or later) and ``until`` (events before this time).
    :param after: whether to start after the event of the parameters ``key`` and ``key_id``.
    """
    equal = [name for name in EQUAL if name in filters]
    conditions: list[sa.ColumnElement[bool]] = [
        _events[name] == sa.bindparam(name) for name in equal
    ]
    # The event of the key is within the range: the end from which the page is read is passed.
    passed = ("since" if oldest_first else "until") if after else None
    if "since" in filters and passed != "since":
        conditions.append(_events.created_at >= sa.bindparam("since", type_=sa.DateTime))
    if "until" in filters and passed != "until":
        conditions.append(_events.created_at < sa.bindparam("until", type_=sa.DateTime))
    if after:
        key = [sa.bindparam("key", type_=sa.DateTime), sa.bindparam("key_id", type_=sa.Integer)]
        conditions += keyset.after(ORDER, key, descending=not oldest_first)
    order = [column if oldest_first else column.desc() for column in ORDER]
    statement = sa.select(*_shown).where(*conditions).order_by(*order)
    # The index for exactly these filters is best, whatever the statistics say about rare values.
    index = "_".join(["ix_audit_events", *equal[:2], "created_at", "id"])
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(AuditEvent.__table__, f"FORCE INDEX ({index})", dialect)
    return statement.limit(sa.bindparam("limit", type_=sa.Integer))

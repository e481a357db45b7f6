"""Stops an API key that deactivates or removes unusually many users, until somebody has looked.

An identity provider with a wrong filter, or a group taken away by mistake, would otherwise empty
the directory within minutes. Each key has a row with the times of its deactivations within the last
hour, which is locked in the transaction of each: so the limit is exact, whatever comes at once.
See docs/decisions/deactivation-guard.md. Knows no HTTP.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from flask import current_app
from sqlalchemy import DateTime, Integer, bindparam, func, or_, select, true, update
from sqlalchemy.dialects import mysql, sqlite

from project.api.audit import service as audit
from project.api.users.errors import TooManyDeactivations
from project.api.users.models import DeactivationGuard, User
from project.clock import utcnow
from project.database import in_transaction, of_database, read, write
from project.web.guard import Principal
from project.web.pruning import delete_oldest, prunes

WINDOW = timedelta(hours=1)
LARGEST_SHARE = 10
"""How many percent of the active users a key may deactivate or remove within the window ..."""
MOST = 50
"""... and how many users at most,"""
ALWAYS = 5
"""but always so many, however few users there are."""

_KEY_STOPPED = audit.register("key.stopped")
_KEY_ALLOWED = audit.register("key.allowed")
_EPOCH = datetime(1970, 1, 1)
_guards: Any = DeactivationGuard.__table__
_OF_KEY = _guards.c.key_id == bindparam("of_key", type_=Integer)
_LOCK = select(*_guards.c).where(_OF_KEY).with_for_update()
_NEW = {"times": "[]", "stopped_at": None, "allowed_until": None}
_ADD = {
    "sqlite": sqlite.insert(_guards).on_conflict_do_nothing(),
    "mysql": mysql.insert(_guards).on_duplicate_key_update(key_id=_guards.c.key_id),
}
_SAVE = update(_guards).where(_OF_KEY)
_STOP = _SAVE.where(
    or_(
        _guards.c.stopped_at.is_(None),
        _guards.c.stopped_at <= bindparam("before", type_=DateTime),
    )
)
_CURRENT = (
    select(_guards.c.key_id, _guards.c.stopped_at, _guards.c.allowed_until)
    .where(_guards.c.changed_at > bindparam("since", type_=DateTime))
    .order_by(_guards.c.key_id)
)
_COUNTED = MOST * 100 // LARGEST_SHARE
_ACTIVE = select(func.count()).select_from(
    select(User.id).where(User.active == true()).limit(_COUNTED).subquery()
)


class Stop(NamedTuple):
    """A key that was stopped within the last hour, or that may go on.

    :param stopped_at: when it was last refused; None: not since it was allowed.
    :param allowed_until: until when nothing of the key is counted; None: it is counted.
    """

    key_id: int
    stopped_at: datetime | None
    allowed_until: datetime | None


def limit_of(active: int) -> int:
    """Return how many of so many active users a key may deactivate or remove within an hour."""
    return min(MOST, max(ALWAYS, active * LARGEST_SHARE // 100))


def count(key: Principal) -> None:
    """Count an active user whom a key is about to deactivate or remove.

    :raises TooManyDeactivations: the key has deactivated or removed too many within an hour (429).
    """
    if key.key_id is None or not current_app.config["DEACTIVATION_GUARD"]:
        return
    now = utcnow()
    guard = _lock(key.key_id, now)
    if guard.allowed_until is not None and now < guard.allowed_until:
        return
    now_seconds, window = _seconds(now), int(WINDOW.total_seconds())
    times = [each for each in orjson.loads(guard.times) if each > now_seconds - window]
    if len(times) >= ALWAYS:
        # Those of the last hour were active before the key came. They are committed, so another
        # connection sees them as they are; this transaction may have a snapshot from before.
        limit = limit_of(read(_ACTIVE, {})[0][0] + len(times))
        if len(times) >= limit:
            wait = times[len(times) - limit] + window - now_seconds
            raise TooManyDeactivations(max(1, wait), len(times))
    save = {"times": orjson.dumps([*times, now_seconds]).decode(), "changed_at": now}
    write(_SAVE, {"of_key": key.key_id, **save})


def _lock(key_id: int, now: datetime) -> Any:
    found = write(_LOCK, {"of_key": key_id}).rows
    if not found:
        write(of_database(**_ADD), {"key_id": key_id, **_NEW, "changed_at": now})
        found = write(_LOCK, {"of_key": key_id}).rows
    return found[0]


def _seconds(time: datetime) -> int:
    return int((time - _EPOCH).total_seconds())


@in_transaction
def commit_stop(key: Principal, count: int) -> None:
    """Record that a key was stopped, once an hour, after its request was rolled back.

    :param count: how many users it has deactivated or removed within an hour.
    """
    now = utcnow()
    stop = {"of_key": key.key_id, "before": now - WINDOW, "stopped_at": now, "changed_at": now}
    if write(_STOP, stop).row_count:
        audit.record(_KEY_STOPPED, key.user_id, after={"count": count})


def allow(key_id: int, user_id: int, name: str) -> None:
    """Let a key go on: for an hour, nothing that it does is counted.

    :param user_id: the key's user.
    :param name: the key's.
    """
    now = utcnow()
    _lock(key_id, now)
    allowed = {**_NEW, "allowed_until": now + WINDOW, "changed_at": now}
    write(_SAVE, {"of_key": key_id, **allowed})
    audit.record(_KEY_ALLOWED, user_id, after={"id": key_id, "name": name})


def list_stops() -> Sequence[Stop]:
    """Return the keys that were stopped within the last hour, and those that may go on."""
    now = utcnow()
    stops = [
        Stop(
            row.key_id,
            row.stopped_at if row.stopped_at and row.stopped_at > now - WINDOW else None,
            row.allowed_until if row.allowed_until and row.allowed_until > now else None,
        )
        for row in read(_CURRENT, {"since": now - WINDOW})
    ]
    return [each for each in stops if each.stopped_at or each.allowed_until]


@prunes("deactivation counts")
def remove_old(limit: int) -> int:
    """Remove the rows of keys that have no effect any more."""
    return delete_oldest(_guards.c.key_id, _guards.c.changed_at, utcnow() - 2 * WINDOW, limit)

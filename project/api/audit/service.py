"""Records and lists audit events: all SQL on their table."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NewType

import orjson
from flask import current_app, has_request_context
from sqlalchemy import bindparam, delete, insert, update

from project.api.audit import queries
from project.api.audit.models import ADDRESS_LENGTH, NAME_LENGTH, AuditEvent
from project.api.audit.schemas import EventListQuery, filters_of
from project.clock import utcnow
from project.database import Row, db, read_presuming, write
from project.web import client
from project.web.guard import known_principal
from project.web.pagination import Page, Way, find_both_ways, find_page, key_of, make_cursor
from project.web.pruning import prunes
from project.web.request_id import request_id

ANONYMOUS = "anonymous"
PRUNER = "command:prune"
EVENTS_PER_PART = 1000
_INSERT = insert(AuditEvent.__table__)
_UPDATE_COUNTS = update(AuditEvent.__table__).where(
    AuditEvent.__table__.c.id == bindparam("event_id")
)

Action = NewType("Action", str)
_actions: set[Action] = set()

_command: ContextVar[str | None] = ContextVar("command", default=None)
_actor: ContextVar[str | None] = ContextVar("actor", default=None)


def register(name: str) -> Action:
    """Register an action that can be recorded; docs/decisions/audit.md lists all of them.

    :param name: the object and the action, such as ``user.created``.
    :raises ValueError: the name has another form, is too long, or is already registered.
    """
    action = Action(name)
    if not re.fullmatch(r"[a-z]+\.[a-z]+", name) or len(name) > NAME_LENGTH or action in _actions:
        raise ValueError(f"{name!r} is already registered or is not a valid action.")
    _actions.add(action)
    return action


PRUNED = register("audit.pruned")


@contextmanager
def by_command(name: str) -> Iterator[None]:
    """Record this command as the actor of all events within; also a decorator."""
    token = _command.set(name)
    try:
        yield
    finally:
        _command.reset(token)


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Record this actor, such as ``user:7``, who has no sign-in yet, for all events within."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


def record(
    action: Action,
    user_id: int | None = None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    actor: str | None = None,
) -> int | None:
    """Add an event to the current transaction: it is committed with the change.

    :param user_id: the affected user; None: none or several.
    :param before: the old values of the fields, without secrets. If ``after`` is given too, only
        fields that differ are recorded; if none differs, there is no event.
    :param after: the new values of the fields, without secrets, or counts for several users.
    :param actor: who did it; None: who is ``acting_as``, the running command, or the caller if
        identified.
    :return: the event's id; None: there is no event.
    :raises LookupError: the action is not registered.
    """
    _check_registered(action)
    if before is not None and after is not None:
        names = {name for name in before | after if before.get(name) != after.get(name)}
        if not names:
            return None
        before, after = (
            {name: state[name] for name in state if name in names} for state in (before, after)
        )
    event = _event(action, before, after, actor)
    return write(_INSERT, {**event, "user_id": user_id}).inserted_id


def record_each(
    action: Action,
    user_ids: Sequence[int],
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add the same event for each of several users to the current transaction, at once.

    :raises LookupError: the action is not registered.
    """
    _check_registered(action)
    event = _event(action, before, after, None)
    if user_ids:
        db.session.execute(_INSERT, [{**event, "user_id": user_id} for user_id in user_ids])


def _check_registered(action: Action) -> None:
    if action not in _actions:
        raise LookupError(f"No feature has registered the action {action!r}.")


def _event(
    action: Action,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    actor: str | None,
) -> dict[str, Any]:
    """Return the values of an event's columns but the affected user."""
    command, who = _command.get(), known_principal()
    in_request = has_request_context() and command is None
    address = client.address() if in_request else None
    actor = actor or _actor.get()
    return {
        "created_at": utcnow(),
        "actor": actor or (f"command:{command}" if command else who.name if who else ANONYMOUS),
        "action": action,
        "before": _to_json(before),
        "after": _to_json(after),
        "request_id": request_id() if in_request else None,
        "address": address[:ADDRESS_LENGTH] if address else None,
    }


def update_counts(event_id: int, counts: dict[str, int]) -> None:
    """Update the counts of an action that is still running, in the current transaction."""
    write(_UPDATE_COUNTS, {"event_id": event_id, "after": _to_json(counts)})


def list_page(query: EventListQuery) -> Page:
    """Return a page of the query's events.

    :raises Invalid: the cursor is not valid for these filters (400).
    """
    return _way(query).list_page(query.cursor)


def list_both_ways(query: EventListQuery, before: str | None) -> Page:
    """Return a page of the query's events, with the cursor of the page with newer ones.

    :param before: the cursor of a page that ends before an event; None: use the query's cursor.
    :raises Invalid: a cursor is not valid for these filters (400).
    """
    return find_both_ways(query.cursor, before, _way(query), _way(query, oldest_first=True))


def _way(query: EventListQuery, oldest_first: bool = False) -> Way:
    filters = filters_of(query)
    order = ["audit", "oldest"] if oldest_first else ["audit"]
    kind = " ".join([*order, *(f"{name}={value}" for name, value in filters.items())])
    find = partial(list_events, oldest_first=oldest_first, **filters)
    return Way(
        lambda cursor: find_page(
            query.model_copy(update={"cursor": cursor}), kind, queries.ORDER, find
        ),
        lambda event: make_cursor(kind, key_of(event, queries.ORDER)),
    )


def list_events(
    limit: int,
    after: Sequence[Any] | None = None,
    *,
    oldest_first: bool = False,
    **filters: Any,
) -> Sequence[Row]:
    """Return events, newest first unless ``oldest_first``.

    :param after: start after the event with this time and id; None: from the first.
    :param filters: the values of the filters of ``queries.page``, by name; all times naive UTC.
    """
    keys = {} if after is None else {"key": after[0], "key_id": after[1]}
    statement = queries.page(frozenset(filters), after is not None, oldest_first)
    return read_presuming(statement, {"limit": limit, **filters, **keys})


def all_events(**filters: Any) -> Iterator[Sequence[Row]]:
    """Yield all events that the filters find, newest first, part by part in constant memory."""
    after: tuple[Any, ...] | None = None
    while rows := list_events(EVENTS_PER_PART, after, **filters):
        yield rows
        if len(rows) < EVENTS_PER_PART:
            return
        after = (rows[-1].created_at, rows[-1].id)


@prunes("audit events")
def remove_expired(limit: int, before: datetime | None = None) -> int:
    """Remove the oldest events that are older than ``AUDIT_DAYS``, and record that.

    It is recorded once for each ``before``, together with the first removal, so that even after a
    crash the gap is explained.

    :param before: remove events before this time, naive UTC; None: ``AUDIT_DAYS`` before the last
        midnight, so that the service, which prunes all day, records it once a day.
    :return: the number of events removed.
    """
    if before is None:
        midnight = utcnow().replace(hour=0, minute=0, second=0)
        before = midnight - timedelta(days=current_app.config["AUDIT_DAYS"])
    removed = remove_older(before, limit)
    state = {"older_than": f"{before.isoformat()}Z"}
    if removed and all(event.after != state for event in list_events(1, actor=PRUNER)):
        record(PRUNED, after=state, actor=PRUNER)
    return removed


def remove_older(before: datetime, limit: int) -> int:
    """Remove the oldest events before a time.

    :param before: naive UTC.
    :return: the number of events removed.
    """
    ids = db.session.scalars(queries.OLDER, {"before": before, "limit": limit}).all()
    if ids:
        table = AuditEvent.__table__
        db.session.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids)


def _to_json(state: dict[str, Any] | None) -> str | None:
    return None if state is None else orjson.dumps(state).decode()

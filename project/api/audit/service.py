"""What is recorded, and who is said to have done it. All SQL on the trail. Knows no HTTP."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, NewType

import orjson
from flask import current_app, has_request_context, request
from sqlalchemy import delete, insert, update

from project.api.audit import queries
from project.api.audit.models import ADDRESS_LENGTH, NAME_LENGTH, AuditEvent
from project.clock import utcnow
from project.database import Row, db, read, write
from project.web.guard import known_principal
from project.web.pruning import prunes
from project.web.request_id import request_id

ANONYMOUS = "anonymous"
PRUNER = "command:prune"
_INSERT = insert(AuditEvent.__table__)

Action = NewType("Action", str)
_actions: set[Action] = set()

_command: ContextVar[str | None] = ContextVar("command", default=None)


def register(name: str) -> Action:
    """Add an action that can be recorded; docs/decisions/audit.md says when it is.

    :param name: what it is done to, and what is done, such as ``user.created``.
    :raises ValueError: the name has another form, is too long, or is registered already.
    """
    action = Action(name)
    if not re.fullmatch(r"[a-z]+\.[a-z]+", name) or len(name) > NAME_LENGTH or action in _actions:
        raise ValueError(f"{name!r} is registered already, or is no name of an action.")
    _actions.add(action)
    return action


PRUNED = register("audit.pruned")


@contextmanager
def by_command(name: str) -> Iterator[None]:
    """Let what is recorded within be done by the command of this name; a decorator too."""
    token = _command.set(name)
    try:
        yield
    finally:
        _command.reset(token)


def record(
    action: Action,
    user_id: int | None = None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    actor: str | None = None,
) -> int | None:
    """Add an event to the transaction under way: it is kept if what was done is kept.

    :param action: what was done, as ``register`` has returned it.
    :param user_id: to whom it was done; None: to nobody, or to several.
    :param before: the fields as they were. With ``after`` given too, only those that differ are
        kept; when none does, there is no event. No secrets, in either.
    :param after: the fields as they are, or the counts of something done to several users.
    :param actor: who did it; None: the command that runs, else the caller as far as known.
    :return: the event's id; None: there is none.
    :raises LookupError: no feature has registered the action.
    """
    if action not in _actions:
        raise LookupError(f"No feature has registered the action {action!r}.")
    if before is not None and after is not None:
        names = {name for name in before | after if before.get(name) != after.get(name)}
        if not names:
            return None
        before, after = (
            {name: state[name] for name in state if name in names} for state in (before, after)
        )
    command = _command.get()
    in_request = has_request_context() and command is None
    address = request.remote_addr if in_request else None
    values = {
        "created_at": utcnow(),
        "actor": actor or (f"command:{command}" if command else _caller()),
        "action": action,
        "user_id": user_id,
        "before": _to_json(before),
        "after": _to_json(after),
        "request_id": request_id() if in_request else None,
        # What a proxy passes on may be anything.
        "address": address[:ADDRESS_LENGTH] if address else None,
    }
    return write(_INSERT, values).inserted_id


def update_counts(event_id: int, counts: dict[str, int]) -> None:
    """Let the event of what is still being done tell how far it has come.

    In the transaction under way, as ``record`` does.
    """
    table = AuditEvent.__table__
    statement = update(table).where(table.c.id == event_id)
    db.session.connection().execute(statement, {"after": _to_json(counts)})


def list_events(
    limit: int,
    after: Sequence[Any] | None = None,
    *,
    user_id: int | None = None,
    actor: str | None = None,
    since: datetime | None = None,
) -> Sequence[Row]:
    """Return events, the newest first.

    :param limit: how many at most.
    :param after: start after the event with this time and id; None: with the newest.
    :param user_id: only those that were done to this user, as ``actor`` by whom.
    :param since: only those of this time or later; UTC, naive.
    """
    filters = {"user_id": user_id, "actor": actor, "since": since}
    used = {name: value for name, value in filters.items() if value is not None}
    keys = {} if after is None else {"key": after[0], "key_id": after[1]}
    statement = queries.page(*(name in used for name in filters), after is not None)
    return read(statement, {"limit": limit, **used, **keys})


@prunes("audit events")
def remove_expired(limit: int, before: datetime | None = None) -> int:
    """Remove the oldest events that are older than ``AUDIT_DAYS``, and record that.

    It is recorded once for each ``before``: with the first events that go, so that a gap has its
    reason, also after a crash.

    :param limit: how many at most.
    :param before: the time before which they were recorded; None: the one of the last midnight
        (UTC), so that the service itself, which prunes all day, records it once a day.
    :return: how many there were.
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
    """Remove the oldest events of before a time.

    :param limit: how many at most.
    :return: how many there were.
    """
    ids = db.session.scalars(queries.OLDER, {"before": before, "limit": limit}).all()
    if ids:
        table = AuditEvent.__table__
        db.session.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids)


def _caller() -> str:
    who = known_principal()
    return who.name if who else ANONYMOUS


def _to_json(state: dict[str, Any] | None) -> str | None:
    return None if state is None else orjson.dumps(state).decode()

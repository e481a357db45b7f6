"""Shows the audit trail, and removes expired data."""

import os
import sys
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
from flask import current_app
from sqlalchemy import Row

from project.api.audit import service
from project.api.audit.schemas import EventListQuery, filters_of
from project.clock import utcnow
from project.database import in_transaction
from project.errors import Invalid
from project.logs import printable
from project.progress import progress_bar
from project.web import pruning
from project.web.contract import validate

EVENTS_PER_BATCH = 1000


def show(limit: int, **options: str | None) -> None:
    """Print audit events, one per line, newest last.

    :param options: the parameters of ``EventListQuery``, by name; None: not given.
    """
    given = {name: text for name, text in options.items() if text is not None}
    try:
        query = validate(EventListQuery, given)
    except Invalid as error:
        reasons = [f"--{each.field}: {each.message}" for each in error.errors]
        raise SystemExit(" ".join(reasons)) from error
    events = service.list_events(limit, **filters_of(query))
    try:
        for event in reversed(events):
            print(_line(event))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(event: Row[Any]) -> str:
    parts = [
        f"{event.created_at.isoformat()}Z",
        event.actor,
        event.action,
        "-" if event.user_id is None else f"user:{event.user_id}",
        event.address or "-",
        event.request_id or "-",
    ]
    states = [
        "" if state is None else orjson.dumps(state).decode()
        for state in (event.before, event.after)
    ]
    if any(states):
        parts.append(" -> ".join(states).strip())
    return printable(" ".join(parts))


def prune() -> None:
    """Remove all expired data, in short transactions.

    Audit events expire ``AUDIT_DAYS`` after they were recorded, to the second.
    """
    before = utcnow() - timedelta(days=current_app.config["AUDIT_DAYS"])
    remove_events = in_transaction(partial(service.remove_expired, EVENTS_PER_BATCH, before))
    removals = {
        "events": iter(remove_events, 0),
        **{what: pruning.remove_all(what) for what in pruning.prunable()},
    }
    counts = dict.fromkeys(removals, 0)
    with progress_bar(None, " rows") as progress:
        for what, batches in removals.items():
            for removed in batches:
                counts[what] += removed
                progress.update(removed)
    counts["events"] += counts.pop("audit events")
    print(f"Events removed: {counts.pop('events'):,}, from before {before.isoformat()}Z.")
    for what, count in counts.items():
        print(f"{what.capitalize()} removed: {count:,}.")

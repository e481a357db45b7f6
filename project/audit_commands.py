"""The bodies of the commands about the trail; as in ``project.commands``, they call services."""

import os
import sys
from datetime import timedelta
from typing import Any

import orjson
from flask import current_app
from sqlalchemy import Row
from tqdm import tqdm

from project.api.audit import service
from project.api.audit.schemas import EventListQuery
from project.clock import utcnow
from project.errors import Invalid
from project.logs import printable
from project.transactions import in_transaction
from project.web.contract import validate

EVENTS_PER_BATCH = 1000


def show(user: str | None, actor: str | None, since: str | None, limit: int) -> None:
    """Print what was done, a line each, the newest last.

    :param user: to the user with this id.
    :param actor: by whom, such as ``user:1``.
    :param since: a time or a date.
    :param limit: how many lines at most: the newest.
    """
    options = {"user": user, "actor": actor, "since": since}
    given = {name: text for name, text in options.items() if text is not None}
    try:
        query = validate(EventListQuery, given)
    except Invalid as error:
        reasons = [f"--{each.field}: {each.message}" for each in error.errors]
        raise SystemExit(" ".join(reasons)) from error
    events = service.list_events(limit, query.user, query.actor, query.since)
    try:
        for event in reversed(events):
            print(_line(event))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
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
    states = ["" if state is None else _json(state) for state in (event.before, event.after)]
    if any(states):
        parts.append(" -> ".join(states).strip())
    return printable(" ".join(parts))


def _json(state: dict[str, Any]) -> str:
    return orjson.dumps(state).decode()


@service.by_command("prune_audit")
def prune() -> None:
    """Remove the events that are older than ``AUDIT_DAYS``, in short transactions."""
    before = utcnow() - timedelta(days=current_app.config["AUDIT_DAYS"])
    older = f"{before.isoformat()}Z"

    def remove_some(first: bool) -> int:
        removed = service.remove_older(before, EVENTS_PER_BATCH)
        if first and removed:
            service.record("audit.pruned", after={"older_than": older})
        return removed

    with tqdm(unit=" events", unit_scale=True) as progress:
        while removed := in_transaction(remove_some)(progress.n == 0):
            progress.update(removed)
    print(f"Events removed: {progress.n:,}, from before {older}.")

"""Removes what is past its time: by a thread of each process that serves, or all of it by command.

Each feature says by ``@prunes`` how some of its rows are removed; nothing here knows a table. So
nobody has to run anything for what is kept for a time to be gone after it, and no request does more
than its own work. See docs/decisions/pruning.md.
"""

import random
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import TypeVar

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from project.database import close_thread_connections, in_transaction
from project.database.failures import is_outage

SECONDS_BETWEEN_ROUNDS = 60
ROWS_PER_BATCH = 500
BATCHES_PER_ROUND = 20

log = structlog.get_logger()

Remove = TypeVar("Remove", bound=Callable[[int], int])

_removals: dict[str, Callable[[int], int]] = {}


def prunes(what: str) -> Callable[[Remove], Remove]:
    """Let a function remove what of its table is past its time.

    It is called in a transaction with how many rows to remove at most, and returns how many it has
    removed; it passes over rows that somebody else has locked.

    :param what: the name of the rows, such as ``stored answers``.
    """

    def decorate(remove: Remove) -> Remove:
        _removals[what] = remove
        return remove

    return decorate


def prunable() -> list[str]:
    """Return the names of what can be removed."""
    return [*_removals]


def remove_all(what: str) -> Iterator[int]:
    """Remove all of this that is past its time, in short transactions; give each one's rows."""
    remove = in_transaction(_removals[what])
    while removed := remove(ROWS_PER_BATCH):
        yield removed


def start(app: Flask) -> Thread:
    """Let a thread remove a little about once a minute, for as long as the process serves.

    It is a daemon: the end of the process waits for nothing, and the database undoes what was not
    committed.
    """
    thread = Thread(target=_run, args=(app,), name="pruning", daemon=True)
    thread.start()
    return thread


def _run(app: Flask) -> None:
    failing: set[str] = set()
    while True:
        # Those that were started together do not go on together.
        time.sleep(random.uniform(0.5, 1.5) * SECONDS_BETWEEN_ROUNDS)
        prune_some(app, failing)


def prune_some(app: Flask, failing: set[str]) -> None:
    """Remove a little of all that is past its time, and let go of the database.

    :param failing: what could not be removed the last time, which is not logged again; changed.
    """
    with app.app_context():
        try:
            for what in prunable():
                try:
                    _remove_some(what)
                    failing.discard(what)
                except Exception as error:  # whatever it is, the next round may do better
                    if what not in failing:
                        reason = str(getattr(error, "orig", error))
                        log.warning("pruning failed", what=what, reason=reason)
                    failing.add(what)
                    if isinstance(error, SQLAlchemyError) and is_outage(error):
                        break
        finally:
            close_thread_connections()


def _remove_some(what: str) -> None:
    for batch, removed in enumerate(remove_all(what), 1):
        if removed < ROWS_PER_BATCH or batch == BATCHES_PER_ROUND:
            break

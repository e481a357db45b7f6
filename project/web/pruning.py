"""Removes expired rows: a thread in each serving process removes some, a command removes all.

Each feature registers with ``@prunes`` a function that removes its expired rows; this module knows
no table. So no external scheduler is needed, and no request does cleanup work.
See docs/decisions/pruning.md.
"""

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from threading import Thread
from typing import TypeVar

import structlog
from flask import Flask
from sqlalchemy import Column, delete, select
from sqlalchemy.exc import SQLAlchemyError

from project.database import close_thread_connections, db, in_transaction
from project.database.failures import is_outage

SECONDS_BETWEEN_ROUNDS = 60
ROWS_PER_BATCH = 500
BATCHES_PER_ROUND = 20

log = structlog.get_logger()

Remove = TypeVar("Remove", bound=Callable[[int], int])

_removals: dict[str, Callable[[int], int]] = {}


def prunes(what: str) -> Callable[[Remove], Remove]:
    """Register a function that removes expired rows.

    It is called in a transaction with the maximum number of rows to remove, and returns the number
    of rows removed. It skips rows that another transaction has locked.

    :param what: the name of the rows, such as ``stored answers``.
    """

    def decorate(remove: Remove) -> Remove:
        _removals[what] = remove
        return remove

    return decorate


def delete_oldest(key: Column[int], time: Column[datetime], until: datetime, limit: int) -> int:
    """Delete the oldest rows of a table, except those that another transaction has locked.

    :param time: rows are deleted if this column is not after ``until``, naive UTC.
    :return: the number of rows deleted.
    """
    oldest = select(key).where(time <= until).order_by(time).limit(limit)
    found = db.session.scalars(oldest.with_for_update(skip_locked=True)).all()
    if found:
        db.session.execute(delete(key.table).where(key.in_(found)))
    return len(found)


def prunable() -> list[str]:
    """Return the names of the registered rows."""
    return [*_removals]


def remove_all(what: str) -> Iterator[int]:
    """Remove all expired rows in short transactions; yield the number of rows of each."""
    remove = in_transaction(_removals[what])
    while removed := remove(ROWS_PER_BATCH):
        yield removed


def start(app: Flask) -> Thread:
    """Start a thread that removes some expired rows about once a minute.

    It is a daemon thread: the process ends without waiting for it, and the database rolls back what
    was not committed.
    """
    thread = Thread(target=_run, args=(app,), name="pruning", daemon=True)
    thread.start()
    return thread


def _run(app: Flask) -> None:
    failing: set[str] = set()
    while True:
        # Processes that started together must not run in step.
        time.sleep(random.uniform(0.5, 1.5) * SECONDS_BETWEEN_ROUNDS)
        prune_some(app, failing)


def prune_some(app: Flask, failing: set[str]) -> None:
    """Remove some expired rows of each kind, then close the thread's connections.

    :param failing: the names whose last removal failed, which is not logged again; updated.
    """
    with app.app_context():
        try:
            for what in prunable():
                try:
                    for removed in islice(remove_all(what), BATCHES_PER_ROUND):
                        if removed < ROWS_PER_BATCH:
                            break
                    failing.discard(what)
                except Exception as error:  # of any kind: the next round may succeed
                    if what not in failing:
                        reason = str(getattr(error, "orig", error))
                        log.warning("pruning failed", what=what, reason=reason)
                    failing.add(what)
                    if isinstance(error, SQLAlchemyError) and is_outage(error):
                        break
        finally:
            close_thread_connections()

"""Runs a function in one transaction, and retries it where that is safe."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from project.database.base import db
from project.database.connections import drop_thread_connections, outage, wait_for_database
from project.database.failures import is_conflict, is_lost, is_stale, is_wrong_server
from project.database.premises import settle
from project.errors import OutcomeUnknown

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.02
_IS_OPEN = "transaction is open"


def in_transaction(work: Callable[P, T]) -> Callable[P, T]:
    """Commit what a function writes through ``db.session`` when it returns.

    The transaction begins at the function's first statement on ``db.session``. Slow work, such as
    hashing a password, belongs before that statement.

    After a conflict (a deadlock, a lock timeout, a COMMIT that was refused for another transaction)
    the whole function runs again, after a rollback: at most four times in all, with growing random
    pauses so that two conflicting transactions do not collide again. After a stale connection, or
    one to a server that cannot write, it runs once more, on a new connection, and further times
    while ``wait_for_database`` says so. If the connection is lost during COMMIT, the outcome is
    unknown, and nothing is retried.

    :raises TypeError: at import: the function, or what it wraps, already opens a transaction.
    :raises RuntimeError: this session already has an open transaction of this decorator.
    :raises OutcomeUnknown: the connection was lost during COMMIT (503).
    :raises PremiseFailed: the request's premise does not hold; it is checked first.
    """
    if getattr(work, "opens_transaction", False) is True:
        raise TypeError(f"{work!r} already opens a transaction.")

    @wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        settle()
        session = db.session()
        if _IS_OPEN in session.info:
            raise RuntimeError("An inner transaction would commit part of the outer one.")
        session.info[_IS_OPEN] = True
        conflicts, since = 0, None
        try:
            while True:
                is_committing = False
                try:
                    result = work(*args, **kwargs)
                    session.flush()
                    is_committing = True
                    session.commit()
                    if outage.is_on:
                        outage.is_on = False
                    return result
                except Exception as error:
                    session.rollback()
                    if not isinstance(error, DBAPIError):
                        raise
                    is_replaced = is_stale(error)
                    if is_wrong_server(error):
                        session.close()
                        drop_thread_connections()
                        is_replaced = True
                    elif is_committing and is_lost(error):
                        raise OutcomeUnknown from error
                    if is_conflict(error):
                        conflicts += 1
                        may_succeed = conflicts < ATTEMPTS
                    else:
                        may_succeed = is_replaced and (since is None or wait_for_database(since))
                        since = time.monotonic() if since is None else since
                    if not may_succeed:
                        raise
                time.sleep(random.uniform(0, FIRST_PAUSE_SECONDS * 2**conflicts / 2))
        finally:
            del session.info[_IS_OPEN]

    wrapper.opens_transaction = True  # type: ignore[attr-defined]
    return wrapper

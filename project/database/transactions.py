"""Runs a function in one transaction, and retries it where that is safe."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from project.database.base import db
from project.database.failures import is_conflict, is_lost, is_stale
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

    After a deadlock, a lock timeout or a stale connection the transaction is rolled back, and the
    whole function runs again: at most four times in all, with growing random pauses so that two
    conflicting transactions do not collide again, but only once more after a stale connection,
    which is replaced. Nothing is retried once COMMIT has been sent: if the connection is lost then,
    the outcome is unknown.

    :raises TypeError: at import: the function, or what it wraps, already opens a transaction.
    :raises RuntimeError: this session already has an open transaction of this decorator.
    :raises OutcomeUnknown: the connection was lost during COMMIT (503).
    """
    if getattr(work, "opens_transaction", False) is True:
        raise TypeError(f"{work!r} already opens a transaction.")

    @wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        session = db.session()
        if _IS_OPEN in session.info:
            raise RuntimeError("An inner transaction would commit part of the outer one.")
        session.info[_IS_OPEN] = True
        was_stale = False
        try:
            for attempt in range(ATTEMPTS):
                try:
                    result = work(*args, **kwargs)
                    session.flush()
                    break
                except Exception as error:
                    session.rollback()
                    if attempt + 1 == ATTEMPTS or not isinstance(error, DBAPIError):
                        raise
                    stale = is_stale(error)
                    if not is_conflict(error) and (was_stale or not stale):
                        raise
                    was_stale |= stale
                    time.sleep(random.uniform(0, FIRST_PAUSE_SECONDS * 2**attempt))
            _commit(session)
            return result
        finally:
            del session.info[_IS_OPEN]

    wrapper.opens_transaction = True  # type: ignore[attr-defined]
    return wrapper


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        session.rollback()
        if is_lost(error):
            raise OutcomeUnknown from error
        raise

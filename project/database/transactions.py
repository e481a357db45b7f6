"""One piece of work, one transaction: committed whole, tried again where that is safe."""

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
    """Commit what a function writes through ``db.session``, when it returns.

    The database begins the transaction at the function's first statement on ``db.session``. What
    takes long, such as hashing a password, comes before that statement.

    A deadlock, a lock waited for too long and a stale connection undo the transaction; then the
    whole function runs again, at most four times in all, after pauses that grow and differ, so that
    two that met do not meet again; but only once for a stale connection, after which comes a fresh
    one. Once COMMIT is on its way nothing is tried again: when the connection is lost then,
    nobody can know what became of it.

    :raises TypeError: at import: the function, or what it wraps, opens a transaction already.
    :raises RuntimeError: this session has an open transaction of this function already.
    :raises OutcomeUnknown: the connection was lost during COMMIT (503).
    """
    if getattr(work, "opens_transaction", False) is True:
        raise TypeError(f"{work!r} opens a transaction already.")

    @wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        session = db.session()
        if _IS_OPEN in session.info:
            raise RuntimeError("An inner transaction would commit a part of the outer one.")
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

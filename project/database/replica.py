"""Reads that may be a little old, from the database of ``READ_DATABASE_URL``.

It must be a replica, by GTIDs, of the database that takes the writes. A thread learns how old it
is: it asks the one for its position, and the other whether it has reached that position. Each
thread does so for itself, since a load balancer may lead them to different replicas.
"""

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import current_app
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from project.database.base import db
from project.database.connections import thread_connection
from project.database.failures import is_outage

P = ParamSpec("P")
T = TypeVar("T")

CHECK_SECONDS = 1
RETRY_SECONDS = 10

# By whether the servers are MariaDB: the position, and whether another one has reached it. It is
# empty where the server keeps none.
_POSITION = {
    False: "SELECT @@GLOBAL.gtid_executed",
    True: "SELECT @@GLOBAL.gtid_binlog_pos",
}
_HAS_REACHED = {
    False: "SELECT GTID_SUBSET(%s, @@GLOBAL.gtid_executed)",
    True: "SELECT MASTER_GTID_WAIT(%s, 0) = 0",
}

_is_allowed: ContextVar[bool] = ContextVar("_is_allowed", default=False)


class _Replica(threading.local):
    """What a thread knows of the replica. Times are of ``time.monotonic``.

    :ivar connection: the one to which the rest applies.
    :ivar complete_at: the replica has every transaction from before this time.
    :ivar position: one of the database that it has not reached yet; empty: none.
    :ivar asked_at: when the position was asked for.
    """

    next_check = float("-inf")

    def __init__(self) -> None:
        self.use(None)

    def use(self, connection: Connection | None) -> None:
        """Begin anew with another connection."""
        self.connection = connection
        self.complete_at = self.asked_at = float("-inf")
        self.position = ""

    def is_recent(self, connection: Connection) -> bool:
        """Return whether it has every transaction from before ``MAX_LAG_SECONDS``."""
        if connection is not self.connection:
            self.use(connection)
            self.next_check = float("-inf")
        if time.monotonic() >= self.next_check:
            self.next_check = time.monotonic() + CHECK_SECONDS
            self._check(connection)
        max_lag: int = current_app.config["MAX_LAG_SECONDS"]
        return time.monotonic() - self.complete_at <= max_lag

    def leave(self) -> None:
        """Do without it for a while."""
        self.use(None)
        self.next_check = time.monotonic() + RETRY_SECONDS

    def is_left(self) -> bool:
        """Return whether this thread does without it for now."""
        return self.connection is None and time.monotonic() < self.next_check

    def _check(self, connection: Connection) -> None:
        if not self.position:
            self.asked_at = time.monotonic()
            self.position = _scalar(thread_connection(db.engines["read"]), _POSITION) or ""
        if self.position and _scalar(connection, _HAS_REACHED, self.position):
            self.complete_at, self.position = self.asked_at, ""


def _scalar(connection: Connection, sql: dict[bool, str], *values: str) -> Any:
    is_mariadb = connection.dialect.is_mariadb  # type: ignore[attr-defined]
    with connection.begin():  # which sends nothing, with AUTOCOMMIT
        return connection.exec_driver_sql(sql[is_mariadb], values or None).scalar()


_replica = _Replica()


def may_lag(function: Callable[P, T]) -> Callable[P, T]:
    """Let what a function reads be ``MAX_LAG_SECONDS`` old.

    That is not for what must show what this or an earlier request has written.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _is_allowed.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _is_allowed.reset(token)

    return wrapper


def replica_connection() -> Connection | None:
    """Return this thread's connection to the replica if a read may use it, and it is recent."""
    if not _is_allowed.get() or "replica" not in db.engines or _replica.is_left():
        return None
    try:
        # Without waiting for a replica that is away.
        connection = thread_connection(db.engines["replica"], Engine.connect)
        return connection if _replica.is_recent(connection) else None
    except DBAPIError:
        _replica.leave()
        return None


def leave_replica(error: DBAPIError) -> None:
    """Do without the replica for a while after an outage of it; raise any other error."""
    if not is_outage(error):
        raise error
    _replica.leave()

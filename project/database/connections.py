"""The connections of a thread, and the session that uses them.

There is no pool: under gunicorn a few threads live as long as the process, and each has its own
connection to the engines for reads and for writes.
"""

import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import ref

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from project.database.failures import is_outage

MAX_AGE_SECONDS = 3600
PAUSE_SECONDS = 0.1


class _Connections(threading.local):
    """The connections of a thread, by engine, each with the time when it must be replaced."""

    def __init__(self) -> None:
        self.by_engine: dict[Engine, tuple[Connection, float]] = {}


_connections = _Connections()


class Outage:
    """An outage of the database, for all threads: they wait only once while it stays away.

    It ends with a success, or when nobody has met it for 10 s.

    :ivar is_on: whether there is one; whoever succeeds sets it to False.
    """

    END_SECONDS = 10

    def __init__(self) -> None:
        self.is_on = False
        self._first = self._last = 0.0

    def first_failure(self, now: float) -> float:
        """Count one more failure; return when the first one was."""
        if not self.is_on or now - self._last > self.END_SECONDS:
            self.is_on, self._first = True, now
        self._last = now
        return self._first


outage = Outage()


def wait_for_database(since: float) -> bool:
    """Return whether to try again, after a pause, since the database may be there again.

    That is so for the first ``DATABASE_WAIT_SECONDS`` of an outage.

    :param since: when this piece of work began, by ``time.monotonic``: it waits no longer, even if
        the success of another one ends an outage.
    """
    now = time.monotonic()
    first = min(since, outage.first_failure(now))
    if now - first >= current_app.config["DATABASE_WAIT_SECONDS"]:
        return False
    time.sleep(PAUSE_SECONDS)
    return True


def _connect(engine: Engine) -> Connection:
    since: float | None = None
    while True:
        try:
            return engine.connect()
        except DBAPIError as error:
            since = time.monotonic() if since is None else since
            if not is_outage(error) or not wait_for_database(since):
                raise


def thread_connection(
    engine: Engine, connect: Callable[[Engine], Connection] = _connect
) -> Connection:
    """Return this thread's connection to an engine; open one if there is no usable one.

    If the database is away, ``connect`` waits as ``wait_for_database`` says.

    A connection is replaced after an hour, since a firewall may have dropped it, but not during a
    transaction.
    """
    connection, too_old_at = _connections.by_engine.get(engine, (None, 0.0))
    if connection is not None:
        is_good = not connection.invalidated and time.monotonic() <= too_old_at
        if is_good or connection.in_transaction():
            return connection
        del _connections.by_engine[engine]  # first, since connecting may fail
        connection.close()
    connection = connect(engine)
    _connections.by_engine[engine] = connection, time.monotonic() + MAX_AGE_SECONDS
    return connection


def close_thread_connections() -> None:
    """Close all connections of this thread; the next use connects again."""
    while _connections.by_engine:
        _connections.by_engine.popitem()[1][0].close()


def drop_thread_connections() -> None:
    """Drop all connections of this thread, without a last message to the database."""
    while _connections.by_engine:
        connection, _ = _connections.by_engine.popitem()[1]
        connection.invalidate()
        connection.close()


class ThreadSession(Session):
    """A session whose transactions run on its thread's connection.

    If the session of another application context has a transaction on that connection, as in a
    nested context, this session opens a separate connection, and closes it with itself.
    """

    _own_connection: Connection | None = None

    def get_bind(self, *_: Any, **_options: Any) -> Connection:
        """Return the connection, for any statement."""
        if self._own_connection is not None:
            return self._own_connection
        engine = self._db.engine
        connection = thread_connection(engine)
        if not connection.in_transaction():
            connection.info["session"] = ref(self)
        elif connection.info.get("session", lambda: None)() is not self:
            connection = self._own_connection = _connect(engine)
        return connection

    def rollback(self) -> None:
        """Roll back; if the connection is lost, the database has done so."""
        try:
            super().rollback()
        except DBAPIError:
            self.invalidate()
            drop_thread_connections()

    def close(self) -> None:
        """End the transaction, and close the separate connection if there is one."""
        try:
            super().close()
        except DBAPIError:
            drop_thread_connections()
        if self._own_connection is not None:
            self._own_connection.close()
            self._own_connection = None

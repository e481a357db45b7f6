"""The connections of a thread, and the session that uses them.

There is no pool: under gunicorn a few threads live as long as the process, and each keeps a
connection to the engines for reads and for writes.
"""

import threading
import time
from typing import Any
from weakref import ref

from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, Engine

MAX_AGE_SECONDS = 3600


class _Connections(threading.local):
    """The connections of a thread, by engine, each with the time at which it is too old."""

    def __init__(self) -> None:
        self.by_engine: dict[Engine, tuple[Connection, float]] = {}


_connections = _Connections()


def thread_connection(engine: Engine) -> Connection:
    """Return this thread's connection to an engine; a new one where there is none that is good.

    A connection is replaced after an hour, since a firewall on the way may have dropped it; but
    not while a transaction is under way on it.
    """
    connection, too_old_at = _connections.by_engine.get(engine, (None, 0.0))
    if connection is not None:
        is_good = not connection.invalidated and time.monotonic() <= too_old_at
        if is_good or connection.in_transaction():
            return connection
        del _connections.by_engine[engine]  # first: to connect anew may fail
        connection.close()
    connection = engine.connect()
    _connections.by_engine[engine] = connection, time.monotonic() + MAX_AGE_SECONDS
    return connection


def close_thread_connections() -> None:
    """Close all connections of this thread; the next use connects anew."""
    while _connections.by_engine:
        _connections.by_engine.popitem()[1][0].close()


class ThreadSession(Session):
    """A session whose transactions are on the connection of its thread.

    Where a session of another application context has a transaction under way there, as in a nested
    context, this one opens a connection of its own, and closes it at its end.
    """

    _own_connection: Connection | None = None

    def get_bind(self, *_: Any, **_options: Any) -> Connection:
        """Return the connection, whatever is asked on it."""
        if self._own_connection is not None:
            return self._own_connection
        engine = self._db.engine
        connection = thread_connection(engine)
        if not connection.in_transaction():
            connection.info["session"] = ref(self)
        elif connection.info.get("session", lambda: None)() is not self:
            connection = self._own_connection = engine.connect()
        return connection

    def close(self) -> None:
        """End the transaction, and close a connection of its own."""
        super().close()
        if self._own_connection is not None:
            self._own_connection.close()
            self._own_connection = None

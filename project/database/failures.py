"""Classifies database errors: conflict, stale or lost connection, outage."""

import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

# MySQL's and MariaDB's numbers: https://dev.mysql.com/doc/mysql-errors/9.7/en/
_LOCK_TIMEOUT = 1205
_CONFLICTS = {  # the transaction may succeed when it is retried
    1020,  # MariaDB: another transaction changed a row that this one has read
    1180,  # COMMIT was refused, as for a conflict with another node
    _LOCK_TIMEOUT,
    1213,  # deadlock
    3101,  # a group's node refused COMMIT for a conflict
}
_WRONG_SERVERS = {  # another server may take the write; this one has saved nothing
    1047,  # a node outside its cluster
    1290,  # the server is read-only
    1836,  # the server is in read-only mode
    3098,  # a group's node refused the statement
    3100,  # a group's node refused COMMIT: it has left, or the transaction is too large
}
_OUTAGES = {
    1040,  # too many connections
    1053,  # the server is shutting down
    1158,  # 1158 to 1161: network errors on the connection
    1159,
    1160,
    1161,
    1317,  # the statement was interrupted
    1927,  # the connection was killed
    1969,  # MariaDB: over the statement time limit
    2002,  # the server cannot be reached, by socket or TCP
    2003,
    2006,  # the server has gone away
    2013,  # the connection was lost during the query, or the socket's time limit passed
    3024,  # MySQL: over the statement time limit
    4031,  # the server closed an idle connection
}
_LACKS = {
    1054,  # no such column
    1146,  # no such table
}
_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


def is_conflict(error: DBAPIError) -> bool:
    """Return whether the database aborted the transaction in favour of another one."""
    return not _CONFLICTS.isdisjoint(_numbers(error))


def is_wrong_server(error: BaseException) -> bool:
    """Return whether the server cannot write, such as a former primary of a group."""
    return not _WRONG_SERVERS.isdisjoint(_numbers(error))


def is_lock_timeout(error: DBAPIError) -> bool:
    """Return whether the statement waited too long for another transaction's lock."""
    return _number(error) == _LOCK_TIMEOUT or _sqlite_code(error) == sqlite3.SQLITE_BUSY


def is_lost(error: DBAPIError) -> bool:
    """Return whether the connection was lost: it was stale, or the server is unavailable."""
    return error.connection_invalidated


def is_stale(error: DBAPIError) -> bool:
    """Return whether the connection had been lost unnoticed, so that a new one may work.

    That is not so if connecting failed, or if the server did not respond in time.
    """
    connecting = error.statement is None
    silent = isinstance(getattr(error.orig, "__context__", None), TimeoutError)
    return is_lost(error) and not connecting and not silent


def is_outage(error: SQLAlchemyError) -> bool:
    """Return whether the database is temporarily unable to serve any request."""
    if not isinstance(error, DBAPIError):
        return False
    known = _OUTAGES | _CONFLICTS | _WRONG_SERVERS
    if error.connection_invalidated or not known.isdisjoint(_numbers(error)):
        return True
    return _sqlite_code(error) in _SQLITE_OUTAGES


def is_old_schema(error: DBAPIError) -> bool:
    """Return whether the database lacks a table or a column."""
    return _number(error) in _LACKS or str(error.orig).startswith(
        ("no such table", "no such column")
    )


def _numbers(error: BaseException | None) -> Iterator[object]:
    """Yield the number of an error, and of those while which it was raised.

    After a deadlock, for example, ROLLBACK TO SAVEPOINT fails with an error of its own.
    """
    while error is not None:
        if isinstance(error, DBAPIError):
            yield _number(error)
        error = error.__context__


def _number(error: DBAPIError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


def _sqlite_code(error: DBAPIError) -> int:
    # The low byte is the primary result code: https://sqlite.org/rescode.html
    code: int = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF

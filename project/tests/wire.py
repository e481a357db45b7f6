"""Records what the application really sends to its database."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from pymysql.connections import Connection
from pymysql.constants import COMMAND
from sqlalchemy import event

from project import db


@contextmanager
def recorded_commands() -> Iterator[list[str]]:
    """Give a list that fills with each command sent within the block, on any connection.

    MySQL and MariaDB: every command packet that PyMySQL writes, or what mysqlclient is told to
    send. SQLite: every statement it runs.
    """
    commands: list[str] = []
    with ExitStack() as stack:
        if db.engine.dialect.name == "sqlite":
            for engine in db.engines.values():
                stack.enter_context(_traced(engine, commands))
        elif db.engine.dialect.driver == "pymysql":
            stack.enter_context(_intercepted(commands))
        else:
            _intercept_mysqlclient(commands, stack)
        yield commands


@contextmanager
def _traced(engine: Any, commands: list[str]) -> Iterator[None]:
    def trace(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(commands.append)

    def end_trace(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(None)

    event.listen(engine, "checkout", trace)
    event.listen(engine, "checkin", end_trace)
    yield
    event.remove(engine, "checkout", trace)
    event.remove(engine, "checkin", end_trace)


@contextmanager
def _intercepted(commands: list[str]) -> Iterator[None]:
    send = Connection._execute_command

    def record(connection: Connection, command: int, sql: bytes | str) -> Any:
        commands.append(_text(sql) if command == COMMAND.COM_QUERY else f"command {command}")
        return send(connection, command, sql)

    with mock.patch.object(Connection, "_execute_command", record):
        yield


def _intercept_mysqlclient(commands: list[str], stack: ExitStack) -> None:
    connection: Any = import_module("MySQLdb.connections").Connection

    def patch(name: str, words: Callable[..., str]) -> None:
        send = getattr(connection, name)

        def record(self: Any, *arguments: Any) -> Any:
            commands.append(words(*arguments))
            return send(self, *arguments)

        stack.enter_context(mock.patch.object(connection, name, record))

    patch("query", _text)
    patch("commit", lambda: "COMMIT")
    patch("rollback", lambda: "ROLLBACK")


def _text(sql: bytes | bytearray | str) -> str:
    return sql if isinstance(sql, str) else sql.decode()

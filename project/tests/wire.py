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
from project.database import close_thread_connections


@contextmanager
def recorded_commands() -> Iterator[list[str]]:
    """Give a list that fills with each command sent within the block, on any connection.

    MySQL and MariaDB: every command packet that PyMySQL writes, or what mysqlclient is told to
    send. SQLite: every statement it runs.
    """
    commands: list[str] = []
    with ExitStack() as stack:
        if db.engine.dialect.name == "sqlite":
            close_thread_connections()
            stack.callback(close_thread_connections)
            for engine in db.engines.values():
                stack.enter_context(_traced(engine, commands))
        elif db.engine.dialect.driver == "pymysql":
            stack.enter_context(_intercepted(Connection, {"_execute_command": _packet}, commands))
        else:
            connection = import_module("MySQLdb.connections").Connection
            ends = {"commit": lambda: "COMMIT", "rollback": lambda: "ROLLBACK"}
            stack.enter_context(_intercepted(connection, {"query": _text, **ends}, commands))
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
def _intercepted(
    connection: Any, methods: dict[str, Callable[..., str]], commands: list[str]
) -> Iterator[None]:
    """Record the calls of a connection's methods, each as the text made of its arguments."""

    def recording(name: str) -> Callable[..., Any]:
        send = getattr(connection, name)

        def record(self: Any, *arguments: Any) -> Any:
            commands.append(methods[name](*arguments))
            return send(self, *arguments)

        return record

    recorders: dict[str, Any] = {name: recording(name) for name in methods}
    with mock.patch.multiple(connection, **recorders):
        yield


def _packet(command: int, sql: bytes | bytearray | str) -> str:
    return _text(sql) if command == COMMAND.COM_QUERY else f"command {command}"


def _text(sql: bytes | bytearray | str) -> str:
    return sql if isinstance(sql, str) else sql.decode()

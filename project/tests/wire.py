"""Records what the application really sends to its database."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from pymysql.connections import Connection
from pymysql.constants import COMMAND
from sqlalchemy import event

from project import db


@contextmanager
def recorded_commands() -> Iterator[list[str]]:
    """Give a list that fills with each command sent within the block, on any connection.

    MySQL and MariaDB: every command packet that PyMySQL writes. SQLite: every statement it runs.
    """
    commands: list[str] = []
    with ExitStack() as stack:
        if db.engine.dialect.name == "sqlite":
            for engine in db.engines.values():
                stack.enter_context(_traced(engine, commands))
        else:
            stack.enter_context(_intercepted(commands))
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
        text = sql.decode() if isinstance(sql, bytes | bytearray) else sql
        commands.append(text if command == COMMAND.COM_QUERY else f"command {command}")
        return send(connection, command, sql)

    with mock.patch.object(Connection, "_execute_command", record):
        yield

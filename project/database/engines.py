"""The engines, all on the same database but ``replica``, and their options.

- The default engine is transactional; ``db.session`` and every write use it.
- ``read`` is for SELECTs only: with AUTOCOMMIT a read is one round trip. It never has a
  transaction.
- ``probe`` is for health checks, with short timeouts.
- ``replica`` is ``read`` on the database of ``READ_DATABASE_URL``, if there is one.
- ``maintenance`` is for commands with long statements, such as migrations.

None has a pool: see ``connections``.
"""

import sqlite3
from typing import Any

from flask import Flask
from sqlalchemy import Engine, NullPool, event
from sqlalchemy.engine import URL

from project.database.base import db
from project.database_url import engine_url

CONNECT_SECONDS = 3
ANSWER_SECONDS = 15
PROBE_SECONDS = 1
LOCK_SECONDS = 5
TEXT_BYTES = 16 * 2**20  # of what all_lines gives; MySQL would cut it off after 1,024


def init_app(app: Flask) -> None:
    """Create the engines from the app's settings; later changes of these do not affect them."""
    uri = app.config["SQLALCHEMY_DATABASE_URI"]
    url = engine_url(uri)
    served = engine_options(url, CONNECT_SECONDS, ANSWER_SECONDS)
    probe = engine_options(url, PROBE_SECONDS, PROBE_SECONDS)
    maintenance = engine_options(url, CONNECT_SECONDS, None)
    autocommit = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = served
    app.config["SQLALCHEMY_BINDS"] = {
        "read": {"url": url, **served, **autocommit},
        "probe": {"url": url, **probe, **autocommit},
        "maintenance": {"url": url, **maintenance},
    }
    if replica := app.config["READ_DATABASE_URL"]:
        at_replica = {"url": engine_url(replica), **served, **autocommit}
        app.config["SQLALCHEMY_BINDS"]["replica"] = at_replica
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    app.config["SQLALCHEMY_DATABASE_URI"] = uri
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _prepare_sqlite()
        elif db.engine.dialect.driver == "pymysql":
            limits = {"probe": PROBE_SECONDS, "maintenance": None}
            for name, engine in db.engines.items():
                limit_answers(engine, limits.get(name or "", ANSWER_SECONDS))


def engine_options(url: URL, connect: int, answer: int | None) -> dict[str, Any]:
    """Return the options of an engine.

    Parameters are hidden, so that no error message writes a person's email to the log.

    :param answer: the limit on waiting for the database and on a statement, in seconds; None: none.
    """
    connect_args: dict[str, Any]
    # A connection needs no ROLLBACK before it is closed.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "poolclass": NullPool,
        "pool_reset_on_return": None,
    }
    if url.get_backend_name() == "sqlite":
        busy = LOCK_SECONDS if answer is None else min(answer, LOCK_SECONDS)
        connect_args = {"timeout": busy, "isolation_level": None}
    else:
        options["paramstyle"] = "pyformat"  # mysqlclient would take parameters by position
        connect_args = {"charset": "utf8mb4", "connect_timeout": connect}
        # PyMySQL's connect timeout covers the TCP handshake only, but a frozen server accepts the
        # connection and then sends nothing; limit_answers sets the timeout for statements later.
        socket = connect if url.get_driver_name() == "pymysql" else answer
        if socket is not None:
            connect_args |= {"read_timeout": socket, "write_timeout": socket}
        if answer is not None:
            # Each server executes its own comment: MySQL takes milliseconds, MariaDB seconds.
            connect_args["init_command"] = (
                f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS},"
                f" group_concat_max_len = {TEXT_BYTES}"
                f" /*!80000 , max_execution_time = {answer * 1000} */"
                f" /*M!100100 , max_statement_time = {answer} */"
            )
    return {**options, "connect_args": connect_args}


def limit_answers(engine: Engine, seconds: int | None) -> None:
    """Set the timeout of PyMySQL's socket once it is connected, in seconds; None: no timeout."""

    @event.listens_for(engine, "connect")
    def set_limit(connection: Any, _record: object) -> None:
        connection._read_timeout = connection._write_timeout = seconds


def _prepare_sqlite() -> None:
    """Make SQLite behave like a database server under concurrent requests.

    With WAL, readers continue while one connection writes. BEGIN IMMEDIATE acquires the write lock
    first and waits for it: a transaction that reads before it writes could not wait, and would fail
    with "database is locked".
    """
    for engine in db.engines.values():
        event.listen(engine, "connect", _set_pragmas)
    for name in (None, "maintenance"):
        event.listen(db.engines[name], "begin", lambda on: on.exec_driver_sql("BEGIN IMMEDIATE"))


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")

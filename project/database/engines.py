"""The engines on the one database: which there are, and what each is told.

- The default engine is transactional; ``db.session`` and every write use it.
- ``read`` is for SELECTs only: in AUTOCOMMIT, a read is one round trip. Nothing ever begins a
  transaction there.
- ``probe`` asks whether the database is well, and does not wait.
- ``maintenance`` is for commands whose statements may take long, such as migrations.

None has a pool: see ``connections``.
"""

import sqlite3
from typing import Any

from flask import Flask
from sqlalchemy import Connection, Engine, NullPool, event
from sqlalchemy.engine import URL

from project.database.base import db
from project.database_url import engine_url

CONNECT_SECONDS = 3
ANSWER_SECONDS = 15
PROBE_SECONDS = 1
LOCK_SECONDS = 5


def init_app(app: Flask) -> None:
    """Create the engines of an app whose settings are complete.

    The engines are made here: settings that change later are not seen by them.
    """
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
    """Return what an engine needs to be told, beside its URL.

    Parameters are hidden, so that no error puts a person's email into the log.

    :param connect: how long connecting may take, in seconds.
    :param answer: how long the database may be silent, and a statement may run; None: for ever.
    """
    connect_args: dict[str, Any]
    # A connection that is closed needs no ROLLBACK before.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "poolclass": NullPool,
        "pool_reset_on_return": None,
        # Statements take parameters by name with every driver.
        "paramstyle": "named" if url.get_backend_name() == "sqlite" else "pyformat",
    }
    if url.get_backend_name() == "sqlite":
        busy = LOCK_SECONDS if answer is None else min(answer, LOCK_SECONDS)
        connect_args = {"timeout": busy, "isolation_level": None}
    else:
        connect_args = {"charset": "utf8mb4", "connect_timeout": connect}
        # PyMySQL's limit on connecting ends with TCP's handshake, but a frozen server accepts and
        # then says nothing; limit_answers sets the limit on an answer later.
        socket = connect if url.get_driver_name() == "pymysql" else answer
        if socket is not None:
            connect_args |= {"read_timeout": socket, "write_timeout": socket}
        if answer is not None:
            # Each server reads its own comment: MySQL counts milliseconds, MariaDB seconds.
            connect_args["init_command"] = (
                f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}"
                f" /*!80000 , max_execution_time = {answer * 1000} */"
                f" /*M!100100 , max_statement_time = {answer} */"
            )
    return {**options, "connect_args": connect_args}


def limit_answers(engine: Engine, seconds: int | None) -> None:
    """Limit how long PyMySQL waits on its socket, from when it is connected; None: for ever."""

    @event.listens_for(engine, "connect")
    def set_limit(connection: Any, _record: object) -> None:
        connection._read_timeout = connection._write_timeout = seconds


def _prepare_sqlite() -> None:
    """Make SQLite behave as a server database does under concurrent requests.

    WAL lets readers go on while one writes. BEGIN IMMEDIATE takes the write lock at once and waits
    for it: a transaction that reads first and then writes could not wait any more and would fail
    with "database is locked".
    """
    for engine in db.engines.values():
        event.listen(engine, "connect", _set_pragmas)
    for name in (None, "maintenance"):
        event.listen(db.engines[name], "begin", _begin_immediate)


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

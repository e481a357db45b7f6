"""The Flask extensions: created here, bound to an app by ``init_app``.

There are four engines on one database, see docs/decisions/engines.md:

- the default one is transactional; ``db.session`` and every write use it;
- ``read`` is for Core SELECTs only: in AUTOCOMMIT, a read is one round trip. Nothing ever begins a
  transaction there;
- ``probe`` asks whether the database is well, and does not wait;
- ``maintenance`` is for commands whose statements may take long, such as migrations.

None has a pool: of the first two each thread keeps a connection.
"""

import sqlite3
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from weakref import ref

from flask import Flask, current_app
from flask_bootstrap import Bootstrap5
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import (
    Connection,
    CursorResult,
    Dialect,
    Engine,
    Executable,
    MetaData,
    NullPool,
    Row,
    Select,
    event,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from project.config import WrongDatabase, refuse_served_database, same_database
from project.database_url import engine_url
from project.faults import is_stale

CONNECT_SECONDS = 3
ANSWER_SECONDS = 15
PROBE_SECONDS = 1
LOCK_SECONDS = 5
KEPT_SECONDS = 3600

# The drivers that are given plain statements: each makes text of parameters by itself.
PLAIN_DRIVERS = {"pymysql", "mysqldb"}

Run = Callable[[Connection, Executable, dict[str, Any]], tuple[Sequence[Any], int]]

TABLE_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {
        "engine": "InnoDB",
        "charset": "utf8mb4",
        "collate": "utf8mb4_bin",
    }.items()
}
"""What every table is told: all of Unicode, compared by code point as SQLite does."""


class Base(DeclarativeBase):
    """The base of all models; constraints and indexes get the same names in every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        }
    )


class Database(SQLAlchemy):
    """SQLAlchemy that makes and drops tables only in the database that the settings name."""

    def create_all(self, bind_key: str | None | list[str | None] = "__all__") -> None:
        """Create the tables that are missing.

        :raises WrongDatabase: as check_database.
        """
        check_database()
        super().create_all(bind_key)

    def drop_all(self, bind_key: str | None | list[str | None] = "__all__") -> None:
        """Drop all tables.

        :raises WrongDatabase: as check_database.
        """
        check_database()
        super().drop_all(bind_key)


class KeptSession(Session):
    """A session whose transactions are on the connection that its thread keeps.

    Where a session of another application context has a transaction under way there, as a nested
    context finds it, this one takes a connection of its own, and closes it at its end.
    """

    _own_connection: Connection | None = None

    def get_bind(self, *_: Any, **_options: Any) -> Connection:
        """Return the connection, whatever is asked on it."""
        if self._own_connection is not None:
            return self._own_connection
        connection = kept_connection()
        if not connection.in_transaction():
            connection.info["session"] = ref(self)
        elif connection.info.get("session", lambda: None)() is not self:
            connection = self._own_connection = db.engine.connect()
        return connection

    def close(self) -> None:
        """End the transaction, and close a connection of its own."""
        super().close()
        if self._own_connection is not None:
            self._own_connection.close()
            self._own_connection = None


db = Database(model_class=Base, session_options={"class_": KeptSession, "expire_on_commit": False})
migrate = Migrate()
bootstrap = Bootstrap5()


def init_app(app: Flask) -> None:
    """Bind the extensions to an app whose settings are complete.

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
    migrate.init_app(app, db, directory=str(Path(app.root_path).parent / "migrations"))
    bootstrap.init_app(app)


def check_database() -> None:
    """See that tables are made and dropped where the settings of the app say.

    Settings that change after ``create_app`` do not reach the engines.

    :raises WrongDatabase: the engines lead to another database, or the settings are those of tests
        and lead to the database that is served.
    """
    settings = current_app.config
    named, bound = engine_url(settings["SQLALCHEMY_DATABASE_URI"]), db.engine.url
    if not same_database(str(named), str(bound)):
        raise WrongDatabase(
            f"The app was created for {bound!r}, and its settings now name {named!r}: no table was"
            " made or dropped. Give the settings to create_app, as in"
            " create_app('project.config.TestingConfig')."
        )
    if settings["TESTING"]:
        refuse_served_database(str(bound))


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
    }
    if url.get_backend_name() == "sqlite":
        busy = LOCK_SECONDS if answer is None else min(answer, LOCK_SECONDS)
        connect_args = {"timeout": busy, "isolation_level": None}
    else:
        options["paramstyle"] = "pyformat"  # mysqlclient would take parameters by their places
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


class _Kept(threading.local):
    """The connections that a thread keeps, by the engine's name, each with its last moment."""

    def __init__(self) -> None:
        self.connections: dict[str | None, tuple[Connection, float]] = {}


_kept = _Kept()


def kept_connection(engine_name: str | None = None) -> Connection:
    """Return the connection that this thread keeps to an engine, a fresh one where it is no good.

    After an hour it is no good: what stands between here and the database may have forgotten it.
    But one on which a transaction is under way is not exchanged.

    :param engine_name: ``read``; None: the transactional one.
    """
    engine = db.engines[engine_name]
    connection, last_moment = _kept.connections.get(engine_name, (None, 0.0))
    if connection is not None and connection.engine is engine:
        spent = connection.invalidated or time.monotonic() > last_moment
        if not spent or connection.in_transaction():
            return connection
    close_kept_connection(engine_name)
    connection = engine.connect()
    _kept.connections[engine_name] = connection, time.monotonic() + KEPT_SECONDS
    return connection


def close_kept_connection(engine_name: str | None = None) -> None:
    """Close what this thread keeps to an engine; who needs it next connects anew."""
    if engine_name in _kept.connections:
        _kept.connections.pop(engine_name)[0].close()


def fetch_all(statement: Select[Any], parameters: dict[str, Any]) -> Sequence[Row[Any]]:
    """Return all rows of a SELECT, run on the read engine.

    The connection that this thread has kept may have died unnoticed: the SELECT is then asked once
    more, on a fresh one.
    """
    return _read(_execute, statement, parameters)


def fetch_plain(statement: Select[Any], parameters: dict[str, Any]) -> Sequence[Any]:
    """Return all rows of a SELECT, as fetch_all does, in half of its time.

    With MySQL's drivers the statement goes to them as it is.

    :param statement: built once; constants are literal columns; no value needs conversion: no
        booleans, no JSON, no lists.
    """
    return _read(_run, statement, parameters)


def execute_plain(statement: Executable, parameters: dict[str, Any]) -> tuple[Sequence[Any], int]:
    """Run a statement in the transaction of ``db.session``, by the short way of fetch_plain.

    :param statement: as for fetch_plain; an INSERT or UPDATE sets the columns that are among the
        parameters, which must be all those that have a default in Python.
    :return: the rows of a SELECT, and the id that an INSERT has given.
    """
    return _run(db.session.connection(), statement, parameters)


def _read(run: Run, statement: Executable, parameters: dict[str, Any]) -> Sequence[Any]:
    try:
        return _read_once(run, statement, parameters)
    except DBAPIError as error:
        if not is_stale(error):
            raise
    return _read_once(run, statement, parameters)


def _read_once(run: Run, statement: Executable, parameters: dict[str, Any]) -> Sequence[Any]:
    connection = kept_connection("read")
    try:
        return run(connection, statement, parameters)[0]
    finally:
        # Nothing is sent. But for SQLAlchemy a transaction has begun, and while that refers to the
        # connection, the connection would not be closed when its thread ends.
        connection.rollback()


def _execute(
    connection: Connection, statement: Executable, parameters: dict[str, Any]
) -> tuple[Sequence[Any], int]:
    result: CursorResult[Any] = connection.execute(statement, parameters)
    return result.all() if result.returns_rows else (), result.lastrowid


def _run(
    connection: Connection, statement: Executable, parameters: dict[str, Any]
) -> tuple[Sequence[Any], int]:
    """Give a statement to MySQL's driver itself; its errors become what SQLAlchemy would raise."""
    if connection.dialect.driver not in PLAIN_DRIVERS:
        return _execute(connection, statement, parameters)
    sql, as_row = _compiled(statement, connection.dialect, tuple(parameters))
    driver_connection: Any = connection.connection.driver_connection
    errors: Any = connection.dialect.loaded_dbapi.Error
    try:
        with driver_connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(map(as_row, cursor.fetchall())), cursor.lastrowid
    except errors as error:
        lost = connection.dialect.is_disconnect(error, driver_connection, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            sql, {}, error, errors, hide_parameters=True, connection_invalidated=lost
        ) from error


@cache
def _compiled(
    statement: Executable, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, Callable[[Iterable[Any]], tuple[Any, ...]]]:
    """Return the SQL of a statement with these parameters, and what gives a row's values names."""
    names = statement.selected_columns.keys() if isinstance(statement, Select) else ()
    row: Any = namedtuple("Row", names)  # type: ignore[misc]
    sql: Any = statement
    return str(sql.compile(dialect=dialect, column_keys=keys)), row._make


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

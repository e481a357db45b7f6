"""The Flask extensions: created here, bound to an app by ``init_app``.

There are two engines on one database. The default one is transactional; ``db.session`` and every
write use it. The bind ``read`` is for Core SELECTs only: in AUTOCOMMIT and without the ROLLBACK
when a connection goes back to the pool, a read is one round trip. Nothing ever begins a
transaction on it. See docs/decisions/two-engines.md.
"""

import sqlite3
from pathlib import Path
from typing import Any

from flask import Flask
from flask_bootstrap import Bootstrap5
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, MetaData, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import DeclarativeBase

CONNECT_TIMEOUT_SECONDS = 3
SOCKET_TIMEOUT_SECONDS = 15
SQLITE_BUSY_TIMEOUT_SECONDS = 15


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


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
migrate = Migrate()
bootstrap = Bootstrap5()


def init_app(app: Flask) -> None:
    """Bind the extensions to an app whose settings are complete.

    The engines are made here: settings that change later are not seen by them.
    """
    uri = app.config["SQLALCHEMY_DATABASE_URI"]
    options = driver_options(make_url(uri))
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    app.config["SQLALCHEMY_BINDS"] = {
        "read": {
            **options,
            "url": uri,
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
        }
    }
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _prepare_sqlite()
    migrate.init_app(app, db, directory=str(Path(app.root_path).parent / "migrations"))
    bootstrap.init_app(app)


def driver_options(url: URL) -> dict[str, Any]:
    """Return what the engines of a database need to be told, beside its URL.

    Parameters are hidden, so that no error puts a person's email into the log.
    """
    connect_args: dict[str, Any]
    if url.get_backend_name() == "sqlite":
        connect_args = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "isolation_level": None}
    else:
        connect_args = {
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": SOCKET_TIMEOUT_SECONDS,
            "write_timeout": SOCKET_TIMEOUT_SECONDS,
        }
    return {"connect_args": connect_args, "hide_parameters": True}


def read_connection() -> Connection:
    """Return a connection for Core SELECTs, to be used as a context manager."""
    return db.engines["read"].connect()


def _prepare_sqlite() -> None:
    """Make SQLite behave as a server database does under concurrent requests.

    WAL lets readers go on while one writes. BEGIN IMMEDIATE takes the write lock at once and waits
    for it: a transaction that reads first and then writes could not wait any more and would fail
    with "database is locked".
    """
    for engine in db.engines.values():
        event.listen(engine, "connect", _set_pragmas)
    event.listen(db.engine, "begin", _begin_immediate)


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

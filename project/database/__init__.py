"""All access to the database. Knows no feature and no HTTP."""

from pathlib import Path

from flask import Flask
from flask_migrate import Migrate

from project.database import engines, keyset
from project.database.base import TABLE_OPTIONS, check_database, db
from project.database.connections import close_thread_connections, thread_connection
from project.database.premises import Premise, PremiseFailed, presuming
from project.database.replica import may_lag
from project.database.statements import Row, of_database, read, read_presuming, write
from project.database.transactions import in_transaction

__all__ = [
    "TABLE_OPTIONS",
    "Premise",
    "PremiseFailed",
    "Row",
    "check_database",
    "close_thread_connections",
    "db",
    "in_transaction",
    "keyset",
    "may_lag",
    "of_database",
    "presuming",
    "read",
    "read_presuming",
    "thread_connection",
    "write",
]

# Without batches: on SQLite a batch makes the table anew, and what goes with its rows would go.
migrate = Migrate(render_as_batch=False)


def init_app(app: Flask) -> None:
    """Create the engines from the app's settings, and tell Flask-Migrate where migrations are."""
    engines.init_app(app)
    migrate.init_app(app, db, directory=str(Path(app.root_path).parent / "migrations"))

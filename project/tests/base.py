"""What all tests of the application stand on."""

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from alembic.script import ScriptDirectory
from flask import Flask, Response, request
from flask_testing import TestCase
from sqlalchemy import Connection, Engine, event, inspect, text

from project import create_app, db
from project.api.auth import throttle
from project.clock import utcnow
from project.config import TestingConfig, refuse_served_database
from project.database import close_thread_connections, thread_connection
from project.web.openapi import describe

_made: set[str] = set()  # the databases in which this process has made the tables


@event.listens_for(Engine, "connect")
def _write_when_convenient(connection: Any, _record: object) -> None:
    """Let no test wait for the disk: SQLite's data need not outlive a power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


class Protected(TestingConfig):
    """Settings of the tests, with protected access."""

    ACCESS = "protected"


def head_revision() -> str:
    """Return the newest revision of the schema."""
    folder = Path(__file__).parents[2] / "migrations"
    return ScriptDirectory(str(folder)).get_current_head() or "base"


@cache
def documented_answers() -> set[tuple[str, str, int]]:
    """Return what the API's description knows of, as method, operation and status."""
    app = create_app("project.config.TestingConfig")
    with app.test_request_context():
        paths = describe(app)["paths"]
    return {
        (method.upper(), operation["operationId"], int(status))
        for path in paths.values()
        for method, operation in path.items()
        for status in operation["responses"]
    }


def empty_tables() -> None:
    """Bring the test database to empty tables, whose ids begin at 1.

    The first test makes the tables anew, for an older version may have left others. Then rows are
    deleted, which on MySQL takes a tenth of the time, unless a test has changed the schema.
    """
    uri = str(db.engine.url)
    connection = thread_connection(db.engine)
    with connection.begin():
        tables = set(inspect(connection).get_table_names())
        if uri in _made and tables == set(db.metadata.tables):
            _delete_rows(connection)
            return
    db.drop_all(None)
    with connection.begin():
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    db.create_all(None)
    _made.add(uri)


def _delete_rows(connection: Connection) -> None:
    for table in reversed(db.metadata.sorted_tables):
        connection.execute(table.delete())
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence"))
        return
    # To take a counter back costs more than most tests do, so only those that have moved are.
    # MySQL remembers for a day what it has answered once, unless it is told not to.
    connection.execute(
        text("SET @moved = NULL /*!80000 , SESSION information_schema_stats_expiry = 0 */")
    )
    moved = text(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND auto_increment > 1"
    )
    for name in connection.scalars(moved).all():
        connection.execute(text(f"ALTER TABLE `{name}` AUTO_INCREMENT = 1"))


class BaseTestCase(TestCase):
    """A fresh app, and empty tables, for each test; every answer of the API must be documented."""

    def create_app(self) -> Flask:
        """Create the app under test; called by Flask-Testing."""
        return create_app("project.config.TestingConfig")

    def setUp(self) -> None:
        """Create the tables."""
        refuse_served_database(self.app.config["SQLALCHEMY_DATABASE_URI"])
        self.answers: set[tuple[str, str, int]] = set()
        self.app.after_request(self._note_answer)
        self.addCleanup(self._refuse_undocumented_answers)
        self.addCleanup(self._close_database)
        now = utcnow()  # no wait is over before its answer is read, however slow the machine
        self.enterContext(mock.patch.object(throttle, "utcnow", lambda: now))
        empty_tables()

    def _note_answer(self, response: Response) -> Response:
        blueprint, _, name = (request.endpoint or "").rpartition(".")
        if blueprint == "scim":  # its endpoints are named as `scim.list_users GET /Users`
            name = f"scim_{name.partition(' ')[0]}"
        method = "GET" if request.method == "HEAD" else request.method
        self.answers.add((method, name, response.status_code))
        return response

    def _refuse_undocumented_answers(self) -> None:
        described = {known[:2] for known in documented_answers()}
        answers = {answer for answer in self.answers if answer[:2] in described}
        self.assertEqual(answers - documented_answers(), set())

    def _close_database(self) -> None:
        db.session.remove()
        close_thread_connections()

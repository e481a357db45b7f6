"""The engines: what they send, and how SQLite and MySQL are set up."""

import tempfile
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest import mock

from flask import Flask
from flask_testing import TestCase
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from project import create_app, db
from project.api.users import service
from project.commands.database import recreate_db
from project.config import TestingConfig, WrongDatabase
from project.database import (
    close_thread_connections,
    connections,
    in_transaction,
    thread_connection,
)
from project.database.connections import ThreadSession
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user, make_users
from project.tests.test_config import environment
from project.tests.wire import recorded_commands

AWAY = driver_error(2003, "Can't connect", lost=True, statement=None)


class TablesTests(BaseTestCase):
    """Tables are made and dropped only in the database that the settings name."""

    def test_settings_that_changed_later_drop_and_make_nothing(self):
        make_user(username="kept")
        url = make_url(self.app.config["SQLALCHEMY_DATABASE_URI"])
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url.set(database="other.db")
        for change in (db.drop_all, db.create_all, lambda: recreate_db(yes=True)):
            with self.subTest(change), recorded_commands() as sent:
                with self.assertRaisesRegex(WrongDatabase, "Pass the settings to create_app"):
                    change()

                self.assertEqual(sent, [])
        self.assertEqual([user.username for user in all_users()], ["kept"])

    def test_error_tells_no_password(self):
        self.app.config["SQLALCHEMY_DATABASE_URI"] = "mysql+pymysql://u:secret@db.example/users"

        with self.assertRaises(WrongDatabase) as caught:
            db.drop_all()

        self.assertNotIn("secret", str(caught.exception))

    def test_tests_drop_nothing_that_is_served(self):
        make_user(username="kept")
        served = self.app.config["SQLALCHEMY_DATABASE_URI"]

        with environment(DATABASE_URL=served), self.assertRaises(WrongDatabase):
            db.drop_all()

        self.assertEqual([user.username for user in all_users()], ["kept"])


class TutorialBase(TestCase):
    """The base of the first version's tests, as its page has it."""

    def create_app(self) -> Flask:
        app = create_app()
        app.config.from_object("project.config.TestingConfig")
        return app

    def setUp(self) -> None:
        db.create_all()
        db.session.commit()

    def tearDown(self) -> None:
        db.session.remove()
        db.drop_all()

    def list_users(self) -> None:
        self.assertEqual(self.client.get("/users").status_code, 200)


class TutorialBaseTests(BaseTestCase):
    """The tutorial's way to create tests loses no data."""

    def test_first_versions_base_leaves_the_served_database_alone(self):
        for name in ("DevelopmentConfig", "ProductionConfig"):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                served = {
                    "APP_SETTINGS": f"project.config.{name}",
                    "DATABASE_URL": f"sqlite:///{folder}/served.db",
                    "SECRET_KEY": "x" * 32,
                }
                with environment(**served):
                    with create_app().app_context():
                        db.create_all()
                        make_user(username="kept")
                        db.session.remove()

                    result = unittest.TestResult()
                    TutorialBase("list_users")(result)

                    self.assertIn("create_app('project.config.TestingConfig')", result.errors[0][1])
                    with create_app().app_context():
                        self.assertEqual([user.username for user in all_users()], ["kept"])


class NestedContextTests(BaseTestCase):
    """Two application contexts of one thread, each with a session."""

    def setUp(self) -> None:
        super().setUp()
        if db.engine.dialect.name == "sqlite":
            event.listen(
                db.engine, "connect", lambda one, _: one.execute("PRAGMA busy_timeout = 10")
            )

    def test_inner_transaction_is_saved_or_refused(self):
        for look in (lambda: make_user(), lambda: db.session.execute(text("SELECT 1"))):
            with self.subTest(look):
                db.session.remove()
                look()
                count = len(all_users())
                saved = 0
                with self.app.app_context():
                    try:
                        in_transaction(service.create_user)("inner", f"inner{count}@example.com")
                        saved = 1
                    except DBAPIError:  # SQLite has one writer
                        self.assertEqual(db.engine.dialect.name, "sqlite")
                db.session.remove()

                self.assertEqual(len(all_users()), count + saved)

    def test_outer_transaction_is_its_own(self):
        service.create_user("outer", "outer@example.com")
        with self.app.app_context():
            with suppress(DBAPIError):
                service.create_user("inner", "inner@example.com")
            db.session.rollback()

        db.session.commit()

        self.assertEqual([user.username for user in all_users()], ["outer"])

    def test_inner_session_closes_its_own_connection(self):
        made: list[Any] = []
        closed: list[Any] = []
        db.session.execute(text("SELECT 1"))
        event.listen(db.engine, "connect", lambda connection, _: made.append(connection))
        event.listen(db.engine, "close", lambda connection, _: closed.append(connection))

        with self.app.app_context(), suppress(DBAPIError):
            db.session.execute(text("SELECT 1"))

        self.assertEqual(len(made), 1)
        self.assertEqual(closed, made)

    def test_context_that_comes_back_does_not_join_another_ones_transaction(self):
        db.session.execute(text("SELECT 1"))
        db.session.commit()
        with self.app.app_context():
            service.create_user("inner", "inner@example.com")
            inner = db.session()
            outer_before = thread_connection(db.engine)

            self.assertIs(inner.connection(), outer_before)
            self.assertIsNot(ThreadSession(db).get_bind(), outer_before)
            db.session.rollback()


class WireTests(BaseTestCase):
    """The commands a request costs, counted where they leave for the database."""

    def test_read_is_one_command(self):
        user = make_user()
        make_users(51)
        older = self.client.get("/").text.split("cursor=")[1].split('"')[0]
        next_page = self.client.get("/users?limit=1").json["data"]["next"]
        paths = [
            f"/users/{user.id}",
            f"/users/{user.id + 1000}",
            "/users",
            f"/users?limit=1&cursor={next_page}",
        ]
        # The page also counts the users of a list that has several pages.
        for path, number in [*((path, 1) for path in paths), ("/", 2), (f"/?cursor={older}", 2)]:
            with self.subTest(path), recorded_commands() as commands:
                self.client.get(path)

                self.assertEqual(len(commands), number, commands)
                self.assertTrue(all(each.startswith("SELECT") for each in commands), commands)

    def test_read_that_needs_no_database_sends_nothing(self):
        for path in ["/ping", "/users/x", "/users/0", "/users/-1", f"/users/{10**40}", "/nowhere"]:
            with self.subTest(path), recorded_commands() as commands:
                self.client.get(path)

                self.assertEqual(commands, [])

    def test_create_is_an_insert_those_of_its_words_and_record_and_one_commit(self):
        self.client.post("/users", json={"username": "a", "email": "a@example.com"})

        with recorded_commands() as commands:
            self.client.post("/users", json={"username": "b", "email": "b@example.com"})

        begins = ["BEGIN"] if db.engine.dialect.name == "sqlite" else []  # MySQL does by itself
        verbs = [command.split()[0] for command in commands]
        self.assertEqual(verbs, [*begins, "INSERT", "INSERT", "INSERT", "COMMIT"])

    def test_refused_create_is_rolled_back(self):
        make_user(email="a@example.com")

        with recorded_commands() as commands:
            self.client.post("/users", json={"username": "b", "email": "a@example.com"})

        self.assertEqual(commands[-1], "ROLLBACK")


class EngineTests(BaseTestCase):
    """How the connections are set up."""

    def test_read_engine_sees_what_was_just_committed(self):
        with db.engines["read"].connect() as connection:
            connection.execute(text("SELECT count(*) FROM users"))
            user = make_user()
            count = connection.execute(text("SELECT count(*) FROM users")).scalar_one()

        self.assertEqual(count, 1)
        self.assertEqual(service.get_user(user.id).id, user.id)

    def test_uncommitted_work_is_gone_after_the_request(self):
        service.create_user("a", "a@example.com")
        db.session.remove()

        self.assertEqual(service.list_users(limit=1), [])

    def test_thread_keeps_its_connections_and_they_are_closed_with_the_thread(self):
        client = self.client
        made, closed = self.connections()

        def work() -> None:
            for number in range(3):
                user = {"username": "a", "email": f"a{number}@example.com"}
                self.assertEqual(client.post("/users", json=user).status_code, 201)
                self.assertEqual(client.get("/users/1").status_code, 200)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
            self.assertEqual((len(made), closed), (2, []))
        self.assertCountEqual(closed, made)

    def test_thread_connection_is_replaced_after_a_while_but_not_in_a_transaction(self):
        def grow_old() -> None:
            for engine, (connection, _) in connections._connections.by_engine.items():
                connections._connections.by_engine[engine] = connection, time.monotonic()

        made, closed = self.connections()
        service.create_user("a", "a@example.com")
        service.has_users()
        self.assertEqual((len(made), closed), (2, []))
        grow_old()

        service.create_user("b", "b@example.com")
        service.has_users()
        self.assertEqual((len(made), closed), (3, made[1:2]))

        db.session.commit()
        service.create_user("c", "c@example.com")
        self.assertEqual((len(made), closed), (4, [made[1], made[0]]))
        self.assertEqual([user.username for user in all_users()], ["a", "b"])

    def test_thread_connects_again_after_it_could_not(self):
        thread_connection(db.engine).invalidate()
        refused = DBAPIError("", {}, Exception())
        with mock.patch.object(Engine, "connect", side_effect=refused):
            with self.assertRaises(DBAPIError):
                thread_connection(db.engine)

        self.assertEqual(thread_connection(db.engine).scalar(text("SELECT 1")), 1)
        db.session.rollback()

    @contextmanager
    def outage(self, answers: list[Any], wait: int) -> Iterator[Any]:
        """Let attempts to connect end with these; requests wait so long, on a fake clock."""
        self.app.config["DATABASE_WAIT_SECONDS"] = wait
        thread_connection(db.engine).invalidate()
        self.now, clock = 1_000.0, mock.Mock()
        clock.monotonic = lambda: self.now
        clock.sleep = lambda seconds: setattr(self, "now", self.now + seconds)
        with (
            mock.patch.object(connections, "time", clock),
            mock.patch.object(connections, "outage", connections.Outage()),
            mock.patch.object(Engine, "connect", side_effect=answers) as connect,
        ):
            yield connect

    def test_thread_waits_for_a_database_that_comes_back(self):
        connection = db.engine.connect()
        with self.outage([AWAY] * 20 + [connection], wait=3):
            self.assertIs(thread_connection(db.engine), connection)

        self.assertAlmostEqual(self.now, 1_002)

    def test_threads_wait_once_for_a_database_that_stays_away(self):
        with self.outage([AWAY] * 99, wait=2) as connect:
            for attempts, now in [(21, 1_002), (22, 1_002), (23, 1_002)]:
                with self.assertRaises(DBAPIError):
                    thread_connection(db.engine)
                self.assertEqual(connect.call_count, attempts)
                self.assertAlmostEqual(self.now, now)

    def test_thread_waits_no_longer_when_others_succeed_meanwhile(self):
        def fail_while_others_succeed(*_: object) -> None:
            connections.outage.is_on = False
            raise AWAY

        with self.outage([], wait=2) as connect:
            connect.side_effect = fail_while_others_succeed
            with self.assertRaises(DBAPIError):
                thread_connection(db.engine)

        self.assertAlmostEqual(self.now, 1_002)

    def test_success_ends_an_outage(self):
        service.has_users()
        add = in_transaction(partial(service.create_user, "a", "a@example.com"))
        for work in [service.has_users, add]:
            connections.outage.first_failure(time.monotonic())
            work()
            self.assertFalse(connections.outage.is_on)

    def test_threads_wait_again_for_the_next_outage(self):
        with self.outage([AWAY] * 99, wait=2):
            for now in [1_002, 1_020]:
                with self.assertRaises(DBAPIError):
                    thread_connection(db.engine)
                self.assertAlmostEqual(self.now, now)
                self.now += 16

    def test_thread_does_not_wait_by_default_or_after_another_error(self):
        for error, wait in [(AWAY, 0), (driver_error(1045, "Access denied", statement=None), 9)]:
            with self.subTest(error=error), self.outage([error] * 99, wait) as connect:
                with self.assertRaises(DBAPIError):
                    thread_connection(db.engine)

                self.assertEqual(connect.call_count, 1)

    def test_thread_connection_is_that_of_the_app_that_is_served(self):
        service.has_users()
        made: list[Any] = []

        with create_app(TestingConfig).app_context():
            event.listen(db.engines["read"], "connect", lambda one, _: made.append(one))
            service.has_users()

        self.assertEqual(len(made), 1)

    def test_read_on_a_connection_that_died_unnoticed_is_asked_again(self):
        user = make_user()
        made, _ = self.connections()
        service.get_user(user.id)
        made[-1].close()

        self.assertEqual(service.get_user(user.id).version, 1)
        self.assertEqual(len(made), 2)

    def connections(self) -> tuple[list[Any], list[Any]]:
        """Return what fills with the driver's connections: those that are made, and closed."""
        made: list[Any] = []
        closed: list[Any] = []
        close_thread_connections()
        for name in (None, "read"):
            engine = db.engines[name]
            event.listen(engine, "connect", lambda connection, _: made.append(connection))
            event.listen(engine, "close", lambda connection, _: closed.append(connection))
            event.listen(engine, "close_detached", closed.append)
        return made, closed

    def test_error_does_not_tell_parameters(self):
        with self.assertRaises(Exception) as caught, db.engine.begin() as connection:
            connection.execute(text("SELECT * FROM nothing WHERE x = :x"), {"x": "a@example.com"})

        self.assertNotIn("a@example.com", str(caught.exception))

    def test_connections_are_set_up(self):
        for name, expected in self.expected_settings().items():
            for question, answer in expected.items():
                with (
                    self.subTest(engine=name, question=question),
                    db.engines[name].connect() as connection,
                ):
                    self.assertEqual(connection.execute(text(question)).scalar_one(), answer)

    def expected_settings(self) -> dict[str | None, dict[str, object]]:
        """Return what each engine's connections must answer to which question."""
        if db.engine.dialect.name == "sqlite":
            always = {"PRAGMA journal_mode": "wal", "PRAGMA foreign_keys": 1}
            waits = {None: 5_000, "read": 5_000, "probe": 1_000, "maintenance": 5_000}
            return {
                name: {**always, "PRAGMA busy_timeout": milliseconds}
                for name, milliseconds in waits.items()
            }
        with db.engine.connect() as connection:
            mariadb = "MariaDB" in connection.execute(text("SELECT version()")).scalar_one()
        limit = "@@max_statement_time" if mariadb else "@@max_execution_time / 1000"
        seconds = {None: 15, "read": 15, "probe": 1, "maintenance": 0}
        return {
            name: {
                "SELECT @@character_set_client": "utf8mb4",
                f"SELECT round({limit})": statement_seconds,
                **({"SELECT @@group_concat_max_len": 16 * 2**20} if statement_seconds else {}),
                "SELECT @@innodb_lock_wait_timeout": 5 if statement_seconds else 50,
            }
            for name, statement_seconds in seconds.items()
        }

"""What errors mean; e2e/test_faults.py meets the real ones."""

import sqlite3
import unittest

from pymysql.err import OperationalError
from sqlalchemy import exc

from project.database.failures import (
    is_conflict,
    is_lost,
    is_old_schema,
    is_outage,
    is_stale,
    is_wrong_server,
)


def driver_error(
    *arguments: object, lost: bool = False, statement: str | None = "SELECT"
) -> exc.DBAPIError:
    """Return SQLAlchemy's error for one of the MySQL driver; without a statement, of connecting."""
    return exc.OperationalError(statement, {}, OperationalError(*arguments), False, lost)


class FaultTests(unittest.TestCase):
    """What errors mean for the request that met them."""

    def test_deadlock_lock_wait_and_changed_row_are_conflicts_and_outages(self):
        for number in [1020, 1205, 1213]:
            with self.subTest(number):
                self.assertTrue(is_conflict(driver_error(number, "x")))
                self.assertTrue(is_outage(driver_error(number, "x")))

    def test_conflict_at_commit_is_a_conflict(self):
        for number in [1180, 3101]:
            with self.subTest(number):
                self.assertTrue(is_conflict(driver_error(number, "x")))
                self.assertFalse(is_wrong_server(driver_error(number, "x")))

    def test_server_that_cannot_write_is_the_wrong_one_and_an_outage(self):
        for number in [1047, 1290, 1836, 3098, 3100]:
            with self.subTest(number):
                self.assertTrue(is_wrong_server(driver_error(number, "x")))
                self.assertTrue(is_outage(driver_error(number, "x")))
                self.assertFalse(is_conflict(driver_error(number, "x")))

    def test_error_is_known_by_the_one_that_it_hides(self):
        for number, means in [(1213, is_conflict), (1290, is_wrong_server), (2013, is_outage)]:
            with self.subTest(number):
                try:
                    try:
                        raise driver_error(number, "x")
                    except exc.DBAPIError:
                        raise driver_error(1305, "SAVEPOINT does not exist")  # noqa: B904
                except exc.DBAPIError as error:
                    self.assertTrue(means(error))

    def test_server_away_is_an_outage(self):
        for number in [1040, 2003, 2006, 2013, 3024, 1969]:
            with self.subTest(number):
                self.assertTrue(is_outage(driver_error(number, "x")))
                self.assertFalse(is_conflict(driver_error(number, "x")))

    def test_lost_connection_is_an_outage(self):
        error = driver_error(0, "", lost=True)

        self.assertTrue(is_lost(error))
        self.assertTrue(is_outage(error))

    def test_connection_that_could_not_be_made_or_was_silent_is_not_stale(self):
        silent = driver_error(2013, "timed out", lost=True)
        assert silent.orig
        silent.orig.__context__ = TimeoutError()

        self.assertTrue(is_stale(driver_error(2013, "", lost=True)))
        self.assertFalse(is_stale(driver_error(2013, "", lost=True, statement=None)))
        self.assertFalse(is_stale(silent))
        for error in [silent, driver_error(2013, "", lost=True, statement=None)]:
            self.assertTrue(is_outage(error))

    def test_sqlite_that_stays_locked_is_an_outage(self):
        connections = [
            sqlite3.connect("file:locked?mode=memory&cache=shared", uri=True) for _ in "12"
        ]
        for connection in connections:
            self.addCleanup(connection.close)
        connections[0].execute("CREATE TABLE t (x)")
        connections[0].execute("BEGIN IMMEDIATE")
        with self.assertRaises(sqlite3.OperationalError) as caught:
            connections[1].execute("BEGIN IMMEDIATE")

        error = exc.OperationalError("BEGIN", {}, caught.exception)
        self.assertTrue(is_outage(error))

    def test_missing_table_or_column_is_an_old_schema(self):
        for error in [
            driver_error(1054, "Unknown column"),
            driver_error(1146, "No such table"),
            exc.OperationalError("", {}, sqlite3.OperationalError("no such table: users")),
        ]:
            with self.subTest(error):
                self.assertTrue(is_old_schema(error))
        self.assertFalse(is_old_schema(driver_error(2003, "x")))

    def test_our_own_mistakes_are_no_outage(self):
        for error in [
            driver_error(1054, "Unknown column"),
            driver_error(1146, "No such table"),
            driver_error(),
            exc.IntegrityError("INSERT", {}, Exception(1062, "Duplicate")),
            exc.InvalidRequestError(),
        ]:
            with self.subTest(error):
                self.assertFalse(is_outage(error))

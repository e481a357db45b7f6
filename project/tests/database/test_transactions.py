"""One piece of work, one transaction; e2e/test_faults.py meets the real errors."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest import mock

from sqlalchemy.exc import DBAPIError

from project import db
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.database import connections, in_transaction, thread_connection
from project.database.transactions import ATTEMPTS
from project.errors import NotFound, OutcomeUnknown
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user

DEADLOCK = driver_error(1213, "Deadlock found")
READ_ONLY = driver_error(1290, "The server is running with the --read-only option")
LOST = driver_error(2013, "Lost connection", lost=True)
NOT_MADE = driver_error(2013, "Lost connection", lost=True, statement=None)


class InTransactionTests(BaseTestCase):
    """Committed whole, tried again where that is safe."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = 0

    def work(self, errors: list[DBAPIError]) -> None:
        """Add a user, then fail with the next of these errors; return when there is none left."""
        self.calls += 1
        service.create_user(f"user{self.calls}", "a@example.com")
        if errors:
            raise errors.pop(0)

    def names(self) -> list[str]:
        """Return the names of the users that were committed."""
        db.session.remove()
        return [row.username for row in all_users()]

    def test_work_is_committed(self):
        in_transaction(self.work)([])

        self.assertEqual(self.names(), ["user1"])

    def test_work_runs_again_whole_after_conflicts_and_a_stale_connection(self):
        in_transaction(self.work)([DEADLOCK, LOST, DEADLOCK])

        self.assertEqual(self.names(), ["user4"])

    def test_work_runs_again_once_only_for_lost_connections(self):
        with self.assertRaises(DBAPIError):
            in_transaction(self.work)([LOST] * 99)

        self.assertEqual(self.calls, 2)

    def test_connection_that_cannot_be_made_is_not_tried_again(self):
        with self.assertRaises(DBAPIError):
            in_transaction(self.work)([NOT_MADE] * 99)

        self.assertEqual(self.calls, 1)

    def test_work_that_never_succeeds_gives_up_and_leaves_nothing(self):
        with self.assertRaises(DBAPIError):
            in_transaction(self.work)([DEADLOCK] * 99)

        self.assertEqual(self.calls, ATTEMPTS)
        self.assertEqual(self.names(), [])

    def test_other_errors_are_not_tried_again(self):
        with self.assertRaises(DBAPIError):
            in_transaction(self.work)([driver_error(1054, "Unknown column")])

        self.assertEqual(self.calls, 1)
        self.assertEqual(self.names(), [])

    def test_domain_error_goes_through_and_leaves_the_session_usable(self):
        make_user(email="a@example.com")

        with self.assertRaises(EmailTaken):
            in_transaction(self.work)([])

        self.assertEqual(self.calls, 1)
        make_user(email="b@example.com")

    def test_transaction_within_a_transaction_fails_at_import(self):
        opening = in_transaction(self.names)
        decorated: Callable[[], list[str]] = wraps(opening)(lambda: self.names())
        works: list[Callable[[], list[str]]] = [opening, decorated]
        for work in works:
            with self.assertRaisesRegex(TypeError, "already opens a transaction"):
                in_transaction(work)

    def test_transaction_within_a_transaction_commits_nothing(self):
        def outer() -> None:
            self.work([])
            in_transaction(self.work)([])

        with self.assertRaisesRegex(RuntimeError, "would commit part"):
            in_transaction(outer)()

        self.assertEqual(self.names(), [])
        in_transaction(self.work)([])
        self.assertEqual(self.names(), ["user2"])

    def test_connection_lost_during_commit_is_not_tried_again(self):
        with mock.patch.object(db.session(), "commit", side_effect=LOST):
            with self.assertRaises(OutcomeUnknown):
                in_transaction(self.work)([])

        self.assertEqual(self.calls, 1)

    def refuse_commits(self, *errors: DBAPIError) -> Any:
        """Fail the first commits with these errors."""
        commit, left = db.session().commit, list(errors)

        def refuse() -> None:
            if left:
                raise left.pop(0)
            commit()

        return mock.patch.object(db.session(), "commit", refuse)

    def test_work_runs_again_whole_after_a_commit_refused_for_a_conflict(self):
        with self.refuse_commits(DEADLOCK, driver_error(1180, "x"), driver_error(3101, "x")):
            in_transaction(self.work)([])

        self.assertEqual(self.names(), ["user4"])

    def test_commits_that_are_always_refused_give_up_and_leave_nothing(self):
        with self.refuse_commits(*[DEADLOCK] * 99), self.assertRaises(DBAPIError):
            in_transaction(self.work)([])

        self.assertEqual(self.calls, ATTEMPTS)
        self.assertEqual(self.names(), [])

    def test_commit_refused_for_another_reason_goes_through(self):
        with self.refuse_commits(driver_error(1054, "Unknown column")):
            with self.assertRaises(DBAPIError):
                in_transaction(self.work)([])

        self.assertEqual(self.calls, 1)
        self.assertEqual(self.names(), [])

    def test_server_that_cannot_write_is_left_for_another_connection(self):
        for number in [1290, 1836, 3100]:
            with self.subTest(number):
                self.calls, connections = number, list[Any]()

                def work(error: DBAPIError, seen: list[Any] = connections) -> None:
                    seen.append(db.session.connection().connection.driver_connection)
                    self.work([error] if len(seen) == 1 else [])

                in_transaction(work)(driver_error(number, "read-only"))

                self.assertEqual(len({id(each) for each in connections}), 2)
                self.assertEqual(self.names(), [f"user{number + 2}"])
                in_transaction(service.delete_user)(all_users()[0].id)

    def test_server_that_cannot_write_at_commit_is_left_too(self):
        with self.refuse_commits(READ_ONLY):
            in_transaction(self.work)([])

        self.assertEqual(self.names(), ["user2"])

    def test_second_server_that_cannot_write_ends_the_work_and_is_left(self):
        before = thread_connection(db.engine)

        with self.assertRaises(DBAPIError):
            in_transaction(self.work)([READ_ONLY] * 99)

        self.assertEqual(self.calls, 2)
        self.assertTrue(before.closed)
        self.assertIsNot(thread_connection(db.engine), before)

    def test_work_runs_again_while_requests_wait_for_a_server_that_can_write(self):
        self.app.config["DATABASE_WAIT_SECONDS"] = 30
        with (
            mock.patch.object(connections, "PAUSE_SECONDS", 0),
            mock.patch.object(connections, "outage", connections.Outage()),
        ):
            in_transaction(self.work)([READ_ONLY, READ_ONLY, LOST, READ_ONLY, LOST, LOST])

        self.assertEqual(self.names(), ["user7"])

    def test_rollback_that_fails_hides_no_error(self):
        def work() -> None:
            self.work([])
            driver_connection: Any = db.session.connection().connection.driver_connection
            driver_connection.close()
            raise NotFound

        with self.assertRaises(NotFound):
            in_transaction(work)()

        self.assertEqual(self.names(), [])
        in_transaction(self.work)([])
        self.assertEqual(self.names(), ["user2"])

    def test_context_ends_as_usual_when_its_connection_is_lost(self):
        with self.app.app_context():
            driver_connection: Any = db.session.connection().connection.driver_connection
            driver_connection.close()

        make_user(email="b@example.com")

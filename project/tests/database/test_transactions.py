"""One piece of work, one transaction; e2e/test_faults.py meets the real errors."""

from collections.abc import Callable
from functools import wraps
from unittest import mock

from sqlalchemy.exc import DBAPIError

from project import db
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.database import in_transaction
from project.database.transactions import ATTEMPTS
from project.errors import OutcomeUnknown
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user

DEADLOCK = driver_error(1213, "Deadlock found")
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

    def test_commit_refused_for_another_reason_goes_through(self):
        with mock.patch.object(db.session(), "commit", side_effect=DEADLOCK):
            with self.assertRaises(DBAPIError):
                in_transaction(self.work)([])

        self.assertEqual(self.names(), [])

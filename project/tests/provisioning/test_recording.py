"""The last SCIM requests: kept without personal data, bounded, and past every failure."""

from datetime import timedelta
from typing import Any
from unittest import TestCase, mock

from sqlalchemy.exc import OperationalError

from project import db
from project.api.models import SCIMRequest
from project.api.provisioning import recording
from project.clock import utcnow
from project.errors import Message
from project.tests.base import BaseTestCase
from project.tests.wire import recorded_commands
from project.web import pruning


class WithoutValuesTests(TestCase):
    """What of an error's sentence is kept."""

    def test_texts_of_clients_are_left_out(self):
        inner = Message("Must not be %(value)s.", value="Ada")
        for text, kept in [
            ("There is no user with this id.", "There is no user with this id."),
            (Message("100 % wrong."), "100 % wrong."),
            (Message("At most %(limit)s, not %(value)s.", limit=200, value="x"),
             "At most 200, not …."),
            (Message("No %(filter)s.", filter=ValueError("Ada")), "No …."),
            (Message("userName: %(reason)s", reason=inner), "userName: Must not be …."),
            ("No: 'ada@example.com' <bob@example.com>, x@y", "No: … <…>, …"),
            ("The key's user isn't 'Ada\\'s' or \"O'Neil\".", "The key's user isn't … or …."),
        ]:  # fmt: skip
            with self.subTest(text):
                self.assertEqual(recording.without_values(text), kept)


class RecordingTests(BaseTestCase):
    """From the list in memory to the table."""

    def record(self, status: int = 200, key_id: int | None = 1, message: str | None = None) -> None:
        """Record a request."""
        recording.record_request("GET", "/Users/<id>", status, message, key_id)

    def stored(self) -> list[int]:
        """Return the statuses of the requests that are stored, in order."""
        rows = db.session.query(SCIMRequest).order_by(SCIMRequest.id).all()
        db.session.rollback()
        return [row.status for row in rows]

    def test_request_costs_no_statement_and_is_stored_soon(self):
        with recorded_commands() as sent:
            self.record(404, message="x" * 999)
        self.assertEqual((list(sent), self.stored()), ([], []))

        self.assertEqual(recording.commit_waiting(self.app), 1)

        [row] = recording.list_requests()
        self.assertEqual((row.method, row.route, row.status), ("GET", "/Users/<id>", 404))
        self.assertEqual((row.key_id, row.message), (1, "x" * 512))
        self.assertLess(utcnow() - row.created_at, timedelta(seconds=60))
        self.assertEqual(recording.commit_waiting(self.app), 0)

    def test_each_key_has_its_last_requests(self):
        for number in range(60):
            self.record(number)
            self.record(number, key_id=None)
        self.record(key_id=2)

        self.assertEqual(recording.commit_waiting(self.app), 101)

        self.assertEqual([row.status for row in recording.list_requests(1)], [*range(59, 9, -1)])
        self.assertEqual([row.status for row in recording.list_requests(2)], [200])
        self.assertEqual(len(recording.list_requests()), 50)

    def test_requests_wait_while_the_database_is_away(self):
        self.record(1)
        away = mock.Mock(side_effect=OperationalError("", {}, Exception("away")))
        with mock.patch.object(db.session, "execute", away):
            with self.assertRaises(OperationalError):
                recording.commit_waiting(self.app)
        self.record(2)
        recording.commit_waiting(self.app)

        self.assertEqual(self.stored(), [1, 2])

    def test_those_that_wait_longest_go_first(self):
        waiting: Any = recording._Waiting()
        for number in range(50):
            waiting.add({"key_id": 1, "created_at": number})
        taken = waiting.take()
        for number in range(50, 53):
            waiting.add({"key_id": 1, "created_at": number})

        waiting.put_back(taken)

        self.assertEqual([each["created_at"] for each in waiting.take()], [*range(3, 53)])

    def test_thread_stores_what_comes(self):
        pauses = iter([None, None])

        def pause(_seconds: float) -> None:
            if next(pauses, StopIteration) is StopIteration:
                raise SystemExit  # ends the thread

        self.record(1)
        with mock.patch("project.api.provisioning.recording.time.sleep", pause):
            thread = recording.start(self.app)
            thread.join()

        self.assertTrue(thread.daemon)
        self.assertEqual(self.stored(), [1])


class PruningTests(BaseTestCase):
    """The table is bounded."""

    def add(self, count: int, key_id: int | None, days: int = 0) -> None:
        """Add requests of a key."""
        created_at = utcnow() - timedelta(days=days)
        db.session.add_all(
            SCIMRequest(
                created_at=created_at, method="GET", route="/Users", status=status, key_id=key_id
            )
            for status in range(count)
        )
        db.session.commit()

    def test_old_ones_and_all_but_the_last_of_each_key_go(self):
        self.add(3, 1, days=31)
        for key_id, count in [(1, 60), (None, 70), (2, 9)]:
            self.add(count, key_id)
        with mock.patch.object(pruning, "ROWS_PER_BATCH", 7):
            removed = sum(pruning.remove_all("SCIM requests"))

        self.assertEqual(removed, 3 + 10 + 20)
        left = [(row.key_id, row.status) for row in db.session.query(SCIMRequest)]
        expected: list[tuple[int | None, int]] = [(1, status) for status in range(10, 60)]
        expected += [(2, status) for status in range(9)]
        expected += [(None, status) for status in range(20, 70)]
        self.assertCountEqual(left, expected)

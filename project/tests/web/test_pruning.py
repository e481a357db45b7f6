"""What is past its time goes by itself, little by little."""

import runpy
from datetime import datetime, timedelta
from threading import Thread
from threading import enumerate as threads_alive
from types import SimpleNamespace
from typing import Any
from unittest import mock

import structlog
from sqlalchemy import func, insert, select
from structlog.testing import LogCapture

from project import db
from project.api.audit import service as audit
from project.api.models import AuditEvent, IdempotencyKey, Session
from project.clock import utcnow
from project.commands import server
from project.commands.testing import ROOT
from project.database import connections
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import make_user
from project.web import idempotency, pruning

PAST = datetime(2020, 1, 1)


class PruningTestCase(BaseTestCase):
    """Has ways to add what is past its time, and to count what is there."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["AUDIT_DAYS"] = 30

    def add_events(self, count: int, created_at: datetime = PAST) -> None:
        """Add events."""
        event = {"created_at": created_at, "actor": "user:1", "action": "user.updated"}
        db.session.execute(insert(AuditEvent), [event] * count)
        db.session.commit()

    def add_answers(self, count: int) -> None:
        """Add answers that are stored."""
        with mock.patch.object(idempotency, "utcnow", lambda: PAST):
            db.session.add_all(idempotency.claim_of(str(number), b"") for number in range(count))
        db.session.commit()

    def count(self, table: Any) -> int:
        """Return how many rows a table has."""
        with db.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def prune(self, failing: set[str] | None = None) -> list[Any]:
        """Do a round; return what it has logged."""
        capture = LogCapture()
        every_level = structlog.make_filtering_bound_logger("DEBUG")
        log = structlog.wrap_logger(None, processors=[capture], wrapper_class=every_level)
        with mock.patch.object(pruning, "log", log):
            pruning.prune_some(self.app, set() if failing is None else failing)
        return capture.entries


class RoundTests(PruningTestCase):
    """What one round does."""

    def test_what_is_past_its_time_goes_and_nothing_else(self):
        self.add_answers(2)
        db.session.add(idempotency.claim_of("new", b""))
        user, now = make_user(), utcnow()
        for number, expires_at in enumerate([PAST, now + timedelta(hours=1)]):
            db.session.add(
                Session(
                    token_id=str(number),
                    user_id=user.id,
                    password_version=0,
                    created_at=PAST,
                    expires_at=expires_at,
                )
            )
        self.add_events(2)
        self.add_events(1, now - timedelta(days=29))

        self.assertEqual(self.prune(), [])

        self.assertEqual(self.count(IdempotencyKey), 1)
        self.assertEqual(self.count(Session), 1)
        self.assertEqual(self.count(AuditEvent), 2)  # and that it was pruned

    def test_round_is_small(self):
        self.add_answers(9)

        with mock.patch.multiple(pruning, ROWS_PER_BATCH=2, BATCHES_PER_ROUND=3):
            self.prune()
            self.assertEqual(self.count(IdempotencyKey), 3)
            self.prune()

        self.assertEqual(self.count(IdempotencyKey), 0)

    def test_trail_is_pruned_by_whole_days_and_tells_so_once_for_each(self):
        midnight = datetime(2026, 11, 23)
        for minutes in range(0, 2 * 24 * 60, 100):
            self.add_events(1, midnight - timedelta(days=31) + timedelta(minutes=minutes))
        there = self.count(AuditEvent)

        for hour in range(0, 48, 6):
            now = midnight + timedelta(hours=hour)
            with mock.patch.object(audit, "utcnow", lambda now=now: now):
                self.prune()

        events = audit.list_events(99)
        pruned = [event for event in events if event.action == "audit.pruned"]
        self.assertLess(len(events), there)
        self.assertEqual({event.actor for event in pruned}, {"command:prune"})
        self.assertEqual(
            [event.after for event in pruned],
            [{"older_than": "2026-10-25T00:00:00Z"}, {"older_than": "2026-10-24T00:00:00Z"}],
        )
        self.assertGreaterEqual(min(event.created_at for event in events), datetime(2026, 10, 25))

    def test_nothing_to_remove_leaves_no_event(self):
        self.prune()

        self.assertEqual(self.count(AuditEvent), 0)

    def test_connections_are_closed(self):
        self.add_events(1)

        self.prune()

        self.assertEqual(connections._connections.by_engine, {})

    def test_what_fails_is_logged_once_and_keeps_nothing_else(self):
        self.add_events(1)
        failing: set[str] = set()
        broken = mock.Mock(side_effect=driver_error(1142, "DELETE command denied"))
        with mock.patch.dict(pruning._removals, {"stored answers": broken}):
            [line] = self.prune(failing)
            again = self.prune(failing)
        whole = self.prune(failing)

        self.assertEqual(self.count(AuditEvent), 1)  # that it was pruned
        self.assertEqual((line["event"], line["what"]), ("pruning failed", "stored answers"))
        self.assertEqual(line["log_level"], "warning")
        self.assertIn("DELETE command denied", line["reason"])
        self.assertEqual((again, whole, failing), ([], [], set()))

    def test_database_that_is_away_is_logged_once(self):
        failing: set[str] = set()
        away = mock.Mock(side_effect=driver_error(2003, "Can't connect", statement=None))
        removals = dict.fromkeys(pruning.prunable(), away)
        with mock.patch.dict(pruning._removals, removals):
            logs = [*self.prune(failing), *self.prune(failing)]

        self.assertEqual(len(logs), 1)
        self.assertEqual(away.call_count, 2)  # what comes after would only wait as well


class ThreadTests(PruningTestCase):
    """The thread of a process that serves."""

    def test_thread_prunes_and_holds_nothing(self):
        self.add_answers(1)
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) > 2:
                raise SystemExit

        with mock.patch("project.web.pruning.time.sleep", sleep):
            thread = pruning.start(self.app)
            thread.join()

        self.assertTrue(thread.daemon)
        self.assertEqual(self.count(IdempotencyKey), 0)
        self.assertTrue(all(30 <= seconds <= 90 for seconds in pauses), pauses)

    def test_each_worker_of_gunicorn_has_one(self):
        hook = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["post_worker_init"]

        with mock.patch.object(pruning, "start") as start:
            hook(SimpleNamespace(age=2, wsgi=self.app, set_accept_enabled=None))

        start.assert_called_once_with(self.app)

    def test_development_server_has_one_where_it_serves(self):
        self.app.debug = True
        for reload, in_child, threads in [(False, False, 1), (True, False, 0), (True, True, 1)]:
            with (
                self.subTest(reload=reload, in_child=in_child),
                mock.patch.object(pruning, "start") as start,
                mock.patch.object(server, "run_simple"),
                mock.patch.object(server, "is_running_from_reloader", return_value=in_child),
            ):
                server.run_server(self.app, "127.0.0.1", 1, reload)

                self.assertEqual(start.call_count, threads)

    def test_nothing_else_has_one(self):
        self.assertNotIn("pruning", [thread.name for thread in threads_alive()])


class TogetherTests(PruningTestCase):
    """Several processes that prune at once."""

    def test_each_row_goes_once(self):
        self.add_answers(40)
        self.add_events(40)

        with mock.patch.multiple(pruning, ROWS_PER_BATCH=3):
            threads = [Thread(target=pruning.prune_some, args=(self.app, set())) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.prune()

        self.assertEqual(self.count(IdempotencyKey), 0)
        actions = {event.action for event in audit.list_events(99)}
        self.assertEqual(actions, {"audit.pruned"})

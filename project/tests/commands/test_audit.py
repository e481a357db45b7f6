"""The commands about the trail, as a person or a timer calls them."""

import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from sqlalchemy import insert

from project import db
from project.api.audit import service
from project.api.models import AuditEvent, Session
from project.clock import utcnow
from project.commands import audit as audit_trail
from project.commands.testing import ROOT
from project.tests.audit.base import AuditTestCase
from project.tests.commands.base import CommandTestCase
from project.tests.factories import make_user
from project.web import idempotency, pruning

START = datetime(2026, 1, 1)


class AuditCommandTestCase(AuditTestCase, CommandTestCase):
    """Has a way to make up events."""

    def add(self, *events: dict[str, Any]) -> None:
        """Add events; what is not given is that Ada changed herself, a second later each time."""
        rows = [
            {
                "created_at": START + timedelta(seconds=number),
                "actor": "user:1",
                "action": "user.updated",
                "user_id": 1,
                "before": None,
                "after": None,
                "request_id": None,
                "address": None,
                **event,
            }
            for number, event in enumerate(events)
        ]
        db.session.execute(insert(AuditEvent), rows)
        db.session.commit()

    def show(self, limit: int = 100, **options: Any) -> list[str]:
        """Return the lines that the command prints."""
        return self.printed(audit_trail.show, limit, **options).split("\n")


class AuditTests(AuditCommandTestCase):
    """audit."""

    def test_events_are_lines_and_the_newest_is_the_last(self):
        self.add(
            {"after": '{"count":5}', "actor": "command:seed_db", "user_id": None},
            {
                "before": '{"username":"Ada"}',
                "after": '{"username":"Inés"}',
                "address": "203.0.113.7",
                "request_id": "r-1",
            },
            {"before": '{"username":"Inés"}', "action": "user.removed"},
            {"action": "session.started"},
        )

        self.assertEqual(
            self.show(),
            [
                '2026-01-01T00:00:00Z command:seed_db user.updated - - - -> {"count":5}',
                "2026-01-01T00:00:01Z user:1 user.updated user:1 203.0.113.7 r-1"
                ' {"username":"Ada"} -> {"username":"Inés"}',
                '2026-01-01T00:00:02Z user:1 user.removed user:1 - - {"username":"Inés"} ->',
                "2026-01-01T00:00:03Z user:1 session.started user:1 - -",
                "",
            ],
        )

    def test_options_choose_the_newest_that_fit(self):
        self.add(*({"user_id": number % 2, "actor": f"user:{number % 3}"} for number in range(12)))
        for limit, options, seconds in [
            (2, {}, [10, 11]),
            (3, {"user": "1"}, [7, 9, 11]),
            (99, {"actor": "user:2"}, [2, 5, 8, 11]),
            (99, {"user": "1", "actor": "user:2"}, [5, 11]),
            (99, {"since": "2026-01-01T00:00:09Z"}, [9, 10, 11]),
            (2, {"until": "2026-01-01T00:00:09Z", "action": "user.updated"}, [7, 8]),
            (99, {"action": "user.removed"}, []),
        ]:
            with self.subTest(options):
                lines = self.show(limit, **options)[:-1]

                self.assertEqual([int(line[17:19]) for line in lines], seconds)

    def test_wrong_option_is_named(self):
        for options, reason in [
            ({"user": "x"}, "--user: Must be a user's id."),
            ({"actor": "Ada"}, "--actor: Must be anonymous, or of a form such as user:7"),
            ({"since": "now"}, "--since: Must be a date, or a time such as"),
        ]:
            with self.subTest(options), self.assertRaisesRegex(SystemExit, reason):
                audit_trail.show(1, **options)

    def test_nothing_that_was_sent_steers_the_terminal(self):
        self.add({"address": "\x9b2J", "after": '{"username":"\u202eAda"}'})

        self.assertIn(r'\x9b2J - -> {"username":"\u202eAda"}', self.show()[0])

    def test_reader_that_has_seen_enough_ends_it_quietly(self):
        self.add(*({} for _ in range(5000)))
        script = (
            f"{sys.executable} manage.py audit --limit 5000 | head -n 1; echo ${{PIPESTATUS[0]}}"
        )

        result = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

        self.assertEqual(result.stdout.splitlines()[1:], ["0"])
        self.assertEqual(result.stderr, "")

    def test_command_line_takes_the_options(self):
        self.add({}, {"user_id": 2})

        result = self.manage(
            "audit", "--user", "2", "--actor", "user:1", "--since", "2026-01-01", "--limit", "5"
        )

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "2026-01-01T00:00:01Z user:1 user.updated user:2 - -\n")


class PruneTests(AuditCommandTestCase):
    """prune, and prune_audit as it once was called."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["AUDIT_DAYS"] = 30
        self.now = utcnow()
        self.enterContext(mock.patch.object(audit_trail, "utcnow", return_value=self.now))
        self.enterContext(mock.patch.object(audit_trail, "EVENTS_PER_BATCH", 4))

    def test_events_older_than_the_setting_go(self):
        kept = self.now - timedelta(days=30)
        self.add(
            *({"created_at": kept - timedelta(seconds=number + 1)} for number in range(9)),
            {"created_at": kept},
            {"created_at": self.now},
        )

        printed = self.printed(audit_trail.prune)

        older = f"{kept.isoformat()}Z"
        self.assertEqual(printed.splitlines()[0], f"Events removed: 9, from before {older}.")
        first, second, pruned = self.events()
        self.assertEqual((first.created_at, second.created_at), (kept, self.now))
        self.assertEqual((pruned.actor, pruned.action), ("command:prune", "audit.pruned"))
        self.assertEqual((pruned.user_id, pruned.after), (None, {"older_than": older}))

    def test_nothing_to_remove_leaves_no_event(self):
        self.add({"created_at": self.now})

        self.assertIn("Events removed: 0, ", self.printed(audit_trail.prune))
        self.assertEqual(len(self.events()), 1)

    def test_batch_that_fails_leaves_the_batches_before(self):
        self.add(*({} for _ in range(9)))
        remove, calls = service.remove_older, []

        def remove_once(*arguments: Any) -> int:
            calls.append(arguments)
            if len(calls) > 1:
                raise RuntimeError
            return int(remove(*arguments))

        with mock.patch.object(service, "remove_older", remove_once):
            with self.assertRaises(RuntimeError):
                self.printed(audit_trail.prune)

        self.assertEqual([event.action for event in self.events()][-1], "audit.pruned")
        self.assertEqual(len(self.events()), 9 - 4 + 1)

    def test_all_that_is_past_its_time_goes(self):
        past = datetime(2020, 1, 1)
        with mock.patch.multiple(idempotency, utcnow=lambda: past):
            db.session.add_all(idempotency.claim_of(str(number), b"") for number in range(3))
        user = make_user()
        sign_in = {"user_id": user.id, "password_version": 0, "created_at": past}
        for number, expires_at in enumerate([past, past, self.now + timedelta(hours=1)]):
            db.session.add(Session(token_id=str(number), expires_at=expires_at, **sign_in))
        db.session.commit()

        with mock.patch.object(pruning, "ROWS_PER_BATCH", 2):
            printed = self.printed(audit_trail.prune)

        self.assertIn("\nStored answers removed: 3.\n", printed)
        self.assertIn("\nSign-ins removed: 2.\n", printed)
        self.assertEqual(db.session.query(Session).count(), 1)

    def test_command_line_prunes_by_both_names(self):
        for name in ("prune", "prune_audit"):
            with self.subTest(name):
                self.add({"created_at": self.now - timedelta(days=8)})

                result = self.manage(name, environment={"AUDIT_DAYS": "7"})

                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn("Events removed: 1, ", result.stdout)

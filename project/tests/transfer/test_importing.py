"""Import: what becomes of rows, of the users that are there, and of those who write meanwhile."""

import gc
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Any
from unittest import mock

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from project import db
from project.api.models import User
from project.api.transfer import importing
from project.api.transfer.importing import Outcome, Report, import_users
from project.api.transfer.stream import BadRow, Row
from project.api.users import service
from project.api.users.folding import fold_email
from project.database import thread_connection, write
from project.database.transactions import ATTEMPTS
from project.errors import Invalid, Unavailable
from project.tests.base import BaseTestCase, empty_tables
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user
from project.tests.wire import recorded_commands

THEN = datetime(2020, 1, 1)
NOW = datetime(2026, 11, 23, 15, 12, 58)
SAME = "Nothing to change."


def row(line: int, username: str, email: str, **values: Any) -> Row:
    """Return a row of the import."""
    return Row(line, {"username": username, "email": email, **values})


class ImportTestCase(BaseTestCase):
    """Imports rows, at a time that stands still."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(importing, "utcnow", return_value=NOW))

    def report(self, *rows: Row | BadRow, dry_run: bool = False, match_id: bool = False) -> Report:
        report = Report()
        for batch in import_users(rows, dry_run, match_id=match_id):
            report.add(batch)
        return report

    def users(self) -> list[tuple[Any, ...]]:
        db.session.remove()
        users = db.session.scalars(select(User).order_by(User.id)).all()
        rows = [
            (u.id, u.username, u.email, u.active, u.created_at, u.updated_at, u.version)
            for u in users
        ]
        db.session.remove()
        return rows


class ImportTests(ImportTestCase):
    """What becomes of each row."""

    def test_new_users_get_ids_in_the_order_of_the_rows(self):
        times = {"created_at": "2019-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z"}

        report = self.report(
            row(2, "Ada", "ada@example.com"),
            row(3, "Bo", "BO@example.com", active="true", **times),
            row(4, "Cy", "cy@example.com", created_at="2020-01-01T00:00:00Z"),
        )

        self.assertEqual(report, Report(created=3))
        self.assertEqual(
            self.users(),
            [
                (1, "Ada", "ada@example.com", False, NOW, NOW, 1),
                (2, "Bo", "BO@example.com", True, datetime(2019, 1, 1), THEN, 1),
                (3, "Cy", "cy@example.com", False, THEN, THEN, 1),
            ],
        )
        self.assertEqual(service.list_users(1, sort="email")[0].email_folded, "ada@example.com")
        self.assertEqual(service.list_users(3, sort="username")[1].username_folded, "bo")

    def test_known_mailbox_is_changed_or_passed_over(self):
        make_user(username="Ada", email="ada@example.com", created_at=THEN, active=True)
        make_user(username="Bo", email="bo@example.com", created_at=THEN)
        make_user(username="𝔘 \\\"'", email="zoë@bücher.example", created_at=THEN)

        report = self.report(
            row(2, "Ada L", "ADA@example.com", created_at="2019-01-01T00:00:00Z"),
            row(3, "Bo", "bo@example.com", active=True),
            row(4, "𝔘 \\\"'", "ZOË@xn--bcher-kva.example"),
            row(5, "Bo", "bo@example.com"),
        )

        self.assertEqual(
            report.rows,
            [
                Outcome(2, "updated", "Changed: username, email."),
                Outcome(3, "updated", "Changed: active."),
                Outcome(4, "updated", "Changed: email."),
                Outcome(5, "skipped", SAME),
            ],
        )
        self.assertEqual((report.created, report.updated, report.skipped), (0, 3, 1))
        self.assertEqual(
            self.users(),
            [
                (1, "Ada L", "ADA@example.com", True, THEN, NOW, 2),
                (2, "Bo", "bo@example.com", True, THEN, NOW, 2),
                (3, "𝔘 \\\"'", "ZOË@xn--bcher-kva.example", False, THEN, NOW, 2),
            ],
        )
        self.assertEqual(service.list_users(1, sort="username")[0].username_folded, "ada l")

    def test_later_row_of_a_mailbox_changes_what_the_earlier_has_made(self):
        rows = [
            row(2, "Ada", "ada@example.com", created_at="2020-01-01T00:00:00Z"),
            row(3, "Ada L", "Ada@example.com", created_at="2019-01-01T00:00:00Z"),
            row(4, "Ada L", "Ada@example.com"),
            row(5, "A", "Ada@example.com"),
        ]
        expected = [(1, "A", "Ada@example.com", False, THEN, NOW, 3)]
        for size in (1, 2, 9):
            with self.subTest(size), mock.patch.object(importing, "ROWS_PER_BATCH", size):
                self.recreate()

                report = self.report(*rows)

                self.assertEqual((report.created, report.updated, report.skipped), (1, 2, 1))
                self.assertEqual(report.rows[0], Outcome(3, "updated", "Changed: username, email."))
                self.assertEqual(self.users(), expected)

    def recreate(self) -> None:
        db.drop_all(None)
        db.create_all(None)

    def test_batch_is_saved_before_any_error_of_the_next_is_raised(self):
        def rows() -> Iterator[Row]:
            yield row(2, "Ada", "ada@example.com")
            raise KeyboardInterrupt

        real = importing._write

        def slow(*arguments: Any) -> Any:
            time.sleep(0.2)
            return real(*arguments)

        with mock.patch.multiple(importing, ROWS_PER_BATCH=1, _write=slow):
            with self.assertRaises(KeyboardInterrupt):
                list(import_users(rows()))

            self.assertEqual(len(self.users()), 1)

    def test_import_that_nobody_goes_on_with_ends(self):
        rows = [row(line, "u", f"u{line}@example.com") for line in range(2, 6)]
        with mock.patch.object(importing, "ROWS_PER_BATCH", 1):
            batches = import_users(rows)
            next(batches)
            cycle: list[Any] = [batches]
            cycle.append(cycle)  # so that the garbage collector ends it
            del batches, cycle
            gc.collect()

        self.assertEqual(len(self.users()), 1)

    def test_bad_row_stops_no_other(self):
        report = self.report(
            BadRow(2, "Is not valid UTF-8."),
            row(3, "Ada", "ada@example.com"),
            row(4, "", "nobody"),
            Row(5, {"username": 7}),
            row(6, "Bo", "bo@example.com"),
        )

        self.assertEqual(
            report,
            Report(
                created=2,
                failed=3,
                rows=[
                    Outcome(2, "failed", "Is not valid UTF-8."),
                    Outcome(
                        4,
                        "failed",
                        "username: Must not be blank. email: “nobody” was refused. An email"
                        " address must have an @-sign.",
                    ),
                    Outcome(
                        5,
                        "failed",
                        "username: “7” is no text. email: Is missing.",
                    ),
                ],
            ),
        )

    def test_administrator_is_not_changed(self):
        make_user(username="Boss", email="boss@example.com", active=True, role="admin")
        before = self.users()
        rows = [
            row(2, "Boss", "boss@example.com"),
            row(3, "Boss", "boss@example.com", active="false", role="viewer"),
            row(4, "Boss", "BOSS@example.com"),
            row(5, "Boss", "boss@example.com", active="true"),
        ]
        for dry_run in (True, False):
            with self.subTest(dry_run):
                report = self.report(*rows, dry_run=dry_run)

                self.assertEqual((report.skipped, report.failed), (2, 2))
                reason = "Is an administrator; an import cannot change one."
                self.assertEqual(report.rows[1:3], [Outcome(n, "failed", reason) for n in (3, 4)])
                self.assertEqual(self.users(), before)

    def test_administrator_whom_a_row_has_made_is_not_changed(self):
        rows = [
            row(2, "Ada", "ada@example.com", role="admin"),
            row(3, "Ada", "ada@example.com"),
            row(4, "Ada", "ada@example.com", role=None),
        ]
        reasons = [SAME, "Is an administrator; an import cannot change one."]
        for size in (1, 9):
            with self.subTest(size), mock.patch.object(importing, "ROWS_PER_BATCH", size):
                empty_tables()
                rehearsed, report = self.report(*rows, dry_run=True), self.report(*rows)

                self.assertEqual(rehearsed, report)
                self.assertEqual([one.reason for one in report.rows], reasons)
                self.assertEqual(all_users()[0].role, "admin")

    def test_row_gives_no_password(self):
        report = self.report(row(2, "Ä", "ä@example.com", password="x"))

        self.assertEqual(report.created, 1)
        self.assertIsNone(db.session.scalars(select(User)).one().password_hash)

    def test_row_gives_and_takes_a_role(self):
        made = row(2, "Ada", "ada@example.com", role="editor")
        demoted = row(3, "Ada", "ada@example.com", role=None)
        unsaid = row(4, "Ada", "ada@example.com")
        for rows, role, reason in [
            ([made], "editor", None),
            ([unsaid], "editor", "Nothing to change."),
            ([demoted], None, "Changed: role."),
            ([made, demoted, made], "editor", "Changed: role."),
        ]:
            with self.subTest(role, rows=rows):
                rehearsed, report = self.report(*rows, dry_run=True), self.report(*rows)

                self.assertEqual(rehearsed, report)
                self.assertEqual(all_users()[0].role, role)
                self.assertEqual([one.reason for one in report.rows[-1:]], [reason] * bool(reason))

    def test_nothing_is_imported_from_nothing(self):
        self.assertEqual(self.report(), Report())
        self.assertEqual(self.report(BadRow(1, "Is not valid UTF-8.")).failed, 1)

    def test_report_holds_the_first_rows_and_counts_the_others(self):
        with mock.patch.object(importing, "MAX_REPORTED_ROWS", 3):
            with mock.patch.object(importing, "ROWS_PER_BATCH", 2):
                report = self.report(*(BadRow(line, "x") for line in range(1, 8)))

        self.assertEqual([outcome.line for outcome in report.rows], [1, 2, 3])
        self.assertEqual((report.failed, report.rows_omitted), (7, 4))

    def test_run_again_changes_nothing(self):
        rows = [row(number, f"u{number}", f"u{number}@example.com") for number in range(2, 30)]
        self.report(*rows[:11])

        again = self.report(*rows)
        users = self.users()

        self.assertEqual((again.created, again.skipped), (17, 11))
        self.assertEqual([user[0] for user in users], list(range(1, 29)))
        self.assertEqual(self.report(*rows).skipped, 28)
        self.assertEqual(self.users(), users)

    def test_batch_is_a_few_statements_however_many_rows_it_has(self):
        for number in range(50):
            make_user(username="old", email=f"old{number}@example.com")
        rows = [
            row(number, "new", f"{kind}{number}@example.com")
            for number in range(50)
            for kind in ("old", "new")
        ]
        self.report(row(1, "x", "x@example.com"))  # the connections are there
        with recorded_commands() as commands:
            report = self.report(*rows)

        self.assertEqual((report.created, report.updated), (50, 50))
        # The one INSERT of the audit trail is the import's, not the batch's.
        verbs = [command.split()[0] for command in commands if "audit_events" not in command]
        if db.engine.dialect.name == "sqlite":  # which runs its own INSERT a row, in one call
            verbs = [verb for verb, _repeated in groupby(verbs)]
        self.assertEqual(
            [verb for verb in verbs if verb not in {"BEGIN", "COMMIT", "ROLLBACK"}],
            # The second SELECT and INSERT are for the words of new users, the third for the others.
            ["SELECT", "INSERT", "SELECT", "INSERT", "UPDATE", "SELECT", "INSERT"],
        )

    def test_no_transaction_is_open_between_batches(self):
        with mock.patch.object(importing, "ROWS_PER_BATCH", 1):
            for _ in import_users([row(1, "a", "a@b.cc"), row(2, "b", "b@b.cc")]):
                self.assertFalse(thread_connection(db.engine).in_transaction())


class MatchIdTests(ImportTestCase):
    """Rows find their users by id, and may give them another mailbox."""

    UNKNOWN = "id: No user has this id."
    TAKEN = "email: Another user has this address."
    NO_ID = "id: Must be a positive integer."

    def setUp(self) -> None:
        super().setUp()
        for name in "abc":
            make_user(username=name, email=f"{name}@example.com", created_at=THEN)

    def check(self, rows: list[Row], reasons: list[tuple[str, str]], emails: list[str]) -> None:
        """Import the rows, in batches of each size, and rehearse it first.

        :param reasons: result and reason of each row that is not created.
        :param emails: of all users afterwards, in the order of their ids.
        """
        expected = [row.email for row in all_users()]
        for size in (1, 2, 99):
            with self.subTest(size), mock.patch.object(importing, "ROWS_PER_BATCH", size):
                rehearsed = self.report(*rows, dry_run=True, match_id=True)
                self.assertEqual([(one.result, one.reason) for one in rehearsed.rows], reasons)
                self.assertEqual([row.email for row in all_users()], expected)
        for size in (2, 99):
            with self.subTest(size), mock.patch.object(importing, "ROWS_PER_BATCH", size):
                self.restore()
                self.assertEqual(self.report(*rows, match_id=True), rehearsed)
                users = all_users()
                self.assertEqual([user.email for user in users], emails)
                for user in users:
                    self.assertEqual(user.email_folded, fold_email(user.email))

    def restore(self) -> None:
        """Let there be the three users again, and no other."""
        db.session.remove()
        empty_tables()
        for name in "abc":
            make_user(username=name, email=f"{name}@example.com", created_at=THEN)

    def test_address_and_name_of_the_user_with_the_id_are_changed(self):
        rows = [
            row(2, "A", "New@Example.com", id="1"),
            row(3, "b", "b@example.com", id=2),
            row(4, "c", "ć@example.com", id="0003", active="true"),
        ]

        self.check(
            rows,
            [
                ("updated", "Changed: username, email."),
                ("skipped", SAME),
                ("updated", "Changed: email, active."),
            ],
            ["New@Example.com", "b@example.com", "ć@example.com"],
        )
        first = self.users()[0]
        self.assertEqual(first, (1, "A", "New@Example.com", False, THEN, NOW, 2))
        self.assertEqual(service.list_users(1, sort="username")[0].username_folded, "a")

    def test_row_without_an_id_is_matched_by_its_mailbox(self):
        self.check(
            [
                row(2, "B", "B@example.com"),
                row(3, "d", "d@example.com"),
                row(4, "D", "d@e.cc", id=3),
            ],
            [("updated", "Changed: username, email."), ("updated", "Changed: username, email.")],
            ["a@example.com", "B@example.com", "d@e.cc", "d@example.com"],
        )

    def test_id_that_nobody_has_or_that_is_none_fails_its_row_alone(self):
        ids = ["4", "9" * 10, "9" * 5000, 4, 2**62]
        wrong = ["0", "-1", "1.0", "0x1", "x", "", " 1", "１", None, True, 1.0, [1], 0, -1]
        rows = [
            *(row(line, "x", f"x{line}@example.com", id=id) for line, id in enumerate(ids + wrong)),
            row(99, "d", "d@example.com"),
            row(100, "d", "e@example.com", id="4"),  # which the row before has, but not by the file
        ]

        self.check(
            rows,
            [("failed", self.UNKNOWN)] * len(ids)
            + [("failed", self.NO_ID)] * len(wrong)
            + [("failed", self.UNKNOWN)],
            ["a@example.com", "b@example.com", "c@example.com", "d@example.com"],
        )

    def test_address_that_another_has_fails_its_row_alone(self):
        rows = [
            row(2, "new", "new@example.com"),
            row(3, "a", "B@example.com", id="1"),
            row(4, "a", "new@example.com", id="1"),
            row(5, "C", "c@example.com", id="3"),
        ]

        self.check(
            rows,
            [
                ("failed", self.TAKEN),
                ("failed", self.TAKEN),
                ("updated", "Changed: username."),
            ],
            ["a@example.com", "b@example.com", "c@example.com", "new@example.com"],
        )

    def test_address_that_an_earlier_row_has_freed_may_be_taken(self):
        changed = ("updated", "Changed: email.")
        for name, moves, reasons, emails in [
            ("chain", "3d 2c 1b", [changed] * 3, "bcd"),
            ("too early", "1b 2c 3x", [("failed", self.TAKEN)] * 2 + [changed], "abx"),
            ("swap over a third", "1x 2a 1b", [changed] * 3, "bac"),
            ("round", "1x 3a 2c 1b", [changed] * 4, "bca"),
            ("there and back", "1x 1a", [changed] * 2, "abc"),
            ("taken by a new one", "1x -a 2y -b", [changed] * 2, "xycab"),
            ("new one stands in the way", "1x -a 1a", [changed, ("failed", self.TAKEN)], "xbca"),
        ]:
            rows = []
            for line, move in enumerate(moves.split()):
                user, letter = move[0], move[1]
                username = "n" if user == "-" else "abc"[int(user) - 1]
                values = {} if user == "-" else {"id": user}
                rows.append(row(line, username, f"{letter}@example.com", **values))
            with self.subTest(name):
                self.restore()
                self.check(rows, reasons, [f"{letter}@example.com" for letter in emails])

    def test_administrator_is_not_changed(self):
        db.session.query(User).filter_by(id=1).one().role = "admin"
        db.session.commit()
        before = self.users()

        for dry_run in (True, False):
            report = self.report(
                row(2, "a", "x@example.com", id="1"), match_id=True, dry_run=dry_run
            )

            self.assertEqual(
                report.rows[0].reason, "Is an administrator; an import cannot change one."
            )
            self.assertEqual(self.users(), before)

    def test_id_is_passed_over_otherwise(self):
        for user_id in ("1", "x", None):
            self.assertEqual(self.report(row(2, "a", "a@example.com", id=user_id)).skipped, 1)
        self.assertEqual(self.report(row(2, "a", "x@example.com", id="1")).created, 1)

    def test_batch_is_some_selects_and_two_updates_however_many_move(self):
        rows = [row(n, name, f"{name}@e.cc", id=n) for n, name in enumerate("abc", 1)]
        self.report(match_id=True)  # the connections are there
        with recorded_commands() as commands:
            report = self.report(*rows, match_id=True)

        self.assertEqual(report.updated, 3)
        verbs = [command.split()[0] for command in commands if "audit_events" not in command]
        self.assertEqual(
            [verb for verb in verbs if verb not in {"BEGIN", "COMMIT", "ROLLBACK"}],
            # The first asks for the last id; the others after the UPDATEs change the words.
            ["SELECT", "SELECT", "SELECT", "UPDATE", "UPDATE", "SELECT", "DELETE", "INSERT"],
        )


class RaceTests(ImportTestCase):
    """Others write between the SELECT and the write of a batch.

    SQLite has one writer at a time: there they write in our own transaction, and what they wrote
    goes when it is begun again.
    """

    @contextmanager
    def meanwhile(self, statement: str, times: int = 1):
        """Run a statement after each of the first SELECTs of a batch."""
        ran: list[str] = []

        def interfering(*arguments: Any) -> Any:
            result = write(*arguments)
            if len(ran) < times:
                ran.append(statement)
                if db.engine.dialect.name == "sqlite":
                    db.session.connection().exec_driver_sql(statement)
                else:
                    with db.engines["maintenance"].begin() as other:
                        other.exec_driver_sql(statement)
            return result

        with mock.patch.object(importing, "write", interfering):
            yield
        self.assertEqual(len(ran), times)

    def expected(self, theirs: Any, ours: Any) -> Any:
        """Return the result that keeps a concurrent change, or on SQLite the one that does not."""
        return ours if db.engine.dialect.name == "sqlite" else theirs

    def test_user_that_another_adds_is_found_at_the_second_try(self):
        theirs = (
            "INSERT INTO users (username, email, email_folded, created_at, updated_at) VALUES"
            " ('x', 'bo@example.com', 'bo@example.com', '2020-01-01 00:00:00',"
            " '2020-01-01 00:00:00')"
        )

        with self.meanwhile(theirs):
            report = self.report(row(2, "Ada", "ada@example.com"), row(3, "Bo", "bo@example.com"))

        self.assertEqual((report.created, report.updated), self.expected((1, 1), (2, 0)))
        users = {user[2]: (user[1], user[6]) for user in self.users()}
        self.assertEqual(
            users,
            {"ada@example.com": ("Ada", 1), "bo@example.com": ("Bo", self.expected(2, 1))},
        )

    def test_user_that_another_changes_is_changed_at_the_second_try(self):
        make_user(username="Bo", email="bo@example.com", created_at=THEN)

        with self.meanwhile("UPDATE users SET active = 1, version = version + 1"):
            report = self.report(row(2, "Ada", "ada@example.com"), row(3, "B", "bo@example.com"))

        self.assertEqual((report.created, report.updated), (1, 1))
        users = {user[2]: (user[1], user[3], user[6]) for user in self.users()}
        changed = ("B", *self.expected((True, 3), (False, 2)))
        self.assertEqual(users, {"ada@example.com": ("Ada", False, 1), "bo@example.com": changed})

    def test_user_that_another_removes_is_created_at_the_second_try(self):
        make_user(username="Bo", email="bo@example.com", created_at=THEN)

        with self.meanwhile("DELETE FROM users"):
            report = self.report(row(3, "B", "bo@example.com"))

        self.assertEqual((report.created, report.updated), self.expected((1, 0), (0, 1)))
        self.assertEqual([user[1:3] for user in self.users()], [("B", "bo@example.com")])

    def test_address_that_another_takes_fails_its_row_at_the_second_try(self):
        make_user(username="Bo", email="bo@example.com", created_at=THEN)
        make_user(username="Cy", email="cy@example.com", created_at=THEN)

        theirs = "UPDATE users SET email = 'x@b.cc', email_folded = 'x@b.cc' WHERE id = 2"
        with self.meanwhile(theirs):
            report = self.report(row(2, "Bo", "x@b.cc", id="1"), match_id=True)

        self.assertEqual((report.updated, report.failed), self.expected((0, 1), (1, 0)))
        users = [user[2] for user in self.users()]
        self.assertEqual(
            users, self.expected(["bo@example.com", "x@b.cc"], ["x@b.cc", "cy@example.com"])
        )

    def test_import_that_is_always_overtaken_gives_up_and_can_be_sent_again(self):
        make_user(username="Bo", email="bo@example.com", created_at=THEN)

        with self.meanwhile("UPDATE users SET version = version + 1", ATTEMPTS):
            with self.assertRaises(Unavailable):
                self.report(row(3, "B", "bo@example.com"))

        self.assertEqual([user[1] for user in self.users()], ["Bo"])


class FailureTests(ImportTestCase):
    """What ends an import before its rows do."""

    ROWS = [row(number, "u", f"u{number}@example.com") for number in range(2, 12)]

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(importing, "ROWS_PER_BATCH", 4))

    def test_data_that_is_cut_off_tells_what_was_taken(self):
        def rows(count: int):
            yield from self.ROWS[:count]
            raise Invalid("The data is cut off.")

        for dry_run, count, taken in [
            (True, 10, "The rows up to line 9 would be imported."),
            (False, 3, "No row was imported."),
            (False, 10, "The rows up to line 9 were imported."),
        ]:
            with self.subTest(taken), self.assertRaises(Invalid) as caught:
                list(import_users(rows(count), dry_run))
            self.assertEqual(caught.exception.message, f"The data is cut off. {taken}")
        self.assertEqual(len(self.users()), 8)

    def test_database_that_goes_away_is_reported_with_the_imported_rows(self):
        for error in [driver_error(2013, "Lost", lost=True), driver_error(1205, "Waited too long")]:
            with self.subTest(error.orig):
                batches = import_users(self.ROWS)
                next(batches)
                with mock.patch.object(db.session, "execute", side_effect=error):
                    with self.assertRaises(Unavailable) as caught:
                        next(batches)
                self.assertEqual(
                    caught.exception.message,
                    "The database is unavailable. The rows up to line 5 were imported."
                    " Send the whole file again: what is already there is skipped.",
                )
        self.assertEqual(len(self.users()), 4)

    def test_unknown_outcome_of_a_batch_may_be_sent_again_as_well(self):
        lost = driver_error(2013, "Lost", lost=True)
        with mock.patch.object(db.session(), "commit", side_effect=lost):
            with self.assertRaises(Unavailable) as caught:
                self.report(*self.ROWS)

        self.assertIn("unavailable. Send the whole file again", caught.exception.message)

    def test_our_own_mistakes_go_through(self):
        with mock.patch.object(db.session, "execute", side_effect=driver_error(1054, "Column")):
            with self.assertRaises(DBAPIError):
                self.report(*self.ROWS)

    def test_disk_that_is_full_ends_a_dry_run(self):
        def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = sqlite_connect(*arguments, **options)
            made.execute("PRAGMA max_page_count = 4")
            return made

        sqlite_connect = sqlite3.connect
        rows = [row(number, "u" * 100, f"u{number}@example.com") for number in range(500)]
        with mock.patch.object(sqlite3, "connect", connect):
            with self.assertRaisesRegex(
                Unavailable, "There is not enough disk space for a dry run"
            ):
                self.report(*rows, dry_run=True)


class DryRunTests(ImportTestCase):
    """A dry run tells what the import does, and does nothing."""

    def test_report_is_that_of_the_import(self):
        make_user(username="Ada", email="ada@example.com")
        make_user(username="Bo", email="bo@example.com", active=True)
        rows: list[Row | BadRow] = [
            row(2, "Ada", "ada@example.com"),
            row(3, "B", "BO@example.com", active="false"),
            BadRow(4, "Is not valid UTF-8."),
            row(5, "new", "new@example.com"),
            row(6, "new", "new@example.com", active="true"),
            row(7, "B", "BO@example.com"),
            row(8, "Bo", "bo@example.com"),
            row(9, "new", "NEW@example.com", active="true"),
            row(10, "new", "nobody"),
        ]
        before = self.users()
        for size in (1, 2, 4, 99):
            with self.subTest(size), mock.patch.object(importing, "ROWS_PER_BATCH", size):
                rehearsed = self.report(*rows, dry_run=True)

                self.assertEqual(self.users(), before)
        real = self.report(*rows)

        self.assertEqual(rehearsed, real)
        self.assertEqual((real.created, real.updated, real.skipped, real.failed), (1, 4, 2, 2))

    def test_live_table_is_only_read_and_by_no_transaction(self):
        self.report(row(1, "x", "x@example.com"), dry_run=True)  # the connections are there
        with recorded_commands() as commands:
            self.report(row(2, "Ada", "ada@example.com"), dry_run=True)

        self.assertEqual([command.split()[0] for command in commands], ["SELECT"])

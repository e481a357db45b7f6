"""The commands: their bodies, and manage.py as a person calls it."""

import os
import pty
from unittest import mock

import flask_migrate
from sqlalchemy import inspect, text

from project import db
from project.api.users import service
from project.commands import database
from project.tests.base import head_revision
from project.tests.commands.base import CommandTestCase
from project.tests.factories import all_users, make_user


class SeedDbTests(CommandTestCase):
    """seed_db."""

    def test_seed_db_adds_the_first_two_users_once(self):
        first = self.printed(database.seed_db)
        second = self.printed(database.seed_db)

        users = [(row.username, row.email) for row in all_users()]
        self.assertEqual(users, [("cnych", "qikqiak@gmail.com"), ("chyang", "icnych@gmail.com")])
        self.assertEqual(first, "qikqiak@gmail.com was added!\nicnych@gmail.com was added!\n")
        self.assertEqual(
            second, "qikqiak@gmail.com already exists.\nicnych@gmail.com already exists.\n"
        )

    def test_seed_db_with_count_adds_that_many_each_time(self):
        with mock.patch.object(database, "USERS_PER_BATCH", 10):
            for total in [25, 50]:
                printed = self.printed(database.seed_db, 25)

                self.assertRegex(printed, r"^Added 25 users in [\d.]+ s \([\d,]+ users/s\)\.\n$")
                self.assertEqual(len(service.list_users(999)), total)

    def test_seed_db_with_wrong_count_is_refused(self):
        for count in ["0", "-1", "x", "1.5"]:
            with self.subTest(count):
                result = self.manage("seed_db", f"--count={count}")

                self.assertEqual(result.returncode, 2)
                self.assertIn("argument --count: invalid", result.stderr)


class RecreateDbTests(CommandTestCase):
    """recreate_db."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(flask_migrate.downgrade, revision="base")

    def test_recreate_db_makes_an_empty_database_by_the_migrations(self):
        with db.engine.begin() as connection:
            connection.execute(text("CREATE TABLE left_over (id INTEGER PRIMARY KEY)"))

        printed = self.printed(database.recreate_db)

        self.assertEqual(printed, f"The database is at revision {head_revision()}.\n")
        self.assertEqual(
            set(inspect(db.engine).get_table_names()), {"alembic_version", *db.metadata.tables}
        )

    def test_recreate_db_twice_is_no_error(self):
        self.printed(database.recreate_db)
        self.printed(database.recreate_db)

        self.assertEqual(database.current_revision(), head_revision())

    def test_recreate_db_with_yes_deletes_users_without_asking(self):
        make_user()

        self.printed(database.recreate_db, True)

        self.assertFalse(service.has_users())

    def test_recreate_db_without_a_terminal_keeps_users(self):
        make_user()

        result = self.manage("recreate_db")

        self.assertEqual(result.returncode, 1)
        self.assertIn("contains users. To delete them, use --yes.", result.stderr)
        self.assertTrue(service.has_users())

    def test_recreate_db_on_a_terminal_does_what_the_person_answers(self):
        make_user()
        for answer, code, kept in [("n", 1, True), ("", 1, True), ("y", 0, False)]:
            with self.subTest(answer):
                keyboard, terminal = pty.openpty()
                os.write(keyboard, f"{answer}\n".encode())
                result = self.manage("recreate_db", stdin=terminal)
                os.close(terminal)
                os.close(keyboard)

                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn("contains users. Delete them all? [y/N]", result.stdout)
                self.assertEqual(service.has_users(), kept)

    def test_recreate_db_question_is_asked_in_the_body(self):
        make_user()
        with mock.patch("sys.stdin.isatty", return_value=True, create=True):
            with mock.patch("builtins.input", return_value="no"):
                with self.assertRaisesRegex(SystemExit, "Nothing was changed."):
                    database.recreate_db()
        with mock.patch("sys.stdin.isatty", return_value=False, create=True):
            with self.assertRaisesRegex(SystemExit, "--yes"):
                database.recreate_db()

        self.assertTrue(service.has_users())


class DatabaseCommandTests(CommandTestCase):
    """db upgrade, downgrade, current, history, migrate."""

    def setUp(self) -> None:
        super().setUp()
        db.drop_all()
        self.addCleanup(flask_migrate.downgrade, revision="base")

    def test_upgrade_and_downgrade_say_where_they_got(self):
        self.assertEqual(
            self.printed(database.upgrade), f"The database is at revision {head_revision()}.\n"
        )
        self.assertEqual(
            self.printed(database.downgrade, "base"), "The database is at revision base.\n"
        )

    def test_db_commands_work_from_the_command_line(self):
        for arguments, printed in [
            (["upgrade"], f"The database is at revision {head_revision()}."),
            (["current"], f"{head_revision()} (head)"),
            (["history"], "<base> -> 0001, Create the users table."),
            (["downgrade", "base"], "The database is at revision base."),
            (["upgrade", "0001"], "The database is at revision 0001."),
        ]:
            with self.subTest(arguments):
                result = self.manage("db", *arguments)

                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(printed, result.stdout)

    def test_upgrade_of_a_database_that_lacks_tables_names_them(self):
        self.printed(database.upgrade)
        tables = [*reversed(db.metadata.sorted_tables)]
        for lost in [tables[:1], tables[1:]]:
            with db.engine.begin() as connection:
                for table in lost:
                    table.drop(connection)

            result = self.manage("db", "upgrade")

            there = inspect(db.engine).get_table_names()
            lacking = ", ".join(sorted(db.metadata.tables.keys() - set(there)))
            self.assertEqual(result.returncode, 1)
            self.assertEqual(
                result.stderr,
                f"The database is marked as revision {head_revision()}, but these tables are"
                f" missing: {lacking}. Run `manage.py recreate_db`, then restore a backup.\n",
            )
            self.assertEqual(result.stdout, "")
        self.printed(database.recreate_db)  # what it says helps, and so does the cleanup

    def test_upgrade_to_unknown_revision_fails(self):
        result = self.manage("db", "upgrade", "nowhere")

        self.assertEqual(result.returncode, 1)
        self.assertIn("nowhere", result.stderr)
        self.assertNotIn("Traceback", result.stderr)

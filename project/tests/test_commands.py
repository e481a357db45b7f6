"""The commands: their bodies, and manage.py as a person calls it."""

import os
import pty
import socket
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import flask_migrate
from sqlalchemy import inspect, text

from project import commands, db
from project.api.users import service
from project.commands import ROOT
from project.tests.base import BaseTestCase, head_revision
from project.tests.factories import all_users, make_user
from project.web import pruning


class CommandTestCase(BaseTestCase):
    """Runs command bodies, and manage.py as a process, on the test database."""

    def printed(self, command, *arguments) -> str:
        """Return what a command's body prints."""
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()):
            command(*arguments)
        return output.getvalue()

    def environment(self, **settings: str) -> dict[str, str]:
        """Return an environment where the test database is the served one."""
        return {
            **os.environ,
            "APP_SETTINGS": "project.config.DevelopmentConfig",
            "DATABASE_URL": self.app.config["SQLALCHEMY_DATABASE_URI"],
            "DATABASE_URL_FILE": "",  # an empty one counts as unset
            **{f"{name}_FILE": "" for name in settings},
            **settings,
        }

    def manage(self, *arguments: str, **options) -> subprocess.CompletedProcess[Any]:
        """Run manage.py on the test database."""
        environment = self.environment(**options.pop("environment", {}))
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            timeout=120,
            **options,
        )


class SeedDbTests(CommandTestCase):
    """seed_db."""

    def test_seed_db_adds_the_first_two_users_once(self):
        first = self.printed(commands.seed_db)
        second = self.printed(commands.seed_db)

        users = [(row.username, row.email) for row in all_users()]
        self.assertEqual(users, [("cnych", "qikqiak@gmail.com"), ("chyang", "icnych@gmail.com")])
        self.assertEqual(first, "qikqiak@gmail.com was added!\nicnych@gmail.com was added!\n")
        self.assertEqual(
            second, "qikqiak@gmail.com is already there.\nicnych@gmail.com is already there.\n"
        )

    def test_seed_db_with_count_adds_that_many_each_time(self):
        with mock.patch.object(commands, "USERS_PER_BATCH", 10):
            for total in [25, 50]:
                printed = self.printed(commands.seed_db, 25)

                self.assertRegex(printed, r"^Added 25 users in [\d.]+ s \([\d,]+ users/s\)\.\n$")
                self.assertEqual(len(service.list_users(999)), total)

    def test_seed_db_shows_its_progress(self):
        result = self.manage("seed_db", "--count", "12000")

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("12.0k/12.0k", result.stderr)
        self.assertIn("Added 12,000 users in ", result.stdout)

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

        printed = self.printed(commands.recreate_db)

        self.assertEqual(printed, f"The database is at revision {head_revision()}.\n")
        self.assertEqual(
            set(inspect(db.engine).get_table_names()), {"alembic_version", *db.metadata.tables}
        )

    def test_recreate_db_twice_is_no_error(self):
        self.printed(commands.recreate_db)
        self.printed(commands.recreate_db)

        self.assertEqual(commands.current_revision(), head_revision())

    def test_recreate_db_with_yes_deletes_users_without_asking(self):
        make_user()

        self.printed(commands.recreate_db, True)

        self.assertFalse(service.has_users())

    def test_recreate_db_without_a_terminal_keeps_users(self):
        make_user()

        result = self.manage("recreate_db")

        self.assertEqual(result.returncode, 1)
        self.assertIn("holds users. To delete them, say --yes.", result.stderr)
        self.assertTrue(service.has_users())

    def test_recreate_db_on_a_terminal_does_what_it_is_told(self):
        make_user()
        for answer, code, kept in [("n", 1, True), ("", 1, True), ("y", 0, False)]:
            with self.subTest(answer):
                keyboard, terminal = pty.openpty()
                os.write(keyboard, f"{answer}\n".encode())
                result = self.manage("recreate_db", stdin=terminal)
                os.close(terminal)
                os.close(keyboard)

                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn("holds users. Delete them all? [y/N]", result.stdout)
                self.assertEqual(service.has_users(), kept)

    def test_recreate_db_question_is_asked_in_the_body(self):
        make_user()
        with mock.patch("sys.stdin.isatty", return_value=True, create=True):
            with mock.patch("builtins.input", return_value="no"):
                with self.assertRaisesRegex(SystemExit, "Nothing was changed."):
                    commands.recreate_db()
        with mock.patch("sys.stdin.isatty", return_value=False, create=True):
            with self.assertRaisesRegex(SystemExit, "--yes"):
                commands.recreate_db()

        self.assertTrue(service.has_users())


class DatabaseCommandTests(CommandTestCase):
    """db upgrade, downgrade, current, history, migrate."""

    def setUp(self) -> None:
        super().setUp()
        db.drop_all()
        self.addCleanup(flask_migrate.downgrade, revision="base")

    def test_upgrade_and_downgrade_say_where_they_got(self):
        self.assertEqual(
            self.printed(commands.upgrade), f"The database is at revision {head_revision()}.\n"
        )
        self.assertEqual(
            self.printed(commands.downgrade, "base"), "The database is at revision base.\n"
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
        self.printed(commands.upgrade)
        names = [table.name for table in reversed(db.metadata.sorted_tables)]
        for lost in [[names[0]], names[1:]]:
            with db.engine.begin() as connection:
                for name in lost:
                    connection.execute(text(f"DROP TABLE {name}"))

            result = self.manage("db", "upgrade")

            lacking = ", ".join(sorted(set(names) - set(inspect(db.engine).get_table_names())))
            self.assertEqual(result.returncode, 1)
            self.assertEqual(
                result.stderr,
                f"The database says that it is at revision {head_revision()} and lacks {lacking}."
                " Make it anew by `manage.py recreate_db`, then restore a backup.\n",
            )
            self.assertEqual(result.stdout, "")
        self.printed(commands.recreate_db)  # what it says helps, and so does the cleanup

    def test_upgrade_to_unknown_revision_fails(self):
        result = self.manage("db", "upgrade", "nowhere")

        self.assertEqual(result.returncode, 1)
        self.assertIn("nowhere", result.stderr)
        self.assertNotIn("Traceback", result.stderr)


class TestCommandTests(CommandTestCase):
    """test and cov."""

    def setUp(self) -> None:
        """Leave the database to the tests that are run."""

    def run_test(self, command: str, body: str) -> subprocess.CompletedProcess[str]:
        """Run one test with this body by a command, in a module that is there only for it."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "example.py").write_text(
                "import unittest, warnings\n"
                "class ExampleTests(unittest.TestCase):\n"
                f"    def test_it(self):\n        {body}\n"
            )
            served = {"DATABASE_URL": "sqlite:///users_dev.db", "PYTHONPATH": folder}
            return self.manage(command, "example.ExampleTests.test_it", environment=served)

    def test_test_exits_zero_only_when_all_pass(self):
        for body, code in [
            ("self.assertTrue(True)", 0),
            ("self.assertTrue(False)", 1),
            ("raise RuntimeError", 1),
            ("warnings.warn('old')", 1),
        ]:
            with self.subTest(body):
                result = self.run_test("test", body)

                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn("Ran 1 test", result.stderr)

    def test_test_of_unknown_name_fails(self):
        self.assertEqual(self.manage("test", "project.tests.nowhere").returncode, 1)

    def test_run_tests_takes_one_name(self):
        with redirect_stderr(StringIO()) as output:
            code = commands.run_tests("project.tests.test_config.ChooseTests")

        self.assertEqual(code, 0)
        self.assertIn("Ran 5 tests", output.getvalue())

    def test_run_tests_without_any_test_fails(self):
        with redirect_stderr(StringIO()) as output:
            self.assertEqual(commands.run_tests("project.tests.factories"), 1)

        self.assertIn("No test was found.", output.getvalue())


class StartTests(CommandTestCase):
    """What manage.py says when it cannot do what it should."""

    def test_wrong_setting_is_one_clear_line(self):
        result = self.manage("db", "current", environment={"APP_SETTINGS": "nowhere.Config"})

        self.assertEqual(result.returncode, 1)
        self.assertEqual(
            result.stderr,
            "Cannot start. APP_SETTINGS: there is no settings class 'nowhere.Config'.\n",
        )

    def test_unreachable_database_is_one_clear_line(self):
        url = "mysql+pymysql://root@127.0.0.1:1/users"
        for arguments in [["seed_db"], ["recreate_db"], ["db", "upgrade"]]:
            with self.subTest(arguments):
                result = self.manage(*arguments, environment={"DATABASE_URL": url})

                self.assertEqual(result.returncode, 1)
                self.assertIn("Can't connect to MySQL server", result.stderr)
                self.assertNotIn("Traceback", result.stderr)

    def test_wrong_test_database_is_one_clear_line(self):
        for url, reason in [
            ("mysql://u:p@127.0.0.1", "Cannot start. DATABASE_TEST_URL: it names no database"),
            ("mysql://u:p@127.0.0.1:1/d", "The database refused: "),
        ]:
            for arguments in [["test"], ["test", "project.tests.test_config"]]:
                with self.subTest(url, arguments=arguments):
                    result = self.manage(*arguments, environment={"DATABASE_TEST_URL": url})

                    self.assertEqual(result.returncode, 1)
                    self.assertTrue(result.stderr.startswith(reason), result.stderr)
                    self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_missing_tables_are_one_line_that_names_the_remedy(self):
        db.drop_all(None)

        result = self.manage("seed_db")

        self.assertEqual(result.returncode, 1)
        self.assertRegex(
            result.stderr,
            r"^The database's schema is older than the code: \S.+\. Run `manage.py db upgrade`.\n$",
        )

    def test_every_command_says_what_it_does(self):
        overview = self.manage("--help").stdout
        for command in ["runserver", "shell", "recreate_db", "seed_db", "test", "cov", "db"]:
            with self.subTest(command):
                self.assertRegex(overview, rf"\n    {command} +[A-Z]")
                self.assertEqual(self.manage(command, "--help").returncode, 0)

    def test_h_is_help_where_it_has_no_other_meaning(self):
        for arguments in [
            [],
            ["seed_db"],
            ["restore"],
            ["set_password"],
            ["db"],
            ["db", "upgrade"],
        ]:
            with self.subTest(arguments):
                asked = self.manage(*arguments, "-h")

                self.assertEqual(asked.returncode, 0, asked.stderr)
                self.assertEqual(asked.stdout, self.manage(*arguments, "--help").stdout)
        self.assertEqual(self.manage("runserver", "-h").returncode, 2)

    def test_server_that_others_reach_warns_once_of_open_access(self):
        for host, access, in_reloader, warned in [
            ("0.0.0.0", "open", False, True),
            ("::", "open", False, True),
            ("", "open", False, True),
            ("192.0.2.7", "open", False, True),
            ("0.0.0.0", "open", True, False),
            ("0.0.0.0", "protected", False, False),
            ("127.0.0.1", "open", False, False),
            ("::1", "open", False, False),
            ("localhost", "open", False, False),
        ]:
            self.app.config["ACCESS"] = access
            with (
                self.subTest(host, access=access, in_reloader=in_reloader),
                mock.patch.dict(os.environ, WERKZEUG_RUN_MAIN=str(in_reloader).lower()),
                mock.patch.object(commands, "run_simple") as served,
                mock.patch.object(pruning, "start"),
                redirect_stderr(StringIO()) as output,
            ):
                commands.run_server(self.app, host, 5000, reload=True)

                served.assert_called_once()
                warning = f"ACCESS=open on {host or 'every address'}: anybody who reaches it may"
                self.assertEqual(output.getvalue().startswith(warning), warned)
                self.assertEqual(output.getvalue().count("\n"), int(warned))

    def test_shell_knows_the_models(self):
        result = self.manage("shell", stdin=None, input="print(User.__tablename__, app.name)\n")

        self.assertIn("users project", result.stdout)

    def test_server_on_what_is_no_port_says_so(self):
        for port in ["0", "65536", "99999", "-1"]:
            with self.subTest(port):
                result = self.manage("runserver", f"--port={port}", "--no-reload")

                self.assertEqual(result.returncode, 2)
                self.assertIn(f"{port} is no port: they go from 1 to 65535", result.stderr)
                self.assertNotIn("Traceback", result.stderr)

    def test_server_on_a_taken_port_says_so(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            result = self.manage("runserver", "-p", str(port), "--no-reload")

        self.assertEqual(result.returncode, 1)
        self.assertIn(f"Port {port} is in use", result.stderr)
        self.assertNotIn("Traceback", result.stderr)

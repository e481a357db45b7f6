"""manage.py: starting, help, the server and the shell."""

import os
import socket
from contextlib import redirect_stderr
from io import StringIO
from unittest import mock

from project import db
from project.commands import server
from project.tests.commands.base import CommandTestCase
from project.web import pruning


class StartTests(CommandTestCase):
    """The errors of manage.py when it cannot start."""

    def test_wrong_setting_is_one_clear_line(self):
        wrong = {"APP_SETTINGS": "nowhere.Config"}
        result = self.manage("db", "current", new_process=True, environment=wrong)

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
            (
                "mysql://u:p@127.0.0.1",
                "Cannot start. DATABASE_TEST_URL: it does not name a database",
            ),
            ("mysql://u:p@127.0.0.1:1/d", "Database error: "),
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
            r"^The database schema is older than the code: \S.+\. Run `manage.py db upgrade`.\n$",
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
                mock.patch.object(server, "run_simple") as served,
                mock.patch.object(pruning, "start"),
                redirect_stderr(StringIO()) as output,
            ):
                server.run_server(self.app, host, 5000, reload=True)

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
                self.assertIn(f"{port} is not a port: ports are 1 to 65535", result.stderr)
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

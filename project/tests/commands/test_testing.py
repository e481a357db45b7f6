"""The commands that run the tests."""

import subprocess
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from sqlalchemy import create_engine, text

from project.commands import testing
from project.database import db
from project.tests import parallel
from project.tests.commands.base import CommandTestCase


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
            served = {
                "DATABASE_URL": "sqlite:///users_dev.db",
                "DATABASE_TEST_URL": f"sqlite:///{folder}/users_test.db",
                "PYTHONPATH": folder,
            }
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

    def test_test_of_a_folder_runs_all_of_its_modules(self):
        with tempfile.TemporaryDirectory() as folder:
            served = {
                "DATABASE_URL": "sqlite:///users_dev.db",
                "DATABASE_TEST_URL": f"sqlite:///{folder}/users_test.db",
            }
            result = self.manage("test", "project.tests.docs", environment=served)

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("(project.tests.docs.test_views.", result.stderr)

    def test_classes_run_side_by_side_are_counted_together(self):
        module = (
            "import os, unittest, warnings\n"
            "class FirstTests(unittest.TestCase):\n"
            "    def test_pass(self): self.assertRegex(os.environ['DATABASE_TEST_URL'], '_test')\n"
            "    def test_skip(self): self.skipTest('for a reason')\n"
            "    def test_warn(self): warnings.warn('old')\n"
            "class SecondTests(unittest.TestCase):\n"
            "    def test_fail(self):\n"
            "        with self.subTest('a part'): self.assertTrue(False)\n"
            "    @unittest.expectedFailure\n"
            "    def test_not_so_bad(self): pass\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "example.py").write_text(module)
            served = {
                "DATABASE_URL": "sqlite:///users_dev.db",
                "DATABASE_TEST_URL": f"sqlite:///{folder}/users_test.db",
                "PYTHONPATH": folder,
            }
            result = self.manage("test", "--jobs", "2", "example", environment=served)

        self.assertEqual(result.returncode, 1)
        for words in [
            "5 tests in 2 processes\n",
            "test_pass (example.FirstTests.test_pass) ... ok\n",
            "ERROR: test_warn (example.FirstTests.test_warn)\n",
            "FAIL: test_fail (example.SecondTests.test_fail) [a part]\n",
            "\nRan 5 tests in ",
            "\nFAILED (failures=1, errors=1, skipped=1, unexpected successes=1)\n",
        ]:
            self.assertIn(words, result.stderr)

    def test_module_that_cannot_be_imported_fails_in_any_number_of_processes(self):
        result = self.manage("test", "--jobs", "2", "project.tests.nowhere")

        self.assertEqual(result.returncode, 1)
        self.assertIn("\nRan 1 test in ", result.stderr)

    def test_each_process_has_a_database_of_its_own(self):
        url = db.engine.url

        first, *others = parallel.databases(url, 2)

        self.assertEqual(first, url)
        if not others:  # the containers' user may create no database
            self.assertEqual(url.get_backend_name(), "mysql")
            return
        self.assertRegex(str(others[0].database), r"_2(\.db)?$")
        create_engine(others[0]).connect().close()
        if url.get_backend_name() != "sqlite":
            with db.engine.begin() as connection:
                for statement in [
                    "CREATE USER IF NOT EXISTS bound IDENTIFIED BY 'b'",
                    f"GRANT ALL ON `{url.database}`.* TO bound",
                ]:
                    connection.execute(text(statement))
            bound = url.set(username="bound", password="b")
            self.assertEqual(parallel.databases(bound, 2), [bound])
            with db.engine.begin() as connection:
                connection.execute(text("DROP USER bound"))

    def test_run_tests_takes_one_name(self):
        with redirect_stderr(StringIO()) as output:
            code = testing.run_tests("project.tests.test_config.ChooseTests")

        self.assertEqual(code, 0)
        self.assertIn("Ran 5 tests", output.getvalue())

    def test_run_tests_without_any_test_fails(self):
        with redirect_stderr(StringIO()) as output:
            self.assertEqual(testing.run_tests("project.tests.factories"), 1)

        self.assertIn("No test was found.", output.getvalue())

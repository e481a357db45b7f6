"""The commands that run the tests."""

import subprocess
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from project.commands import testing
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
            code = testing.run_tests("project.tests.test_config.ChooseTests")

        self.assertEqual(code, 0)
        self.assertIn("Ran 5 tests", output.getvalue())

    def test_run_tests_without_any_test_fails(self):
        with redirect_stderr(StringIO()) as output:
            self.assertEqual(testing.run_tests("project.tests.factories"), 1)

        self.assertIn("No test was found.", output.getvalue())

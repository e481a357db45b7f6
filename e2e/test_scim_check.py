"""manage.py scim_check, as an operator runs it against gunicorn, which keeps the requests."""

import os
import subprocess
import sys
import unittest

from sqlalchemy import create_engine, text

from e2e.processes import GUNICORN, ROOT, served, test_database
from e2e.stacks import until

WORKERS = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": "--threads 4"}
STEPS = 9


class SCIMCheckTests(unittest.TestCase):
    """With the key of a service account, with one that exists only meanwhile, with a wrong one."""

    def setUp(self) -> None:
        self.database = self.enterContext(test_database())
        settings = {"DATABASE_URL": self.database, "ACCESS": "protected", **WORKERS}
        self.url = self.enterContext(served(GUNICORN, **settings))

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the server's database."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.database},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def recorded(self) -> int:
        """Return how many SCIM requests are stored."""
        engine = create_engine(self.database)
        with engine.connect() as connection:
            count: int = connection.scalar(text("SELECT COUNT(*) FROM scim_requests")) or 0
        engine.dispose()
        return count

    def test_service_passes_and_a_wrong_key_does_not(self):
        key = self.manage("create_key", "okta", "--service").stdout.strip()
        for options in [(), ("--key", key)]:
            with self.subTest(options):
                done = self.manage("scim_check", "--url", self.url, *options)

                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(done.stdout.count("OK "), STEPS)
        for options in [("--url", self.url, "--key", "usk_wrong"), ("--url", "http://127.0.0.1:9")]:
            with self.subTest(options):
                done = self.manage("scim_check", *options)

                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("FAILED  discovery", done.stdout)
        left = self.manage("list_keys").stdout.splitlines()
        self.assertEqual(len(left), 2)  # the header, and okta's
        until(lambda: self.recorded() > 2 * STEPS)

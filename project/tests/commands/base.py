"""What tests of commands stand on."""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from project.commands.testing import ROOT
from project.tests.base import BaseTestCase
from project.tests.commands import forks


class CommandTestCase(BaseTestCase):
    """Runs command bodies, and manage.py as a process, on the test database."""

    def printed(self, command, *arguments, **options) -> str:
        """Return what a command's body prints."""
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()):
            command(*arguments, **options)
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

    def manage(
        self, *arguments: str, new_process: bool = False, **options
    ) -> subprocess.CompletedProcess[Any]:
        """Run manage.py on the test database, with the options of ``subprocess.run``.

        :param new_process: start Python, which takes a second, instead of forking a process.
        """
        environment = self.environment(**options.pop("environment", {}))
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
        start = [sys.executable, "manage.py"]
        if not new_process:
            start, options["pass_fds"] = forks.start()
        return subprocess.run(
            [*start, *arguments], cwd=ROOT, env=environment, timeout=120, **options
        )

"""What a newcomer does first, on a copy of the tracked files and nothing else.

And whether the files that a newcomer's tools read agree with each other.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.processes import ROOT, answers, end, free_port, running, wait_until
from project.version import VERSION

# Neither the settings nor the Python environment of whoever runs the tests.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(
        ("APP_SETTINGS", "DATABASE_", "SECRET_KEY", "MAKE", "MFLAGS", "VIRTUAL_")
    )
}


class MakeRunTests(unittest.TestCase):
    """`make run` on a fresh copy."""

    folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Copy the files, and let the first `make run` install what it needs."""
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="users-new-")))
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            target = cls.folder / "clone" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, target)

    def make_run(self, **variables: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start `make run`; return its process and its log."""
        log = self.folder / f"log-{len(list(self.folder.iterdir()))}"
        # SIGINT as in a terminal: what a script starts in the background is told to ignore it.
        command = [
            *["env", "-i", "--default-signal=INT"],
            *[f"{name}={value}" for name, value in {**CLEAN, **variables}.items()],
        ]
        clone = self.folder / "clone"
        process = self.enterContext(running([*command, "make", "run"], log, cwd=clone))
        return process, log

    def test_make_run_installs_migrates_serves_and_stops(self) -> None:
        port = str(free_port())
        url = f"http://127.0.0.1:{port}"

        process, log = self.make_run(PORT=port)
        wait_until(lambda: answers(f"{url}/ping"), process, log, seconds=600)
        printed = log.read_text()
        for words in ["Creating .venv", "Installing", "at revision", f"Running on {url}"]:
            self.assertIn(words, printed)
        self.assertTrue(answers(f"{url}/users"))
        self.assertTrue((self.folder / "clone" / "instance" / "users_dev.db").exists())

        other, other_log = self.make_run(PORT=port)
        self.assertNotEqual(other.wait(60), 0)
        printed = other_log.read_text()
        self.assertIn(f"Port {port} is in use", printed)
        self.assertNotIn("Installing", printed)
        self.assertNotIn("Traceback", printed)

        os.killpg(process.pid, signal.SIGINT)  # as Ctrl+C does
        process.wait(30)
        self.assertNotIn("Traceback", log.read_text())
        self.assertFalse(answers(f"{url}/ping"))

        again, again_log = self.make_run(PORT=port)
        wait_until(lambda: answers(f"{url}/users"), again, again_log)
        self.assertNotIn("Installing", again_log.read_text())
        end(again)

    def test_make_shell_reaches_the_migrated_database(self) -> None:
        result = subprocess.run(
            ["make", "shell"],
            cwd=self.folder / "clone",
            env=CLEAN,
            input='print("users:", db.session.query(User).count())\n',
            capture_output=True,
            text=True,
        )

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("users: 0\n", result.stdout)


class ToolFilesTests(unittest.TestCase):
    """The files that git, editors and release tools read."""

    def test_devcontainer_is_a_service_of_the_development_stack(self) -> None:
        folder = ROOT / ".devcontainer"
        settings = json.loads((folder / "devcontainer.json").read_text())
        files = [(folder / name).resolve() for name in settings["dockerComposeFile"]]
        stack, changes = [file.read_text() for file in files]
        dockerfile = (ROOT / "Dockerfile").read_text()

        self.assertTrue(files[0].samefile(ROOT / "docker-compose.yml"))
        for text in (stack, changes):
            self.assertRegex(text, rf"(?m)^  {settings['service']}:$")
        self.assertIn(f'".:{settings["workspaceFolder"]}"', stack)
        target = re.findall(r"target: (.+)", changes)[0]
        self.assertRegex(dockerfile, rf"(?m)^FROM .+ AS {target}$")
        self.assertIn(f" {settings['remoteUser']}\n", dockerfile)

    def test_commits_are_checked_by_the_linters_of_make_lint(self) -> None:
        lint = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        hooks = (ROOT / ".pre-commit-config.yaml").read_text()

        linters = set(re.findall(r"\$\(BIN\)/(\S+)", lint[0])) - {"python"}
        checks = set(re.findall(r"entry: \.venv/bin/(\S+)", hooks))
        self.assertEqual(checks, linters | {"conventional-pre-commit"})

    def test_version_is_that_of_the_changelog(self) -> None:
        headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        release = VERSION.removesuffix(".dev0")

        self.assertEqual(headings[0], "Unreleased")
        if release == VERSION:
            self.assertEqual(headings[1], release)
        else:
            self.assertGreater(numbers(release), numbers(headings[1]))


def numbers(version: str) -> list[int]:
    """Return the numbers of a version, by which versions follow each other."""
    return [int(number) for number in version.split(".")]

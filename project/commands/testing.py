"""The commands for the tests and their coverage."""

import os
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.engine import URL

from project import create_app
from project.config import ConfigError
from project.database import db

ROOT = Path(__file__).parents[2]


def run_tests(name: str | None = None, jobs: int = 1) -> int:
    """Run the tests on the test database.

    :param name: the dotted name of one test, class, module or folder; None: all of project/tests.
    :param jobs: the number of processes, each with its own database: ``users_test``,
        ``users_test_2`` and so on.
    :return: the exit code, 0 when all passed.
    :raises DBAPIError: the test database cannot be reached; no test was run.
    """
    from project.tests import parallel  # not loaded by the service

    urls = parallel.databases(_reach_test_database(), jobs)
    sys.path.insert(0, str(ROOT))
    loader, name = unittest.TestLoader(), name or "project.tests"
    folder = ROOT.joinpath(*name.split("."))
    if folder.is_dir():
        suite = loader.discover(str(folder), top_level_dir=str(ROOT))
    else:
        suite = loader.loadTestsFromName(name)
    if len(urls) < jobs:
        reason = "their database user may not create databases"
        print(f"The tests run in one process: {reason}.", file=sys.stderr)
    if len(urls) > 1:
        print(f"{suite.countTestCases()} tests in {len(urls)} processes", file=sys.stderr)
        suite = parallel.ParallelSuite(suite, urls)
    result = unittest.TextTestRunner(verbosity=2, warnings="error").run(suite)
    if not result.testsRun:
        print("No test was found.", file=sys.stderr)
    return 0 if result.testsRun and result.wasSuccessful() else 1


def _reach_test_database() -> URL:
    try:
        app = create_app("project.config.TestingConfig")
    except ConfigError as error:
        raise SystemExit(f"Cannot start. {error}") from error
    with app.app_context(), db.engines["maintenance"].connect() as connection:
        return connection.engine.url


def run_coverage(name: str | None = None, jobs: int = 1) -> int:
    """Run the tests, and report the line and branch coverage of project/.

    They run in a new process, so that code that runs on import is measured.

    :return: the exit code, 0 when all tests passed and the coverage is sufficient.
    """
    coverage = [sys.executable, "-m", "coverage"]
    if subprocess.run([*coverage, "--version"], capture_output=True).returncode:
        raise SystemExit("coverage is not installed: pip install -r requirements-dev.txt")
    tests = ["manage.py", "test", f"--jobs={jobs}", *([name] if name else [])]
    with TemporaryDirectory() as folder:  # one file per process
        measured = {**os.environ, "COVERAGE_FILE": str(Path(folder, ".coverage"))}
        failed = subprocess.run([*coverage, "run", *tests], cwd=ROOT, env=measured).returncode
        files = [str(path) for path in Path(folder).iterdir()]
        subprocess.run([*coverage, "combine", "--quiet", *files], cwd=ROOT)
    # A single test cannot reach the required coverage.
    report = [*coverage, "report", *(["--fail-under=0"] if name else [])]
    return failed or subprocess.run(report, cwd=ROOT).returncode

"""The bodies of the commands: plain functions that call services; manage.py only registers them.

A command that fails raises SystemExit with the reason; the exit code is then 1.
"""

import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from random import choice
from secrets import token_hex
from time import monotonic

import flask_migrate
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import MetaData, inspect
from tqdm import tqdm
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

from project import backup
from project.api.audit import service as audit
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.api.users.models import User
from project.archive import BackupError, Header
from project.extensions import check_database, db
from project.transactions import in_transaction
from project.web import pruning

ROOT = Path(__file__).parent.parent
FIRST_USERS = [("cnych", "qikqiak@gmail.com"), ("chyang", "icnych@gmail.com")]
FIRST_NAMES = ["Ada", "Chidi", "Dagný", "Emre", "Fatima", "Inés", "Jun", "Lakshmi", "Noor", "Olga"]
LAST_NAMES = ["Abebe", "Costa", "Haddad", "Kowalska", "Lindqvist", "Novák", "Okafor", "Sato", "Wu"]
USERS_PER_BATCH = 5000


def run_server(app: Flask, host: str, port: int, reload: bool) -> None:
    """Serve until interrupted, by Werkzeug's server: for development only.

    :param reload: start anew when the code changes; only in debug mode.
    """
    reload = reload and app.debug
    if not reload or is_running_from_reloader():
        pruning.start(app)
    run_simple(
        host,
        port,
        app,
        threaded=True,
        use_reloader=reload,
        request_handler=QuietRequestHandler,
    )


class QuietRequestHandler(WSGIRequestHandler):
    """Leaves the line for each request to the application's own log."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


def recreate_db(yes: bool = False) -> None:
    """Drop every table, the migrations' own too, and upgrade to the newest schema.

    :param yes: do not ask, even when the database holds users.
    :raises WrongDatabase: the settings now name another database than the engines have.
    """
    check_database()
    if not yes and inspect(db.engine).has_table(User.__tablename__) and service.has_users():
        _ask_first("users", "delete them")
    engine = db.engines["maintenance"]
    found = MetaData()
    found.reflect(engine)
    found.drop_all(engine)
    upgrade()


def _ask_first(held: str, loss: str) -> None:
    """Go on only with the consent of a person at a terminal."""
    url = db.engine.url.render_as_string(hide_password=True)
    if not sys.stdin.isatty():
        raise SystemExit(f"{url} holds {held}. To {loss}, say --yes.")
    if input(f"{url} holds {held}. {loss.capitalize()} all? [y/N] ").strip().lower() != "y":
        raise SystemExit("Nothing was changed.")


@audit.by_command("seed_db")
def seed_db(count: int | None = None) -> None:
    """Add the first two users where they are missing, or made-up users in bulk.

    :param count: how many made-up users to add, at least 1; None: the first two instead.
    """
    if count is None:
        for username, email in FIRST_USERS:
            print(_add_first_user(username, email))
        return
    started = monotonic()
    with tqdm(total=count, unit=" users", unit_scale=True) as progress:
        for start in range(0, count, USERS_PER_BATCH):
            size = min(USERS_PER_BATCH, count - start)
            in_transaction(service.create_users)(list(_made_up_users(size)))
            progress.update(size)
    seconds = monotonic() - started
    print(f"Added {count:,} users in {seconds:.1f} s ({count / seconds:,.0f} users/s).")


def _add_first_user(username: str, email: str) -> str:
    try:
        in_transaction(service.create_user)(username, email)
    except EmailTaken:
        return f"{email} is already there."
    return f"{email} was added!"


def _made_up_users(count: int) -> Iterator[tuple[str, str]]:
    for _ in range(count):
        yield f"{choice(FIRST_NAMES)} {choice(LAST_NAMES)}", f"{token_hex(8)}@example.com"


def back_up(file: str, force: bool = False) -> None:
    """Write all data to a file, and say what was written.

    :param force: replace a file of that name.
    """
    _transfer("Wrote and checked", Path(file), lambda: backup.back_up(Path(file), force))


def restore(file: str, yes: bool = False) -> None:
    """Fill the database from such a file, and say what came in.

    :param yes: do not ask, even when the database holds data.
    """
    if not yes and backup.holds_data():
        _ask_first("data", "replace it")
        yes = True
    _transfer("Restored", Path(file), lambda: backup.restore(Path(file), replace=yes))


def _transfer(done: str, path: Path, work: Callable[[], Header]) -> None:
    started = monotonic()
    try:
        header = work()
    except BackupError as error:
        raise SystemExit(str(error)) from error
    for table in header.tables:
        print(f"{table.name}: {table.rows:,} rows")
    size = tqdm.format_sizeof(path.stat().st_size, "B")
    print(f"{done} {path} ({size}) in {monotonic() - started:.1f} s.")


def run_tests(name: str | None = None) -> int:
    """Run the tests on the test database.

    :param name: the dotted name of one test, class or module; None: all of project/tests.
    :return: the exit code, 0 when all passed.
    """
    sys.path.insert(0, str(ROOT))
    loader = unittest.TestLoader()
    if name:
        suite = loader.loadTestsFromName(name)
    else:
        suite = loader.discover(str(ROOT / "project" / "tests"), top_level_dir=str(ROOT))
    result = unittest.TextTestRunner(verbosity=2, warnings="error").run(suite)
    if not result.testsRun:
        print("No test was found.", file=sys.stderr)
    return 0 if result.testsRun and result.wasSuccessful() else 1


def run_coverage(name: str | None = None) -> int:
    """Run the tests and tell which lines and branches of project/ they reach.

    In a process of its own, so that what runs on import is counted.

    :param name: as for run_tests.
    :return: the exit code, 0 when all passed and enough was reached.
    """
    coverage = [sys.executable, "-m", "coverage"]
    if subprocess.run([*coverage, "--version"], capture_output=True).returncode:
        raise SystemExit("coverage is not installed: pip install -r requirements-dev.txt")
    tests = [*coverage, "run", "manage.py", "test", *([name] if name else [])]
    failed = subprocess.run(tests, cwd=ROOT).returncode
    # One test alone cannot reach enough.
    report = [*coverage, "report", *(["--fail-under=0"] if name else [])]
    return failed or subprocess.run(report, cwd=ROOT).returncode


def upgrade(revision: str = "head") -> None:
    """Bring the schema up to a revision."""
    flask_migrate.upgrade(revision=revision)
    print(f"The database is at revision {current_revision()}.")


def downgrade(revision: str = "-1") -> None:
    """Take the schema back to a revision; `base` is the empty database."""
    flask_migrate.downgrade(revision=revision)
    print(f"The database is at revision {current_revision() or 'base'}.")


def current_revision() -> str | None:
    """Return the revision that the database's schema is at; None: no migration was run."""
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()

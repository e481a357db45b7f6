"""The bodies of the commands: plain functions that call services; manage.py only registers them.

A command that fails raises SystemExit with the reason; the exit code is then 1.
"""

import os
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from ipaddress import ip_address
from pathlib import Path
from random import choice
from secrets import token_hex
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from time import monotonic

import flask_migrate
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import MetaData, inspect
from tqdm import tqdm
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

from project import backup, create_app
from project.api.audit import service as audit
from project.api.models import APIKey, Session, User
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.archive import BackupError, Header
from project.config import ConfigError
from project.extensions import check_database, db
from project.logs import printable
from project.transactions import in_transaction
from project.web import pruning

ROOT = Path(__file__).parent.parent
FIRST_USERS = [("cnych", "qikqiak@gmail.com"), ("chyang", "icnych@gmail.com")]
FIRST_NAMES = ["Ada", "Chidi", "Dagný", "Emre", "Fatima", "Inés", "Jun", "Lakshmi", "Noor", "Olga"]
LAST_NAMES = ["Abebe", "Costa", "Haddad", "Kowalska", "Lindqvist", "Novák", "Okafor", "Sato", "Wu"]
USERS_PER_BATCH = 5000
# On the disk, where there is such a folder: /tmp may be memory, of which a container has little.
SCRATCH = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # nosec
SHOWN_KEYS = 50


def run_server(app: Flask, host: str, port: int, reload: bool) -> None:
    """Serve until interrupted, by Werkzeug's server: for development only.

    :param reload: start anew when the code changes; only in debug mode.
    """
    if app.config["ACCESS"] == "open" and not _is_loopback(host) and not is_running_from_reloader():
        print(
            f"ACCESS=open on {host or 'every address'}: anybody who reaches it may read, change and"
            " remove every user. With ACCESS=protected they have to sign in.",
            file=sys.stderr,
        )
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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

    :param file: ``-`` is standard output; what is said goes to standard error then.
    :param force: replace a file of that name.
    """
    if file != "-":
        with _told():
            _back_up(Path(file), file, lambda path: backup.back_up(path, force))
        return
    if sys.stdout.isatty():
        raise SystemExit("Standard output is a terminal: send it to a file or to a program.")
    descriptor = sys.stdout.fileno()
    with _told(), TemporaryDirectory(dir=SCRATCH) as folder, redirect_stdout(sys.stderr):
        path = Path(folder, "backup")
        _back_up(path, "standard output", lambda path: _back_up_to(descriptor, path))


def _back_up(path: Path, name: str, work: Callable[[Path], Header]) -> None:
    started = monotonic()
    for table in work(path).tables:
        print(f"{table.name}: {table.rows:,} rows")
    _print_done("Wrote and checked", name, path, started)


def _back_up_to(descriptor: int, path: Path) -> Header:
    """Send a backup somewhere by way of a file, where it is checked."""
    header = backup.back_up(path)
    try:
        with path.open("rb") as file, open(descriptor, "wb", closefd=False) as output:
            copyfileobj(file, output)
    except OSError as error:
        raise BackupError(f"standard output cannot be written: {error.strerror}.") from error
    return header


def restore(file: str, yes: bool = False) -> None:
    """Fill the database from such a file, and say what came in.

    :param file: ``-`` is standard input.
    :param yes: do not ask, even when the database holds data.
    """
    if file != "-":
        with _told():
            _restore(Path(file), file, yes)
        return
    if sys.stdin.isatty():
        raise SystemExit("Standard input is a terminal: take it from a file or from a program.")
    # It is read more than once, so it goes into a file that only its owner may read.
    with _told(), TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder, "backup")
        with path.open("wb") as copy:
            copyfileobj(sys.stdin.buffer, copy)
        _restore(path, "standard input", yes)


def _restore(path: Path, name: str, yes: bool) -> None:
    backup.check_header(path, name)
    if not yes and backup.holds_data():
        _ask_first("data", "replace it")
        yes = True
    started = monotonic()
    rows = {table.name: table.rows for table in backup.restore(path, yes, name).tables}
    for table, count in rows.items():
        left_out = " are left out: everybody signs in again." * (table == Session.__tablename__)
        print(f"{table}: {count:,} rows{left_out}")
    _print_keys(rows[APIKey.__tablename__])
    _print_done("Restored", name, path, started)


def _print_keys(count: int) -> None:
    if not count:
        return
    print("API keys that came with it, as good as they were:")
    for key in backup.list_keys(SHOWN_KEYS):
        print(printable(f"  {key.prefix} {key.name} {key.email}"))
    if count > SHOWN_KEYS:
        print(f"  and {count - SHOWN_KEYS:,} more")


@contextmanager
def _told() -> Iterator[None]:
    """Let what is wrong with a backup or the database end the command with one line."""
    try:
        yield
    except (BackupError, OSError) as error:
        raise SystemExit(str(error)) from error


def _print_done(done: str, name: str, path: Path, started: float) -> None:
    size = tqdm.format_sizeof(path.stat().st_size, "B")
    print(f"{done} {name} ({size}) in {monotonic() - started:.1f} s.")


def run_tests(name: str | None = None) -> int:
    """Run the tests on the test database.

    :param name: the dotted name of one test, class or module; None: all of project/tests.
    :return: the exit code, 0 when all passed.
    :raises DBAPIError: the test database cannot be reached; no test was run.
    """
    _reach_test_database()
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


def _reach_test_database() -> None:
    try:
        app = create_app("project.config.TestingConfig")
    except ConfigError as error:
        raise SystemExit(f"Cannot start. {error}") from error
    with app.app_context(), db.engines["maintenance"].connect():
        pass


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
    """Bring the schema up to a revision, and see that the newest has its tables."""
    flask_migrate.upgrade(revision=revision)
    with _told():
        backup.refuse_missing_tables()
    print(f"The database is at revision {current_revision()}.")


def downgrade(revision: str = "-1") -> None:
    """Take the schema back to a revision; `base` is the empty database."""
    flask_migrate.downgrade(revision=revision)
    print(f"The database is at revision {current_revision() or 'base'}.")


def current_revision() -> str | None:
    """Return the revision that the database's schema is at; None: no migration was run."""
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()

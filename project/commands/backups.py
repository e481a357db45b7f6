"""The commands for backup and restore."""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from time import monotonic

from tqdm import tqdm

from project.api.models import APIKey, Session
from project.backup import service as backup
from project.backup.archive import BackupError, Header
from project.commands.terminal import confirm, exit_on_backup_error
from project.logs import printable

# On disk if possible: /tmp may be in memory, of which a container has little.
SCRATCH = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # nosec
SHOWN_KEYS = 50


def back_up(file: str, force: bool = False) -> None:
    """Write all data to a file, and print a summary.

    :param file: ``-`` is standard output; the summary then goes to standard error.
    """
    if file != "-":
        with exit_on_backup_error():
            _back_up(Path(file), file, lambda path: backup.back_up(path, force))
        return
    if sys.stdout.isatty():
        raise SystemExit("Standard output is a terminal: redirect it to a file or a program.")
    descriptor = sys.stdout.fileno()
    with (
        exit_on_backup_error(),
        TemporaryDirectory(dir=SCRATCH) as folder,
        redirect_stdout(sys.stderr),
    ):
        path = Path(folder, "backup")
        _back_up(path, "standard output", lambda path: _back_up_to(descriptor, path))


def _back_up(path: Path, name: str, work: Callable[[Path], Header]) -> None:
    started = monotonic()
    for table in work(path).tables:
        print(f"{table.name}: {table.rows:,} rows")
    _print_done("Wrote and verified", name, path, started)


def _back_up_to(descriptor: int, path: Path) -> Header:
    """Write a backup to a file, verify it there, and copy it to the descriptor."""
    header = backup.back_up(path)
    try:
        with path.open("rb") as file, open(descriptor, "wb", closefd=False) as output:
            copyfileobj(file, output)
    except OSError as error:
        raise BackupError(f"standard output cannot be written: {error.strerror}.") from error
    return header


def restore(file: str, yes: bool = False) -> None:
    """Restore the database from such a file, and print a summary.

    :param file: ``-`` is standard input.
    """
    if file != "-":
        with exit_on_backup_error():
            _restore(Path(file), file, yes)
        return
    if sys.stdin.isatty():
        raise SystemExit("Standard input is a terminal: redirect it from a file or a program.")
    # It is read more than once, so it is copied to a file that only its owner may read.
    with exit_on_backup_error(), TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder, "backup")
        with path.open("wb") as copy:
            copyfileobj(sys.stdin.buffer, copy)
        _restore(path, "standard input", yes)


def _restore(path: Path, name: str, yes: bool) -> None:
    backup.check_header(path, name)
    if not yes and backup.has_data():
        confirm("data", "replace it")
        yes = True
    started = monotonic()
    rows = {table.name: table.rows for table in backup.restore(path, yes, name).tables}
    for table, count in rows.items():
        note = ", not restored: everybody has to sign in again." * (table == Session.__tablename__)
        print(f"{table}: {count:,} rows{note}")
    _print_keys(rows[APIKey.__tablename__])
    _print_done("Restored", name, path, started)


def _print_keys(count: int) -> None:
    if not count:
        return
    print("API keys in the backup, which are as valid as before:")
    for key in backup.list_keys(SHOWN_KEYS):
        print(printable(f"  {key.prefix} {key.name} {key.email}"))
    if count > SHOWN_KEYS:
        print(f"  and {count - SHOWN_KEYS:,} more")


def _print_done(done: str, name: str, path: Path, started: float) -> None:
    size = tqdm.format_sizeof(path.stat().st_size, "B")
    print(f"{done} {name} ({size}) in {monotonic() - started:.1f} s.")

"""Questions and errors at the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from project.backup.archive import BackupError
from project.database import db


def confirm(content: str, action: str) -> None:
    """Ask the person at the terminal to confirm; without consent, end the command."""
    url = db.engine.url.render_as_string(hide_password=True)
    if not sys.stdin.isatty():
        raise SystemExit(f"{url} contains {content}. To {action}, use --yes.")
    question = f"{url} contains {content}. {action.capitalize()} all? [y/N] "
    if input(question).strip().lower() != "y":
        raise SystemExit("Nothing was changed.")


@contextmanager
def exit_on_backup_error() -> Iterator[None]:
    """End the command with one line on an error of a backup or a file."""
    try:
        yield
    except (BackupError, OSError) as error:
        raise SystemExit(str(error)) from error

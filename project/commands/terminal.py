"""What commands say to the person at a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from project.backup.archive import BackupError
from project.database import db


def confirm(held: str, loss: str) -> None:
    """Go on only with the consent of a person at a terminal."""
    url = db.engine.url.render_as_string(hide_password=True)
    if not sys.stdin.isatty():
        raise SystemExit(f"{url} holds {held}. To {loss}, say --yes.")
    if input(f"{url} holds {held}. {loss.capitalize()} all? [y/N] ").strip().lower() != "y":
        raise SystemExit("Nothing was changed.")


@contextmanager
def exit_on_backup_error() -> Iterator[None]:
    """Let what is wrong with a backup or the database end the command with one line."""
    try:
        yield
    except (BackupError, OSError) as error:
        raise SystemExit(str(error)) from error

"""Checks whether the service can serve requests."""

from functools import cache
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from project.database import db


@cache
def newest_revision(folder: Path) -> str | None:
    """Return the schema revision that this code requires."""
    return ScriptDirectory(str(folder)).get_current_head()


def find_problem() -> str | None:
    """Return a sentence about why the service cannot serve requests; None: it can.

    The database has 1 s to accept a connection, and 1 s for each response.
    """
    wanted = newest_revision(Path(current_app.extensions["migrate"].directory))
    try:
        with db.engines["probe"].connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError:
        return "The database does not respond."
    if found != wanted:
        return f"The database schema is at revision {found}, not at {wanted}."
    return None

"""Whether the service can serve."""

from functools import cache
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from project.database import db


@cache
def newest_revision(folder: Path) -> str | None:
    """Return the schema revision that this code was written for."""
    return ScriptDirectory(str(folder)).get_current_head()


def find_problem() -> str | None:
    """Return what keeps the service from serving, in a sentence; None: nothing does.

    The database has 1 s to accept a connection and as long for each answer.
    """
    wanted = newest_revision(Path(current_app.extensions["migrate"].directory))
    try:
        with db.engines["probe"].connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError:
        return "The database does not answer."
    if found != wanted:
        return f"The database's schema is at revision {found}, not at {wanted}."
    return None

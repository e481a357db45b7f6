"""Checks whether the service can serve requests."""

from sqlalchemy.exc import SQLAlchemyError

from project.database import db
from project.database.revisions import current_revision, head_revision


def find_problem() -> str | None:
    """Return a sentence about why the service cannot serve requests; None: it can.

    The database has 1 s to accept a connection, and 1 s for each response.
    """
    try:
        with db.engines["probe"].connect() as connection:
            found = current_revision(connection)
    except SQLAlchemyError:
        return "The database does not respond."
    if found != (wanted := head_revision()):
        return f"The database schema is at revision {found}, not at {wanted}."
    return None

"""The schema revision that the code requires, and the one that a database has."""

from functools import cache

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import Connection

BASE = "base"
"""The revision of an empty database."""


def head_revision() -> str:
    """Return the revision of the newest migration; BASE: there is none."""
    return _head_in(current_app.extensions["migrate"].directory)


@cache
def _head_in(folder: str) -> str:
    return ScriptDirectory(folder).get_current_head() or BASE


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; None: no migration has run."""
    return MigrationContext.configure(connection).get_current_revision()

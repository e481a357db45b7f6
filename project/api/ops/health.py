"""Checks whether the service can serve requests."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from project.database import db
from project.database.revisions import current_revision, head_revision

_VARIABLES = text(
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'group_replication_group_name')"
)
_MEMBERSHIP = text("""
    SELECT member_state = 'ONLINE' AND member_role = 'PRIMARY' AS is_primary,
        (SELECT SUM(member_state = 'UNREACHABLE') * 2 < COUNT(*)
         FROM performance_schema.replication_group_members) AS has_majority
    FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid
    """)


def find_problem() -> str | None:
    """Return a sentence about why the service cannot serve requests; None: it can.

    The database has 1 s to accept a connection, and 1 s for each response.
    """
    try:
        with db.engines["probe"].connect() as connection:
            found = current_revision(connection)
            problem = _why_read_only(connection)
    except SQLAlchemyError:
        return "The database does not respond."
    if found != (wanted := head_revision()):
        return f"The database schema is at revision {found}, not at {wanted}."
    return problem


def _why_read_only(connection: Connection) -> str | None:
    """Return a sentence about why the database server takes no writes; None: it does.

    In a group, its account must be allowed to read ``replication_group_members``.
    """
    if connection.dialect.name == "sqlite":
        return None
    variables = {row.Variable_name: row.Value for row in connection.execute(_VARIABLES)}
    if variables.get("read_only") == "ON":
        return "The database server is read-only."
    if not variables.get("group_replication_group_name"):
        return None
    member = connection.execute(_MEMBERSHIP).one_or_none()
    if member is None or not member.is_primary:
        return "The database server is not the primary of its group."
    return None if member.has_majority else "The database server has lost most of its group."

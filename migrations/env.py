"""Runs the migrations, one process at a time, on an engine for long statements."""

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

import project.api.models  # noqa: F401  (the tables that autogenerate compares with)
from project.database import db
from project.database.failures import is_lock_timeout
from project.database.revisions import BASE, current_revision

LOCK_SECONDS = 600
# A schema change waits for transactions that use its table, and all others wait behind it.
TABLE_LOCK_SECONDS = 5
# Locks belong to the whole server, and their names have at most 64 characters.
LOCK = "sha2(concat('migrations of ', database()), 224)"


def lock(connection: Connection) -> None:
    """Wait until no other process migrates this database; there is then nothing left to migrate.

    SQLite needs no extra lock: its transaction covers schema changes, and begins with the write
    lock.
    """
    if connection.dialect.name != "sqlite":
        statement = text(f"SELECT GET_LOCK({LOCK}, {LOCK_SECONDS})")
        locked = connection.execute(statement).scalar_one()
        if locked is None:
            raise RuntimeError("The database could not provide a lock for the migrations.")
        if not locked:
            raise RuntimeError(f"Another process has been migrating for {LOCK_SECONDS} s.")
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {TABLE_LOCK_SECONDS}")
        connection.commit()


def run(connection: Connection) -> None:
    """Run the migrations.

    :raises RuntimeError: one failed; except on SQLite, the schema may be partly changed.
    """
    try:
        with context.begin_transaction():
            context.run_migrations()
    except DBAPIError as error:
        connection.rollback()
        lines = [f"A migration after revision {current_revision(connection) or BASE} failed:"]
        lines.append(f"{error.orig}.")
        if is_lock_timeout(error):
            lines.append("A long transaction uses the table, such as a backup; try again later.")
        if connection.dialect.name != "sqlite":
            lines.append(
                "The database commits each schema change by itself, so the schema may be partly"
                " changed. If the same migration fails again, restore the backup from before it."
            )
        raise RuntimeError(" ".join(lines)) from error


# The lock ends with the connection, which is really closed, since this engine has no pool.
with db.engines["maintenance"].connect() as connection:
    lock(connection)
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        transactional_ddl=connection.dialect.name == "sqlite",
        **current_app.extensions["migrate"].configure_args,
    )
    run(connection)

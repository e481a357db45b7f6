"""Runs the migrations, one process at a time, on an engine for long statements."""

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text

import project.api.models  # noqa: F401  (the tables that autogenerate compares with)
from project.database import db

LOCK_SECONDS = 600
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
        connection.commit()


# The lock ends with the connection, which is really closed, since this engine has no pool.
with db.engines["maintenance"].connect() as connection:
    lock(connection)
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        transactional_ddl=connection.dialect.name == "sqlite",
        **current_app.extensions["migrate"].configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()

"""Backup of all tables, and restore into SQLite, MySQL or MariaDB, whatever the source was.

The words of users are not in a backup: a restore makes them anew.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import flask_migrate
import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table
from sqlalchemy.exc import SQLAlchemyError, StatementError

from project.api.models import APIKey, Link, Mail, Session, SetupCode, User, UserWord
from project.api.users import service as users
from project.api.users import word_index
from project.backup import archive
from project.backup.archive import ROWS_PER_BATCH, BackupError, Header, TableHeader
from project.clock import utcnow
from project.database import db, keyset
from project.database.failures import is_wrong_server
from project.database.revisions import BASE, current_revision, head_revision
from project.progress import progress_bar

MYSQL_SESSION = [
    # A backup then reads one snapshot, and no rows are added between a restore's DELETE and COMMIT.
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # Values that are too long are refused and not truncated; 0 is an ordinary id; ALTER TABLE does
    # not block the service for long when it waits for another transaction.
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO', lock_wait_timeout = 15",
]

NOT_RESTORED = [model.__table__ for model in (Session, Link, Mail, SetupCode)]


def back_up(path: Path, force: bool = False) -> Header:
    """Write a snapshot of all rows to a file that only its owner may read.

    The file appears under its name only when it is complete and verified. Writers are not blocked.

    :param force: replace an existing file.
    :raises BackupError: the file exists, cannot be written or does not read back as it was written,
        or the database is not at the code's revision.
    """
    if os.path.lexists(path) and not path.is_file():
        raise BackupError(f"{path} is not a regular file.")
    if path.is_file() and not force:
        raise BackupError(f"{path} already exists. To replace it, use --force.")
    try:
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder, "part")
            with _snapshot(Path(folder)) as connection:
                header = _describe(connection)
                digest = archive.write(part, header, _select_all(connection))
            reader = _reader(part, "Checking")
            for _ in reader:
                pass
            if reader.digest != digest:
                raise BackupError("The file does not read back as it was written.")
            os.replace(part, path)
            _sync(path.parent)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        raise BackupError(f"The database cannot be copied: {error}.") from error
    return header


def has_data() -> bool:
    """Return whether any of the existing tables has a row."""
    with db.engines["read"].connect() as connection:
        found = sa.inspect(connection).get_table_names()
        return any(
            connection.execute(sa.select(1).select_from(table).limit(1)).first()
            for table in _tables()
            if table.name in found
        )


def list_keys(limit: int) -> Sequence[Row[str, str, str]]:
    """Return the first API keys: ``prefix``, ``name`` and the user's ``email``."""
    query = sa.select(APIKey.prefix, APIKey.name, User.email).join_from(APIKey, User)
    with db.engines["read"].connect() as connection:
        return connection.execute(query.order_by(APIKey.id).limit(limit)).all()


def check_header(path: Path, name: str | None = None) -> None:
    """Check quickly, by its header, that a file is a backup for this code.

    :param name: the file's name in messages; None: its path.
    :raises BackupError: the file is missing, is not a backup, or has another version or schema.
    """
    _reader(path, "Checking", name).read_header()


def restore(path: Path, replace: bool = False, name: str | None = None) -> Header:
    """Verify the whole file, then restore the database from it in one transaction.

    The words of users are made after it. The migrations create the schema in an empty database. New
    ids will be greater than all ids that the backup or the database has ever assigned. Sessions and
    one-time links are not restored: users who have signed out or were deactivated since must not be
    signed in again, and a link must not work twice. Nor are mails that were not sent yet.

    :param replace: delete the existing rows.
    :raises BackupError: the file is corrupt or not for this code; the database is at another
        revision, contains rows that may not be replaced, or rejects the new ones. No row is changed
        then.
    """
    reader = _reader(path, "Checking", name)
    for _ in reader:
        pass
    with db.engines["read"].connect() as connection:
        empty = set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
    if empty:
        flask_migrate.upgrade()
    refuse_missing_tables()
    sqlite = db.engine.dialect.name == "sqlite"
    try:
        with db.engines["maintenance"].connect() as connection:
            _refuse_other_revision(connection)
            # ALTER TABLE commits a transaction, so it comes before the rows: if they are rejected
            # later, only ids are lost.
            if sqlite:
                # With SQLite's default of 2 MB, each index page is written several times.
                connection.exec_driver_sql("PRAGMA cache_size = -32768")
            else:
                for statement in MYSQL_SESSION:
                    connection.exec_driver_sql(statement)
                _raise_next_ids(connection, reader.header)
            connection.commit()
            with connection.begin():
                connection.execute(sa.delete(UserWord.__table__))
                for table in reversed(_tables()):
                    # The lock of the DELETE blocks other writers until the end.
                    if connection.execute(sa.delete(table)).rowcount and not replace:
                        raise BackupError("The database contains data. To replace it, use --yes.")
                for table, rows in _reader(path, "Restoring", name):
                    if table not in NOT_RESTORED:
                        connection.execute(sa.insert(table), rows)
                if sqlite:
                    _raise_next_ids(connection, reader.header)
    except StatementError as error:
        remedy = ""
        if is_wrong_server(error) and not sqlite:
            remedy = (
                ". In a group, only the primary takes writes, and a transaction may have at most"
                " group_replication_transaction_size_limit bytes. Set that to 0 on each node until"
                " the restore is done."
            )
        raise BackupError(f"Database error: {error.orig}{remedy}") from error
    _make_words()
    return reader.header


def _make_words() -> None:
    """Make the words of all users, batch by batch.

    In the restore's transaction, they would double what a group of servers must hold in memory.

    :raises BackupError: the database failed; all rows are restored, and ``reindex`` makes the rest.
    """
    try:
        with progress_bar(users.count_users(), " users", "Indexing") as progress:
            for checked, _mended in word_index.commit_mending():
                progress.update(checked)
    except SQLAlchemyError as error:
        raise BackupError(
            "All rows are restored, but not all words by which users are found. Run `manage.py"
            f" reindex`. Database error: {getattr(error, 'orig', error)}"
        ) from error


def _tables() -> list[Table]:
    """Return every table of which a backup has the rows, parents before children."""
    return [table for table in db.metadata.sorted_tables if table is not UserWord.__table__]


def _refuse_other_revision(connection: Connection) -> None:
    if (found := current_revision(connection) or BASE) != (head := head_revision()):
        raise BackupError(
            f"The database is at revision {found}, and this code requires {head}:"
            " use the matching code, or run `manage.py db upgrade`."
        )


def refuse_missing_tables() -> None:
    """Check that a database marked with the code's revision has all tables.

    :raises BackupError: tables are missing; the migrations would not create them.
    """
    with db.engines["read"].connect() as connection:
        revision = current_revision(connection)
        found = sa.inspect(connection).get_table_names()
    missing = {table.name for table in (*_tables(), UserWord.__table__)} - set(found)
    if missing and revision == head_revision():
        raise BackupError(
            f"The database is marked as revision {revision}, but these tables are missing:"
            f" {', '.join(sorted(missing))}. Run `manage.py recreate_db`, then restore a backup."
        )


def _reader(path: Path, doing: str, name: str | None = None) -> archive.Reader:
    return archive.Reader(path, name, doing, head_revision(), _tables())


@contextmanager
def _snapshot(folder: Path) -> Iterator[Connection]:
    """Provide a connection that reads one snapshot of the database.

    :param folder: the folder for the temporary copy of a SQLite database.
    """
    if db.engine.dialect.name == "sqlite":
        copy = folder / "copy.db"
        with closing(sqlite3.connect(copy)) as target:
            # The copy is temporary, so it need not survive a power failure.
            target.execute("PRAGMA synchronous = OFF")
            with closing(db.engines["maintenance"].raw_connection()) as source:
                # All pages in one step: a copy in several steps restarts on every write.
                source.driver_connection.backup(target)  # type: ignore[union-attr]
        url = sa.URL.create("sqlite", database=str(copy))
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            yield connection
    else:
        with db.engines["maintenance"].connect() as connection:
            for statement in MYSQL_SESSION:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            yield connection


def _describe(connection: Connection) -> Header:
    _refuse_other_revision(connection)
    return Header(
        revision=head_revision(),
        created_at=f"{utcnow().isoformat()}Z",
        tables=[
            TableHeader(
                name=table.name,
                columns=table.columns.keys(),
                rows=connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0,
                next_id=_next_id(connection, table),
            )
            for table in _tables()
        ],
    )


def _select_all(connection: Connection) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows by primary key, in statements too short to reach a time limit."""
    for table in _tables():
        key = list(table.primary_key)
        query = sa.select(table).order_by(*key).limit(ROWS_PER_BATCH)
        rows = connection.execute(query).all()
        while rows:
            yield rows
            last = [rows[-1]._mapping[column] for column in key]
            rows = connection.execute(query.where(*keyset.after(key, last))).all()


def _next_id(connection: Connection, table: Table) -> int | None:
    """Return the next id of the table; None: it does not assign ids, or does not store the next."""
    if table.autoincrement_column is None:
        return None
    if connection.dialect.name == "sqlite":
        if not table.dialect_options["sqlite"]["autoincrement"]:
            return None
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return (connection.scalar(query, {"name": table.name}) or 0) + 1
    # Not from information_schema, where MySQL's values may be a day old.
    name = connection.dialect.identifier_preparer.format_table(table)
    description = connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").one()[1]
    found = re.search(r"^\).*\bAUTO_INCREMENT=(\d+)", description, re.MULTILINE)
    return int(found[1]) if found else 1


def _raise_next_ids(connection: Connection, header: Header) -> None:
    """Set each table's next id to the backup's, unless it is already greater."""
    for table, saved in zip(_tables(), header.tables, strict=True):
        next_id = saved.next_id or 0
        if next_id <= (_next_id(connection, table) or next_id):
            continue
        if connection.dialect.name == "sqlite":
            values = {"name": table.name, "seq": next_id - 1}
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(sa.text("INSERT INTO sqlite_sequence VALUES (:name, :seq)"), values)
        else:
            name = connection.dialect.identifier_preparer.format_table(table)
            connection.exec_driver_sql(f"ALTER TABLE {name} AUTO_INCREMENT = {next_id}")


def _sync(folder: Path) -> None:
    """Sync a new name in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The commands for the database schema, and for generated users."""

from collections.abc import Iterator
from random import choice
from secrets import token_hex
from time import monotonic

import flask_migrate
from sqlalchemy import MetaData, inspect

from project.api.audit import service as audit
from project.api.models import User
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.backup import service as backup
from project.commands.terminal import confirm, exit_on_backup_error
from project.database import check_database, db, in_transaction, revisions
from project.progress import progress_bar

FIRST_USERS = [("cnych", "qikqiak@gmail.com"), ("chyang", "icnych@gmail.com")]
FIRST_NAMES = ["Ada", "Chidi", "Dagný", "Emre", "Fatima", "Inés", "Jun", "Lakshmi", "Noor", "Olga"]
LAST_NAMES = ["Abebe", "Costa", "Haddad", "Kowalska", "Lindqvist", "Novák", "Okafor", "Sato", "Wu"]
USERS_PER_BATCH = 5000


def recreate_db(yes: bool = False) -> None:
    """Drop every table, including that of the migrations, and upgrade to the newest schema.

    :raises WrongDatabase: the settings name another database than the engines use.
    """
    check_database()
    if not yes and inspect(db.engine).has_table(User.__tablename__) and service.has_users():
        confirm("users", "delete them")
    engine = db.engines["maintenance"]
    found = MetaData()
    found.reflect(engine)
    found.drop_all(engine)
    upgrade()


@audit.by_command("seed_db")
def seed_db(count: int | None = None) -> None:
    """Add the first two users if they are missing, or generated users in bulk.

    :param count: the number of users to generate, at least 1; None: add the first two instead.
    """
    if count is None:
        for username, email in FIRST_USERS:
            print(_add_first_user(username, email))
        return
    started = monotonic()
    with progress_bar(count, " users") as progress:
        for start in range(0, count, USERS_PER_BATCH):
            size = min(USERS_PER_BATCH, count - start)
            in_transaction(service.create_users)(list(_generate_users(size)))
            progress.update(size)
    seconds = monotonic() - started
    print(f"Added {count:,} users in {seconds:.1f} s ({count / seconds:,.0f} users/s).")


def _add_first_user(username: str, email: str) -> str:
    try:
        in_transaction(service.create_user)(username, email)
    except EmailTaken:
        return f"{email} already exists."
    return f"{email} was added!"


def _generate_users(count: int) -> Iterator[tuple[str, str]]:
    for _ in range(count):
        yield f"{choice(FIRST_NAMES)} {choice(LAST_NAMES)}", f"{token_hex(8)}@example.com"


def upgrade(revision: str = "head") -> None:
    """Upgrade the schema to a revision, and check that no table is missing."""
    flask_migrate.upgrade(revision=revision)
    with exit_on_backup_error():
        backup.refuse_missing_tables()
    print(f"The database is at revision {current_revision()}.")


def downgrade(revision: str = "-1") -> None:
    """Downgrade the schema to a revision; `base` is the empty database."""
    flask_migrate.downgrade(revision=revision)
    print(f"The database is at revision {current_revision() or revisions.BASE}.")


def migrate(message: str | None) -> None:
    """Write a migration for the changes in the models, with the next number.

    :param message: what changes; becomes the docstring and part of the file's name.
    """
    last = revisions.head_revision()
    number = 1 if last == revisions.BASE else int(last) + 1
    flask_migrate.migrate(message=message, rev_id=f"{number:04}")


def current_revision() -> str | None:
    """Return the revision of the database schema; None: no migration has run."""
    with db.engine.connect() as connection:
        return revisions.current_revision(connection)

"""The application as gunicorn loads it (``manage:app``), and the commands."""

import sys
from argparse import ArgumentTypeError

import flask_migrate
from flask import Flask
from flask_script_ng import Command, Manager, Option, Shell
from sqlalchemy.exc import DBAPIError, OperationalError

from project import create_app, db
from project.api.models import User
from project.commands import accounts, backups, server, testing, transfer
from project.commands import audit as audit_trail
from project.commands import database as schema
from project.config import ConfigError, positive_integer
from project.database.failures import is_old_schema
from project.version import VERSION
from project.web.guard import scopes

try:
    app = create_app()
except ConfigError as error:
    if __name__ != "__main__":
        raise  # gunicorn gives up on an error, but would start anew for ever after an exit
    sys.exit(f"Cannot start. {error}")

manager = Manager(app, description="Commands of the users service; COMMAND --help tells more.")
manager.help_args = ("-h", "-?", "--help")
manager.add_option("--version", action="version", version=VERSION)


def port(text: str) -> int:
    """Read a TCP port.

    :raises ArgumentTypeError: it is not one, 1 to 65535.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise ArgumentTypeError(f"{text} is not a port: ports are 1 to 65535")
    return int(text)


class RunServer(Command):  # type: ignore[misc]
    """Serve over HTTP, for development; in production gunicorn serves."""

    help_args = ("-?", "--help")  # -h is the host
    option_list = (
        Option("-h", "--host", default="127.0.0.1", help="address to listen on"),
        Option("-p", "--port", type=port, default=5000, help="port to listen on"),
        Option("--no-reload", action="store_true", help="do not restart when the code changes"),
    )

    def __call__(self, app: Flask, host: str, port: int, no_reload: bool) -> None:
        """Serve outside the request context in which the other commands run."""
        server.run_server(app, host, port, reload=not no_reload)


manager.add_command("runserver", RunServer)
manager.add_command(
    "shell",
    Shell(
        banner="A Python shell with app, db and User.",
        make_context=lambda: {"app": app, "db": db, "User": User},
    ),
)


@manager.option("--yes", action="store_true", help="do not ask, even when users will be lost")
def recreate_db(yes: bool) -> None:
    """Drop every table and make them anew by the migrations."""
    schema.recreate_db(yes)


@manager.option("--count", type=positive_integer, help="add this many made-up users instead")
def seed_db(count: int | None) -> None:
    """Add the first two users where they are missing."""
    schema.seed_db(count)


PASSWORD_OPTIONS = (
    Option("--password-stdin", action="store_true", help="read the password from standard input"),
    Option("--password-file", metavar="FILE", help="read the password from this file"),
)


class CreateAdmin(Command):  # type: ignore[misc]
    """Add an administrator; without an option for the password, it is asked for."""

    option_list = (
        Option("--username", required=True, help="the administrator's name"),
        Option("--email", required=True, help="the administrator's email address"),
        *PASSWORD_OPTIONS,
    )

    def run(
        self, username: str, email: str, password_stdin: bool, password_file: str | None
    ) -> None:
        """Add the administrator."""
        accounts.create_admin(username, email, password_stdin, password_file)


class SetPassword(Command):  # type: ignore[misc]
    """Give a user another password; without an option for it, it is asked for."""

    option_list = (Option("email", help="the user's email address"), *PASSWORD_OPTIONS)

    def run(self, email: str, password_stdin: bool, password_file: str | None) -> None:
        """Set the password."""
        accounts.set_password(email, password_stdin, password_file)


manager.add_command("create_admin", CreateAdmin)
manager.add_command("set_password", SetPassword)


@manager.option("--days", type=positive_integer, help="for how long; default: until it is removed")
@manager.option(
    "--scope",
    dest="scopes",
    action="append",
    required=True,
    choices=scopes(),
    help="repeat for more",
)
@manager.option("--name", required=True, help="what the key is for")
@manager.option("email", help="the email address of the user whose key it will be")
def create_key(email: str, name: str, scopes: list[str], days: int | None) -> None:
    """Make an API key for a machine, and print it: for the only time."""
    accounts.create_key(email, name, scopes, days)


@manager.option("email", nargs="?", help="only those of the user with this address")
def list_keys(email: str | None) -> None:
    """List API keys: whose, for what, and when they were used; not the keys themselves."""
    accounts.list_keys(email)


@manager.option("id", type=positive_integer, help="as list_keys tells it")
def resume_key(id: int) -> None:
    """Let an API key that is suspended, since its user was deactivated, be good again."""
    accounts.resume_key(id)


@manager.option("id", type=positive_integer, help="as list_keys tells it")
def revoke_key(id: int) -> None:
    """Remove an API key at once, whosever it is."""
    accounts.revoke_key(id)


@manager.option("--limit", type=positive_integer, default=100, help="the newest; default: 100")
@manager.option("--since", metavar="WHEN", help="such as 2026-11-23 or 2026-11-23T15:12:58Z")
@manager.option("--actor", metavar="NAME", help="by user:7, key:3, command:seed_db or anonymous")
@manager.option("--user", metavar="ID", help="to the user with this id")
def audit(user: str | None, actor: str | None, since: str | None, limit: int) -> None:
    """Show who did what to whom, the newest last."""
    audit_trail.show(user, actor, since, limit)


@manager.command
def prune() -> None:
    """Remove all that is past its time, as those who serve do little by little."""
    audit_trail.prune()


@manager.command
def prune_audit() -> None:
    """Do what `prune` does: the name that it once had."""
    audit_trail.prune()


@manager.option("--force", action="store_true", help="replace a file of that name")
@manager.option("file", help="the file to write; it holds personal data; -: standard output")
def backup(file: str, force: bool) -> None:
    """Write all data to one compressed file, as of one moment."""
    backups.back_up(file, force)


@manager.option("--yes", action="store_true", help="do not ask, even when data will be replaced")
@manager.option("file", help="the file to read, from the backup command; -: standard input")
def restore(file: str, yes: bool) -> None:
    """Fill the database from a backup of the same schema revision."""
    backups.restore(file, yes)


@manager.option("--report", metavar="FILE", help="a new CSV file for each row not plainly created")
@manager.option(
    "--match", choices=["email", "id"], default="email", help="how a row finds its user"
)
@manager.option("--dry-run", action="store_true", help="say what would be done, and change nothing")
@manager.option(
    "file", help="rows in .csv, .ndjson or .jsonl, also with .gz; see docs/import-export.md"
)
def import_users(file: str, dry_run: bool, match: str, report: str | None) -> None:
    """Add the users of a file, and change those whose mailbox, or id, is known."""
    transfer.import_users(file, dry_run, report, match)


@manager.option("--force", action="store_true", help="replace a file of that name")
@manager.option("file", help="the file to write: .csv, .ndjson or .jsonl, also with .gz")
def export_users(file: str, force: bool) -> None:
    """Write all users to a file, in the order of their ids."""
    transfer.export_users(file, force)


@manager.option("--jobs", type=positive_integer, default=1, help="in so many processes; default: 1")
@manager.option("name", nargs="?", help="dotted name of one test, class or module; default: all")
def test(name: str | None, jobs: int) -> int:
    """Run the tests on the test database."""
    return testing.run_tests(name, jobs)


@manager.option("--jobs", type=positive_integer, default=1, help="in so many processes; default: 1")
@manager.option("name", nargs="?", help="dotted name of one test, class or module; default: all")
def cov(name: str | None, jobs: int) -> int:
    """Run the tests and report the branch coverage."""
    return testing.run_coverage(name, jobs)


database = Manager(
    help="Change the schema of the database, or ask for its revision.",
    description="Change the schema of the database, or ask for its revision.",
)
database.help_args = manager.help_args
manager.add_command("db", database)


@database.option("revision", nargs="?", default="head", help="up to this one; default: the newest")
def upgrade(revision: str) -> None:
    """Upgrade to a newer revision."""
    schema.upgrade(revision)


@database.option("revision", nargs="?", default="-1", help="down to this one; default: one back")
def downgrade(revision: str) -> None:
    """Take back to an older revision; `base` is empty."""
    schema.downgrade(revision)


@database.option("-m", "--message", help="what changes; becomes part of the file's name")
def migrate(message: str | None) -> None:
    """Write a migration for what changed in the models."""
    schema.migrate(message)


@database.command
def current() -> None:
    """Show the revision of the database."""
    flask_migrate.current()


@database.command
def history() -> None:
    """Show all revisions, the newest first."""
    flask_migrate.history()


if __name__ == "__main__":
    try:
        manager.run()
    except DBAPIError as error:
        if is_old_schema(error):
            sys.exit(
                f"The database's schema is older than the code: {error.orig}."
                " Run `manage.py db upgrade`."
            )
        if error.statement is not None and not isinstance(error, OperationalError):
            raise
        sys.exit(f"The database refused: {error.orig}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")

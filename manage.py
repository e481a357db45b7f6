"""The application as gunicorn loads it (``manage:app``), and the commands."""

import sys
from argparse import ArgumentTypeError

import flask_migrate
from flask import Flask
from flask_script_ng import Command, Manager, Option, Shell
from sqlalchemy.exc import DBAPIError, OperationalError

from project import create_app, db
from project.api.models import User
from project.api.users.schemas import ROLE_FILTERS
from project.commands import accounts, backups, search, server, testing, transfer
from project.commands import audit as audit_trail
from project.commands import database as schema
from project.commands import scim_check as scim
from project.config import ConfigError, positive_integer
from project.database.failures import is_old_schema
from project.version import VERSION
from project.web.guard import scopes

try:
    app = create_app()
except ConfigError as error:
    if __name__ != "__main__":
        raise  # gunicorn stops on an error, but would restart forever after an exit
    sys.exit(f"Cannot start. {error}")

manager = Manager(app, description="Commands of the users service. COMMAND --help shows details.")
manager.help_args = ("-h", "-?", "--help")
manager.add_option("--version", action="version", version=VERSION)


def port(text: str) -> int:
    """Parse a TCP port.

    :raises ArgumentTypeError: it is not a number from 1 to 65535.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise ArgumentTypeError(f"{text} is not a port: ports are 1 to 65535")
    return int(text)


class RunServer(Command):  # type: ignore[misc]
    """Run the development server; production uses gunicorn."""

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


@manager.option("--yes", action="store_true", help="do not ask, even if users will be lost")
def recreate_db(yes: bool) -> None:
    """Drop every table, and run all migrations."""
    schema.recreate_db(yes)


@manager.option("--count", type=positive_integer, help="add this many generated users instead")
def seed_db(count: int | None) -> None:
    """Add two sample users if they are missing."""
    schema.seed_db(count)


PASSWORD_OPTIONS = (
    Option("--password-stdin", action="store_true", help="read the password from standard input"),
    Option("--password-file", metavar="FILE", help="read the password from this file"),
)


class CreateAdmin(Command):  # type: ignore[misc]
    """Add an administrator; asks for the password unless an option provides it."""

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
    """Set a user's password; asks for it unless an option provides it."""

    option_list = (Option("email", help="the user's email address"), *PASSWORD_OPTIONS)

    def run(self, email: str, password_stdin: bool, password_file: str | None) -> None:
        """Set the password."""
        accounts.set_password(email, password_stdin, password_file)


manager.add_command("create_admin", CreateAdmin)
manager.add_command("set_password", SetPassword)


@manager.command
def setup_code() -> None:
    """Print the code that the page asks for to create the first administrator."""
    accounts.print_setup_code()


@manager.option(
    "--service",
    action="store_true",
    help="add the key's user too: an active one without a password, for a machine, with the least"
    " role that has the scopes",
)
@manager.option(
    "--days", type=positive_integer, help="days until it expires; default: it never expires"
)
@manager.option(
    "--scope",
    dest="scopes",
    action="append",
    default=[],
    choices=scopes(),
    help="a scope of the key; may be repeated; default with --service: all of users and groups",
)
@manager.option("--name", help="the purpose of the key; default with --service: the user's name")
@manager.option(
    "user",
    help="the email address of the key's user; with --service also a name, such as okta, whose"
    " address is then okta@service.invalid",
)
def create_key(
    user: str, name: str | None, scopes: list[str], days: int | None, service: bool
) -> None:
    """Create an API key for a user, and print it; it cannot be shown again."""
    if service:
        accounts.create_service_key(user, name, scopes, days)
    elif name and scopes:
        accounts.create_key(user, name, scopes, days)
    else:
        raise SystemExit("Provide --name and --scope, or --service.")


@manager.option(
    "--key",
    help="the API key; default: SCIM_KEY, or that of a service account which exists only meanwhile",
)
@manager.option(
    "--url", help="the address of the service; default: PUBLIC_URL, or http://127.0.0.1:5000"
)
def scim_check(url: str | None, key: str | None) -> None:
    """Do over HTTP what an identity provider does, and say for each step whether it works."""
    scim.check(url, key)


@manager.option("email", nargs="?", help="only the keys of the user with this email address")
def list_keys(email: str | None) -> None:
    """List API keys with their users, purposes and last uses, without the keys themselves."""
    accounts.list_keys(email)


@manager.option("id", type=positive_integer, help="the key's id, as shown by list_keys")
def resume_key(id: int) -> None:
    """Resume an API key that was suspended when its user was deactivated."""
    accounts.resume_key(id)


@manager.option("id", type=positive_integer, help="the key's id, as shown by list_keys")
def revoke_key(id: int) -> None:
    """Remove an API key of any user at once."""
    accounts.revoke_key(id)


@manager.option(
    "--limit", type=positive_integer, default=100, help="how many of the newest; default: 100"
)
@manager.option("--until", metavar="WHEN", help="only events before this date or time")
@manager.option("--since", metavar="WHEN", help="a date or time, such as 2026-11-23T15:12:58Z")
@manager.option("--action", metavar="NAME", help="only events of this kind, such as user.updated")
@manager.option("--actor", metavar="NAME", help="user:7, key:3, command:seed_db or anonymous")
@manager.option("--user", metavar="ID", help="only events that affected the user with this id")
def audit(
    user: str | None,
    actor: str | None,
    action: str | None,
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """Print the audit trail, one line per event, newest last."""
    audit_trail.show(limit, user=user, actor=actor, action=action, since=since, until=until)


@manager.command
def reindex() -> None:
    """Check the words by which users are found, and mend those that do not match."""
    search.reindex()


@manager.command
def prune() -> None:
    """Remove all expired data at once; the service does so gradually by itself."""
    audit_trail.prune()


@manager.command
def prune_audit() -> None:
    """Run `prune`, by its old name."""
    audit_trail.prune()


@manager.option("--force", action="store_true", help="replace an existing file")
@manager.option("file", help="the file to write; contains personal data; -: standard output")
def backup(file: str, force: bool) -> None:
    """Write a consistent snapshot of all data to one compressed file."""
    backups.back_up(file, force)


@manager.option("--yes", action="store_true", help="do not ask, even if data will be replaced")
@manager.option("file", help="a file written by the backup command; -: standard input")
def restore(file: str, yes: bool) -> None:
    """Restore the database from a backup of the same schema revision."""
    backups.restore(file, yes)


@manager.option(
    "--report",
    metavar="FILE",
    help="write the rows that failed to a new file, as they came and with the error, to be mended",
)
@manager.option(
    "--deactivate-missing",
    action="store_true",
    dest="missing",
    help="deactivate active users who are not in the file, except administrators",
)
@manager.option(
    "--max-deactivate",
    metavar="N",
    type=positive_integer,
    help="how many of them at most; default: a tenth of the active users",
)
@manager.option(
    "--match", choices=["email", "id"], default="email", help="how to match rows to users"
)
@manager.option("--dry-run", action="store_true", help="check the file, and change nothing")
@manager.option(
    "--map",
    action="append",
    dest="maps",
    default=[],
    metavar="FIELD:COLUMN",
    help='read a field from this column, such as "email:Work Email"; may be repeated',
)
@manager.option("file", help="the file to read, or - for the standard input; see docs/imports.md")
def import_users(
    file: str,
    dry_run: bool,
    match: str,
    report: str | None,
    maps: list[str],
    missing: bool,
    max_deactivate: int | None,
) -> None:
    """Create users from a file, and update those with a known email or id."""
    transfer.import_users(file, dry_run, report, match, maps, missing, max_deactivate)


@manager.option("--force", action="store_true", help="replace an existing file")
@manager.option("--columns", metavar="NAMES", help="comma-separated; default: all")
@manager.option("--active", choices=["true", "false"], help="only active, or only inactive users")
@manager.option("--role", choices=ROLE_FILTERS, help="only users with this role")
@manager.option("--search", metavar="TEXT", help="only users whom a search for this finds")
@manager.option("--bom", action="store_true", help="begin a CSV with a byte order mark, for Excel")
@manager.option("--safe", action="store_true", help="an apostrophe before formulas in a CSV")
@manager.option(
    "--format",
    dest="form",
    choices=["csv", "ndjson", "xlsx"],
    help="the file's format; default: as its name says, and csv for -",
)
@manager.option(
    "file",
    help="the file to write: .csv, .ndjson, .jsonl or .xlsx, also .gz; -: the standard output",
)
def export_users(
    file: str,
    force: bool,
    columns: str | None,
    active: str | None,
    role: str | None,
    search: str | None,
    bom: bool,
    safe: bool,
    form: str | None,
) -> None:
    """Write users to a file, in order of id, or of the search."""
    is_active = None if active is None else active == "true"
    transfer.export_users(file, force, columns, is_active, role, bom, safe, search, form)


@manager.option("--jobs", type=positive_integer, default=1, help="number of processes; default: 1")
@manager.option(
    "name", nargs="?", help="dotted name of one test, class, module or folder; default: all"
)
def test(name: str | None, jobs: int) -> int:
    """Run the tests on the test database."""
    return testing.run_tests(name, jobs)


@manager.option("--jobs", type=positive_integer, default=1, help="number of processes; default: 1")
@manager.option(
    "name", nargs="?", help="dotted name of one test, class, module or folder; default: all"
)
def cov(name: str | None, jobs: int) -> int:
    """Run the tests, and report the branch coverage."""
    return testing.run_coverage(name, jobs)


database = Manager(
    help="Change the database schema, or show its revision.",
    description="Change the database schema, or show its revision.",
)
database.help_args = manager.help_args
manager.add_command("db", database)


@database.option("revision", nargs="?", default="head", help="the target; default: the newest")
def upgrade(revision: str) -> None:
    """Upgrade to a newer revision."""
    schema.upgrade(revision)


@database.option("revision", nargs="?", default="-1", help="the target; default: one back")
def downgrade(revision: str) -> None:
    """Downgrade to an older revision; `base` is the empty database."""
    schema.downgrade(revision)


@database.option("-m", "--message", help="what changes; used in the file's name")
def migrate(message: str | None) -> None:
    """Write a migration for changes in the models."""
    schema.migrate(message)


@database.command
def current() -> None:
    """Show the revision of the database."""
    flask_migrate.current()


@database.command
def history() -> None:
    """Show all revisions, newest first."""
    flask_migrate.history()


if __name__ == "__main__":
    try:
        manager.run()
    except DBAPIError as error:
        if is_old_schema(error):
            sys.exit(
                f"The database schema is older than the code: {error.orig}."
                " Run `manage.py db upgrade`."
            )
        if error.statement is not None and not isinstance(error, OperationalError):
            raise
        sys.exit(f"Database error: {error.orig}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")

"""Accounts: administrators, passwords and API keys."""

import re
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select

from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.auth import setup
from project.api.users import service as users
from project.api.users.errors import EmailTaken
from project.api.users.folding import fold_email
from project.api.users.models import ROLES, User
from project.api.users.schemas import UserCreate
from project.clock import utcnow
from project.database import Row, db, in_transaction
from project.errors import AppError
from project.logs import printable
from project.web import guard
from project.web.contract import validate
from project.web.guard import SCOPES_OF_ROLE, Principal

SERVICE_DOMAIN = "service.invalid"
"""Of the addresses of service accounts: no mail is ever received there (RFC 6761 section 6.4)."""

KEY_COLUMNS = "id prefix name user scopes created expires used suspended".split()

T = TypeVar("T")


@audit.by_command("create_admin")
def create_admin(username: str, email: str, stdin: bool, file: str | None) -> None:
    """Add an active user who is an administrator.

    :param stdin: read the password from standard input.
    :param file: read the password from this file; neither: ask a person for it.
    """
    _exit_on_error(lambda: validate(UserCreate, {"username": username, "email": email}))
    password = _read_password(stdin, file)

    def add() -> None:
        users.create_user(username, email, active=True, password=password, role="admin")

    _exit_on_error(in_transaction(add))
    print(f"{email} was added as an administrator.")


def print_setup_code() -> None:
    """Print the code with which the first administrator is created on the page."""
    if users.has_administrator():
        raise SystemExit("There is an administrator already. create_admin adds another one.")
    print(setup.commit_code())


@audit.by_command("set_password")
def set_password(email: str, stdin: bool, file: str | None) -> None:
    """Set a user's password, and end their sign-ins."""
    user_id = _find(email)
    password = _read_password(stdin, file)
    _exit_on_error(in_transaction(lambda: users.update_user(user_id, {"password": password})))
    print(f"The password of {email} was changed.")
    if not users.get_user(user_id).active:
        print(
            "The user cannot sign in yet, because the account is not active. To activate it, an"
            f' administrator sends {{"active": true}} with PATCH /users/{user_id}, or checks'
            ' "Active" on the edit page.'
        )


@audit.by_command("create_key")
def create_key(email: str, name: str, scopes: list[str], days: int | None) -> None:
    """Create an API key for a user, and print it; it cannot be shown again.

    :param days: the number of days for which it is valid; None: until it is removed.
    """
    user_id = _find(email)

    def make() -> Row:
        user = db.session.get_one(User, user_id, with_for_update=True)
        return _create_key(user, name, scopes, days)

    print(_exit_on_error(in_transaction(make)).key)


@audit.by_command("create_key")
def create_service_key(account: str, name: str | None, scopes: list[str], days: int | None) -> None:
    """Add a user for a machine, with an API key, and print the key; it cannot be shown again.

    The parameters are those of ``add_service_account``.
    """

    def add() -> tuple[Row, Row]:
        try:
            return in_transaction(add_service_account)(account, name, scopes, days)
        except EmailTaken as error:
            raise SystemExit(
                f"There is a user with the email {_service_email(account)} already. Without"
                " --service, create_key makes a further key for them."
            ) from error

    user, key = _exit_on_error(add)
    print(f"{user.email} was added (user:{user.id}, {user.role}).", file=sys.stderr)
    print(key.key)


def add_service_account(
    account: str, name: str | None, scopes: list[str], days: int | None
) -> tuple[Row, Row]:
    """Add a user for a machine, with an API key; return both.

    The user is active, has no password, and the least role that has the scopes.

    :param account: the user's name, or an email address.
    :param name: the key's; None: the user's.
    :param scopes: empty: those that provisioning needs.
    :param days: the number of days for which it is valid; None: until it is removed.
    :raises Invalid: the name or the address is none (400).
    :raises EmailTaken: there is a user with this address (400).
    """
    username, email = account.partition("@")[0], _service_email(account)
    validate(UserCreate, {"username": username, "email": email})
    scopes = scopes or [each for each in guard.scopes() if re.match("(users|groups):", each)]
    role = next(each for each in ROLES if SCOPES_OF_ROLE[each].issuperset(scopes))
    user = users.create_user(username, email, active=True, role=role)
    return user, _create_key(user, name or username, scopes, days)


def _service_email(account: str) -> str:
    return account if "@" in account else f"{account}@{SERVICE_DOMAIN}"


def _create_key(user: User | Row, name: str, scopes: list[str], days: int | None) -> Row:
    who = Principal(user.id, user.username, user.role, SCOPES_OF_ROLE[user.role])
    return auth.create_key(who, name, scopes, days)


def list_keys(email: str | None) -> None:
    """Print API keys as tab-separated values, without the keys themselves.

    Those that expire soon are named on standard error.

    :param email: only those of the user with this email; None: all.
    """
    keys = auth.list_keys(None if email is None else _find(email))
    print(*KEY_COLUMNS, sep="\t")
    for key in keys:
        values = [
            str(key.id),
            key.prefix,
            key.name,
            f"user:{key.user_id}",
            ",".join(key.scopes),
            *(
                f"{time.isoformat()}Z" if time else "-"
                for time in (key.created_at, key.expires_at, key.last_used_at)
            ),
            "yes" if key.suspended else "no",
        ]
        print(*map(printable, values), sep="\t")
    now = utcnow()
    for key in keys:
        if days := auth.days_left(key.expires_at, now):
            text = f"{key.id} ({printable(key.name)}) expires in {days} day{'s' * (days > 1)}."
            print(text, file=sys.stderr)


@audit.by_command("resume_key")
def resume_key(key_id: int) -> None:
    """Resume a suspended API key."""
    key = _exit_on_error(in_transaction(lambda: auth.resume_key(key_id)))
    print(f"{printable(key.name)} of user:{key.user_id} is not suspended.")


@audit.by_command("revoke_key")
def revoke_key(key_id: int) -> None:
    """Remove an API key."""
    key = _exit_on_error(in_transaction(lambda: auth.delete_key(key_id)))
    print(f"{printable(key.name)} of user:{key.user_id} was removed.")


def _find(email: str) -> int:
    try:
        folded = fold_email(email)
    except ValueError as error:
        raise SystemExit(f"{email}: {error}") from error
    found = db.session.scalar(select(User.id).where(User.email_folded == folded))
    db.session.rollback()
    if found is None:
        raise SystemExit(f"There is no user with the email {email}.")
    return found


def _read_password(stdin: bool, file: str | None) -> str:
    """Return the password, without a byte-order mark and the line end."""
    if stdin and file:
        raise SystemExit("Use either --password-stdin or --password-file, not both.")
    try:
        if file:
            return Path(file).read_text(encoding="utf-8-sig").rstrip("\r\n")
        if stdin:
            return sys.stdin.read().removeprefix("\ufeff").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SystemExit(f"The password cannot be read: {error}") from error
    if not sys.stdin.isatty():
        raise SystemExit("Provide the password with --password-stdin or --password-file FILE.")
    password = getpass("Password: ")
    if getpass("Repeat the password: ") != password:
        raise SystemExit("The passwords do not match. Nothing was changed.")
    return password


def _exit_on_error(work: Callable[[], T]) -> T:
    """Do the work; an error of the domain ends the command with its reason."""
    try:
        return work()
    except AppError as error:
        reasons = [f"{each.field}: {each.message}" for each in error.errors]
        text = error.message if isinstance(error, EmailTaken) or not reasons else " ".join(reasons)
        raise SystemExit(text) from error

"""The first administrator: who has the code in the service's log may create them.

The code is made from the secret key and a random salt in the database, so all processes and hosts
have the same one, and neither the database nor the key alone says it. See docs/decisions/links.md.
"""

import hmac
import time
from base64 import b32encode
from hashlib import sha256
from secrets import token_hex
from threading import Thread

import structlog
from flask import Flask, current_app
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from project.api.audit import service as audit
from project.api.auth import service, throttle
from project.api.auth.errors import WrongSetupCode
from project.api.auth.models import SetupCode
from project.api.auth.service import SignIn
from project.api.users import service as users
from project.api.users.errors import AdministratorExists
from project.database import close_thread_connections, in_transaction, read, write
from project.web import guard

ACCOUNT = "setup"
"""The name under which wrong codes are counted."""

SECONDS_BETWEEN_TRIES = 5
TRIES = 120
GROUPS = 4
CHARACTERS = 4
_NAME = "first"
_REFUSED = audit.register("setup.refused")
_table = SetupCode.__table__
_SALT = select(_table.c.salt).where(_table.c.name == bindparam("name"))
_ADD = insert(_table)

log = structlog.get_logger()


def is_needed() -> bool:
    """Return whether access is protected and no administrator can sign in."""
    return not guard.is_open() and not users.has_administrator()


def commit_code() -> str:
    """Return the code, such as ``K3VQ-9AB2-XW4T-7PLM``; store its salt if there is none yet."""
    while not (found := read(_SALT, {"name": _NAME})):
        try:
            in_transaction(write)(_ADD, {"name": _NAME, "salt": token_hex(32)})
        except IntegrityError:
            continue  # another process was faster
    key = str(current_app.config["SECRET_KEY"]).encode()
    digest = hmac.digest(key, f"setup {found[0].salt}".encode(), sha256)
    text = b32encode(digest).decode()
    return "-".join(
        text[start : start + CHARACTERS] for start in range(0, GROUPS * CHARACTERS, CHARACTERS)
    )


def commit_first_administrator(
    username: str, email: str, password: str, code: str, address: str = ""
) -> SignIn:
    """Create the first administrator, and sign them in.

    :param code: in any letter case, with or without hyphens and spaces.
    :param address: the client's; guessing the code is slowed down as guessing a password.
    :raises AdministratorExists: there is one already, even one made at this moment (409).
    :raises TooManyAttempts: too many codes were wrong before (429).
    :raises WrongSetupCode: the code is wrong (400).
    :raises Invalid: the password is easy to guess (400).
    :raises EmailTaken: another user has this mailbox (400).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    """
    if not is_needed():
        raise AdministratorExists
    throttle.check(ACCOUNT, address)
    throttle.commit_attempt(ACCOUNT, address)
    if not hmac.compare_digest(_normal(code).encode(), _normal(commit_code()).encode()):
        in_transaction(audit.record)(_REFUSED)
        raise WrongSetupCode
    in_transaction(throttle.record_success)(ACCOUNT, address)

    def create() -> SignIn:
        user = users.create_first_administrator(username, email, password)
        return service.start_session(user, deactivations=0)

    return in_transaction(create)()


def announce(app: Flask) -> Thread | None:
    """Log the code in a thread, as soon as the database answers, if it is needed; None: it is not.

    The service does not wait for it: at a start, the database may be away.
    """
    if app.config["ACCESS"] == "open":
        return None
    thread = Thread(target=_announce, args=(app,), name="setup", daemon=True)
    thread.start()
    return thread


def _announce(app: Flask) -> None:
    with app.app_context():
        for _ in range(TRIES):
            try:
                if is_needed():
                    log.warning(
                        "no administrator yet: open /setup and enter this code", code=commit_code()
                    )
                return
            except SQLAlchemyError:  # it is away, or not migrated yet
                time.sleep(SECONDS_BETWEEN_TRIES)
            finally:
                close_thread_connections()


def _normal(code: str) -> str:
    return "".join(filter(str.isalnum, code.upper()))

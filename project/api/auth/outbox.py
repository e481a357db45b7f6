"""Mails with one-time links: a table of those to send, and a thread that sends them.

No request waits for the mail server: it adds a row, and the thread of a serving process sends the
mail. The mail's link is made when the server is ready for it, so the database has only its hash.
See docs/decisions/links.md.
"""

import random
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid, parseaddr, unquote
from threading import Event, Thread
from typing import Any

import structlog
from flask import Flask, current_app
from flask_babel import gettext as _
from sqlalchemy import DateTime, Integer, String, bindparam, delete, insert, select, update

from project.api.audit import service as audit
from project.api.auth import links
from project.api.auth.links import MadeLink
from project.api.auth.models import Mail
from project.api.users.errors import UserNotFound
from project.api.users.folding import fold_email
from project.api.users.models import User
from project.clock import utcnow
from project.database import Row, close_thread_connections, in_transaction, read, write
from project.mail_server import MailServer, parse_server
from project.web.guard import known_principal
from project.web.languages import DEFAULT, format_datetime, in_language
from project.web.pruning import delete_oldest, prunes

SECONDS_BETWEEN_LOOKS = 5
MAILS_PER_LOOK = 20
SERVER_SECONDS = 10
"""How long the server may take for each answer."""

CLAIM = timedelta(minutes=5)
"""After this time, a mail whose sender has died is sent by another."""

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
LIFETIME = timedelta(hours=links.HOURS)
ERROR_LENGTH = 255

_mails: Any = Mail.__table__
_HAS_ID = _mails.c.id == bindparam("mail_id", type_=Integer)
_ADD = insert(_mails)
_DUE = (
    select(_mails)
    .where(
        _mails.c.next_attempt_at <= bindparam("now", type_=DateTime),
        _mails.c.created_at > bindparam("oldest", type_=DateTime),
    )
    .order_by(_mails.c.next_attempt_at)
    .limit(MAILS_PER_LOOK)
)
_CLAIM = update(_mails).where(
    _HAS_ID, _mails.c.next_attempt_at == bindparam("found", type_=DateTime)
)
_POSTPONE = update(_mails).where(_HAS_ID)
_REMOVE = delete(_mails).where(_HAS_ID)
_RECIPIENT = select(User.id, User.active).where(
    User.email_folded == bindparam("email_folded", type_=String)
)

log = structlog.get_logger()
_new = Event()


class Refused(Exception):
    """The server will never take this mail."""


def is_on() -> bool:
    """Return whether the service sends mails."""
    return bool(current_app.config["SMTP_URL"])


def add(purpose: str, recipient: str, language: str | None = None) -> None:
    """Add a mail to send; whether a user has the address is found out when it is sent.

    :param purpose: ``links.INVITE``: an administrator asks for it; ``links.RESET``: anybody.
    :param language: the mail's; None: the default.
    """
    now, who = utcnow(), known_principal()
    write(
        _ADD,
        {
            "purpose": purpose,
            "recipient": recipient,
            "language": language,
            "created_by": who.name if who else audit.ANONYMOUS,
            "created_at": now,
            "attempts": 0,
            "next_attempt_at": now,
            "last_error": None,
        },
    )


def wake() -> None:
    """Let this process's thread look for mails at once; to be called after the commit."""
    _new.set()


def start(app: Flask) -> Thread | None:
    """Start a thread that sends mails; None: ``SMTP_URL`` is not set.

    It is a daemon thread: a mail that is being sent when the process ends is sent again later.
    """
    if not app.config["SMTP_URL"]:
        return None
    thread = Thread(target=_run, args=(app,), name="outbox", daemon=True)
    thread.start()
    return thread


def _run(app: Flask) -> None:
    is_failing = False
    while True:
        # Processes that started together must not run in step.
        _new.wait(random.uniform(0.5, 1.5) * SECONDS_BETWEEN_LOOKS)
        _new.clear()
        try:
            commit_due_mails(app)
            is_failing = False
        except Exception as error:  # of any kind: the next look may succeed
            if not is_failing:
                log.warning("mails failed", reason=str(getattr(error, "orig", error)))
            is_failing = True
            time.sleep(SECONDS_BETWEEN_LOOKS)


def commit_due_mails(app: Flask) -> int:
    """Try to send the mails that are due; return how many. Closes the thread's connections."""
    tried = 0
    with app.app_context():
        try:
            now = utcnow()
            for mail in read(_DUE, {"now": now, "oldest": now - LIFETIME}):
                claim = {"found": mail.next_attempt_at, "next_attempt_at": now + CLAIM}
                attempts = mail.attempts + 1
                claim |= {"mail_id": mail.id, "attempts": attempts}
                # Another process may have claimed it since.
                if in_transaction(write)(_CLAIM, claim).row_count:
                    tried += 1
                    _commit_attempt(mail, attempts)
        finally:
            close_thread_connections()
    return tried


def _commit_attempt(mail: Row, attempts: int) -> None:
    try:
        _commit_link_and_send(mail)
    except (OSError, smtplib.SMTPException) as error:
        pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE)
        later = {"next_attempt_at": utcnow() + pause, "last_error": _reason(error)}
        in_transaction(write)(_POSTPONE, {"mail_id": mail.id, **later})
        # Once: the mail stays in the table with its reason.
        if attempts == 1:
            log.warning("mail postponed", mail=mail.id, reason=_reason(error))
        return
    except Refused as error:
        log.warning("mail refused", mail=mail.id, reason=str(error))
    in_transaction(write)(_REMOVE, {"mail_id": mail.id})


def _commit_link_and_send(mail: Row) -> None:
    """Send a mail, unless nobody may have it.

    The link is made when the server is ready: while the server is away, the former link stays, and
    the trail has no events of links that nobody got.

    :raises Refused: the server will never take it.
    :raises OSError: the server cannot be reached, as for ``smtplib.SMTPException``.
    """
    if not (found := _find(mail)):
        return
    with _connected(parse_server(current_app.config["SMTP_URL"])) as server:
        try:
            link = in_transaction(links.make_link)(found.id, mail.created_by)
        except UserNotFound:
            return
        try:
            server.send_message(_compose(link, mail.language))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            if all(code >= 500 for code in _codes(error)):
                raise Refused(_reason(error)) from error
            raise
        except (smtplib.SMTPNotSupportedError, UnicodeError) as error:
            # The address has characters that the server does not take.
            raise Refused(_reason(error)) from error


def _find(mail: Row) -> Row | None:
    """Return the user who gets a mail.

    A reset that anybody may ask for must not let in somebody who may not sign in.
    """
    found = read(_RECIPIENT, {"email_folded": fold_email(mail.recipient)})
    if not found or (mail.purpose == links.RESET and not found[0].active):
        return None
    return found[0]


@contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    """Connect to the server and sign in there."""
    sender = _sender_domain()
    context = ssl.create_default_context()
    connection: smtplib.SMTP
    if server.tls:
        connection = smtplib.SMTP_SSL(
            server.host, server.port, sender, timeout=SERVER_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, sender, timeout=SERVER_SECONDS)
    try:
        if server.starttls:
            connection.starttls(context=context)
        connection.ehlo_or_helo_if_needed()
        if server.user:
            connection.login(server.user, server.password)
        yield connection
        with suppress(OSError, smtplib.SMTPException):  # it has the mail already
            connection.quit()
    finally:
        connection.close()


def _compose(link: MadeLink, language: str | None) -> EmailMessage:
    """Return a link's mail, to the address as its user has it, not as somebody has typed it."""
    local = unquote(link.user.email.rpartition("@")[0])
    domain = link.user.email_folded.rpartition("@")[2]
    message = EmailMessage(SMTP)
    message["From"] = current_app.config["MAIL_FROM"]
    message["To"] = Address(username=local, domain=domain)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=_sender_domain())
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice answers it
    subject, text = _texts(link, language)
    message["Subject"] = subject
    message.set_content(text)
    return message


def _texts(link: MadeLink, language: str | None) -> tuple[str, str]:
    """Return the subject and the text of a link's mail."""
    root = current_app.config["PUBLIC_URL"]
    with in_language(language or DEFAULT):
        if link.purpose == links.INVITE:
            subject = _("Your account in the user directory")
            reason = _(
                "You have an account in the user directory at %(address)s. Choose your password"
                " here:",
                address=root,
            )
        else:
            subject = _("Choose a new password")
            reason = _(
                "With this link, you can choose a new password for your account in the user"
                " directory at %(address)s:",
                address=root,
            )
        paragraphs = [
            _("Hello %(name)s,", name=link.user.username),
            reason,
            links.address_of(link.token, root),
            _("The link works once, until %(time)s.", time=format_datetime(link.expires_at)),
            _("If you did not expect this mail, ignore it. Nothing changes then."),
        ]
    return subject, "\n\n".join(paragraphs) + "\n"


def _sender_domain() -> str:
    return parseaddr(current_app.config["MAIL_FROM"])[1].rpartition("@")[2]


def _codes(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> list[int]:
    if isinstance(error, smtplib.SMTPDataError):
        return [error.smtp_code]
    return [code for code, _text in error.recipients.values()]


def _reason(error: Exception) -> str:
    """Return why a mail was not sent, without the address."""
    codes = ""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = " ".join(map(str, _codes(error)))
    elif isinstance(error, smtplib.SMTPResponseException):
        codes = str(error.smtp_code)
    detail = codes or ("" if isinstance(error, UnicodeError) else str(error))
    return f"{type(error).__name__} {detail}".strip()[:ERROR_LENGTH]


@prunes("mails")
def remove_old(limit: int) -> int:
    """Remove mails that could not be sent in time."""
    return delete_oldest(_mails.c.id, _mails.c.created_at, utcnow() - LIFETIME, limit)

"""Slows down guessing of passwords, and of taken emails, on every worker and host.

Failures are counted in the database. Password failures are counted for three subjects: the address
for any account, the account from any address, and the account from this address (the pair). The
address and the pair have some free failures; then each further one doubles the time until the next
attempt is verified. Earlier attempts are refused unverified, are not counted and write nothing.

An account under attack from many addresses makes nobody wait by itself: it only reduces the free
failures of addresses from which it has not been signed in to. The first attempt from an address is
always verified, so that an attacker elsewhere cannot lock the owner out.

Attempts to use emails that are taken are slowed down likewise, by user and by address, and mails
that anybody may ask for, by address and by recipient.

A count is committed before the attempt that it counts, so that a refusal does not roll it back.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from sqlalchemy import Integer, and_, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.dialects import mysql

from project.api.auth.models import SignInAttempts
from project.api.users.errors import EmailTaken
from project.api.users.folding import fold_email
from project.clock import utcnow
from project.database import db, in_transaction, read, write
from project.errors import TooManyRequests
from project.web.guard import may
from project.web.pruning import prunes

FAILURE_LIFETIME = timedelta(hours=24)
KNOWN_ADDRESS_LIFETIME = timedelta(days=30)

_table: Any = SignInAttempts.__table__
_rows = _table.c
_HAS_HASH = _rows.subject_hash == bindparam("subject")
_FOUND = select(_table).where(_rows.subject_hash.in_(bindparam("subjects", expanding=True)))
_UPDATE = update(_table).where(_HAS_HASH)
_UNCOUNT = _UPDATE.values(failures=case((_rows.failures > 0, _rows.failures - 1), else_=0))
# Known addresses are stored for longer than failures.
_IS_OLD = and_(
    _rows.attempted_at <= bindparam("failed_before"),
    or_(_rows.known_at.is_(None), _rows.known_at <= bindparam("known_before")),
)
_OLD = select(_rows.subject_hash).where(_IS_OLD).order_by(_rows.attempted_at)
_OLDEST = _OLD.limit(bindparam("limit", type_=Integer))
_REMOVE = delete(_table).where(_HAS_HASH, _IS_OLD)


class TooManyAttempts(TooManyRequests):
    """Too many passwords were wrong; the client has to wait (429)."""

    reason = "Too many attempts to sign in."
    message = f"{reason} Try again later."
    field = "current_password"


class TooManyMails(TooManyRequests):
    """Too many mails were asked for; the client has to wait (429)."""

    reason = "Too many mails were asked for."
    message = f"{reason} Try again later."


class TooManyTakenEmails(TooManyRequests):
    """Too many emails were taken; the client has to wait (429)."""

    reason = "Too many attempts with email addresses that are taken."
    message = f"{reason} Try again later."


@dataclass(frozen=True)
class Limit:
    """The number of free failures, and the longest wait in seconds."""

    free: int
    longest: int

    def wait_after(self, failures: int) -> timedelta:
        """Return how long the next attempt has to wait after so many failures."""
        if failures < self.free:
            return timedelta()
        return timedelta(seconds=min(2 ** min(failures - self.free, 30), self.longest))


PAIR = Limit(free=5, longest=900)
UNKNOWN_PAIR = Limit(free=1, longest=900)
"""For an account under attack, from an address where it has not been signed in to."""

ADDRESS = Limit(free=50, longest=900)
ACCOUNT_FAILURES = 50
"""The number of failures from any address at which an account is under attack."""

TAKEN = Limit(free=10, longest=900)
"""For the taken emails that a user, or an address, has tried."""

MAIL = Limit(free=3, longest=900)
"""For the mails to an address that were asked for, whether or not a user has it."""

MAILS = Limit(free=20, longest=900)
"""For the mails that a client's address has asked for."""


@dataclass(frozen=True)
class Count:
    """The current state of a subject."""

    failures: int
    attempted_at: datetime
    is_known: bool


Limits = Callable[..., Sequence[tuple[Count, Limit]]]


def account_of(user_id: int | None, email: str) -> str:
    """Return the name under which an account is counted.

    A user is counted by id, so that changing the email does not reset the count. An unknown email
    is counted in its folded form, so that all its spellings count as one.
    """
    if user_id is not None:
        return f"user {user_id}"
    try:
        return f"email {fold_email(email)}"
    except ValueError:
        return f"email {email}"


def check(account: str, address: str) -> None:
    """Refuse an attempt that has to wait, without writing; ``commit_attempt`` checks again.

    :raises TooManyAttempts: it has to wait (429).
    """
    _check(_password_subjects(account, address), _password_limits, TooManyAttempts)


def commit_attempt(account: str, address: str) -> None:
    """Count an attempt as a failure before it is made, so that concurrent ones are counted too.

    :raises TooManyAttempts: it has to wait (429); nothing is written.
    """
    _commit_count(_password_subjects(account, address), _password_limits, TooManyAttempts)


def record_success(account: str, address: str) -> None:
    """Uncount an attempt that has succeeded; the account now knows the address."""
    subjects = _password_subjects(account, address)
    _uncount(subjects, known=subjects[-1])


def commit_mail(email: str, address: str) -> None:
    """Count a mail that somebody who has not signed in asks for.

    :param email: to whom, whether or not a user has it: so a wait says nothing about that.
    :raises TooManyMails: too many were asked for before (429); nothing is written.
    """
    subjects = _hashes([f"mails from {_network(address)}", f"mails to {fold_email(email)}"])
    _check(subjects, _mail_limits, TooManyMails)
    _commit_count(subjects, _mail_limits, TooManyMails)


@contextmanager
def commit_email_attempt(user_id: int | None, address: str) -> Iterator[None]:
    """Count a failure if the email turns out to be taken within.

    The failure is counted and committed first, and uncounted on any other outcome. The code within
    commits its own work. Nothing is counted for callers who may read which emails are taken.

    :raises TooManyTakenEmails: too many emails were taken before (429).
    """
    if may("users:read") or may("users:write"):
        yield
        return
    names = [f"emails of {_network(address)}"]
    if user_id is not None:
        names.append(f"emails of user {user_id}")
    subjects = _hashes(names)
    _check(subjects, _email_limits, TooManyTakenEmails)
    _commit_count(subjects, _email_limits, TooManyTakenEmails)
    try:
        yield
    except EmailTaken:
        raise
    except BaseException:
        _commit_uncount(subjects)
        raise
    _commit_uncount(subjects)


@prunes("sign-in attempts")
def remove_old(limit: int) -> int:
    """Remove rows whose failures and known address have expired."""
    now = utcnow()
    times = {"failed_before": now - FAILURE_LIFETIME, "known_before": now - KNOWN_ADDRESS_LIFETIME}
    found = sorted(row.subject_hash for row in read(_OLDEST, {**times, "limit": limit}))
    # One row at a time, in the order in which attempts lock them.
    return sum(write(_REMOVE, {**times, "subject": subject}).row_count for subject in found)


def _password_limits(address: Count, account: Count, pair: Count) -> Sequence[tuple[Count, Limit]]:
    under_attack = account.failures >= ACCOUNT_FAILURES
    limit = UNKNOWN_PAIR if under_attack and not pair.is_known else PAIR
    return [(address, ADDRESS), (pair, limit)]


def _email_limits(*counts: Count) -> Sequence[tuple[Count, Limit]]:
    return [(count, TAKEN) for count in counts]


def _mail_limits(client: Count, recipient: Count) -> Sequence[tuple[Count, Limit]]:
    return [(client, MAILS), (recipient, MAIL)]


def _password_subjects(account: str, address: str) -> list[str]:
    network = _network(address)
    return _hashes([f"address {network}", f"account {account}", f"pair {account} {network}"])


def _hashes(names: Iterable[str]) -> list[str]:
    return [sha256(name.encode()).hexdigest() for name in names]


def _network(address: str) -> str:
    """Return what counts as one address: for IPv6 the /64, since one host may have all of it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return address
    return str(ip.ipv4_mapped or IPv6Network((int(ip), 64), strict=False))


def _check(subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]) -> None:
    _refuse(read(_FOUND, {"subjects": subjects}), subjects, limits, refusal)


@in_transaction
def _commit_count(subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]) -> None:
    """Count a failure of each subject; a refusal rolls back the rows added for it."""
    _lock(subjects)
    found = write(_FOUND, {"subjects": subjects}).rows
    counts = _refuse(found, subjects, limits, refusal)
    for subject, count in sorted(zip(subjects, counts, strict=True)):
        counted = {"failures": count.failures + 1, "attempted_at": utcnow()}
        write(_UPDATE, {"subject": subject, **counted})


def _refuse(
    found: Iterable[Any], subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]
) -> list[Count]:
    """Return the current counts of the subjects.

    :raises TooManyRequests: as ``refusal``: a subject has reached its limit (429).
    """
    now = utcnow()
    rows = {row.subject_hash: row for row in found}
    counts = [_current_count(now, rows.get(subject)) for subject in subjects]
    limited = limits(*counts)
    wait = max(each.attempted_at + limit.wait_after(each.failures) for each, limit in limited) - now
    if wait > timedelta():
        raise refusal(retry_after=int(wait.total_seconds()) or 1)
    return counts


def _current_count(now: datetime, row: Any) -> Count:
    if row is None:
        return Count(0, now, False)
    is_known = row.known_at is not None and row.known_at > now - KNOWN_ADDRESS_LIFETIME
    has_expired = row.attempted_at <= now - FAILURE_LIFETIME
    return Count(0 if has_expired else row.failures, row.attempted_at, is_known)


def _lock(subjects: Sequence[str]) -> None:
    """Lock the rows of these subjects, and add missing ones.

    One statement, with the same order everywhere, prevents deadlocks. On MySQL, two transactions
    with INSERT IGNORE would both get a shared lock on a row, and then both wait for an exclusive
    one.
    """
    rows = [
        {"subject_hash": subject, "failures": 0, "attempted_at": utcnow()}
        for subject in sorted(subjects)
    ]
    add: Any
    if db.engine.dialect.name == "sqlite":
        add = insert(_table).prefix_with("OR IGNORE")
    else:
        add = mysql.insert(_table).on_duplicate_key_update(failures=_rows.failures)
    db.session.execute(add, rows)


def _uncount(subjects: Sequence[str], known: str | None = None) -> None:
    """Count one failure less of each subject.

    :param known: the pair that has signed in: its failures are reset.
    """
    for subject in sorted(subjects):
        if subject == known:
            write(_UPDATE, {"subject": subject, "failures": 0, "known_at": utcnow()})
        else:
            write(_UNCOUNT, {"subject": subject})


_commit_uncount = in_transaction(_uncount)

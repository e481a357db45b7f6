"""Slows down those who guess passwords, on every worker and host.

Failures are counted in the database for three subjects: the account from this address, the account
from anywhere, and the address for any account. The account from this address, and the address, have
some failures free; then each further one doubles the time until the next attempt is looked at.
Attempts before that time are refused without a look, and do not count.

An account that is guessed at from many addresses makes nobody wait by itself: it only leaves fewer
failures free to each address from which it has not been signed in to. The first attempt from an
address is always looked at, so that nobody elsewhere can keep the true owner out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select

from project.api.auth.models import SignInAttempts
from project.api.users.folding import fold_email
from project.clock import utcnow
from project.errors import TooManyRequests
from project.extensions import db, fetch_all
from project.transactions import in_transaction

FAILURES_COUNT = timedelta(hours=24)
ADDRESS_IS_KNOWN = timedelta(days=30)
OLD_PER_ATTEMPT = 10


class TooManyAttempts(TooManyRequests):
    """Too many passwords were wrong; the next is looked at later (429)."""

    message = "Too many attempts to sign in. Try again later."


@dataclass(frozen=True)
class Limit:
    """How many failures are free, and how many seconds the longest wait is."""

    free: int
    longest: int

    def wait_after(self, failures: int) -> timedelta:
        """Return how long the next attempt has to wait."""
        if failures < self.free:
            return timedelta()
        return timedelta(seconds=min(2 ** min(failures - self.free, 30), self.longest))


PAIR = Limit(free=5, longest=900)
STRANGER = Limit(free=1, longest=900)
"""Of the account from an address that it does not know, while it is guessed at."""

ADDRESS = Limit(free=50, longest=900)
ACCOUNT_FAILURES = 50
"""With so many, from anywhere, an account is guessed at."""


def admit(email: str, address: str) -> None:
    """Count an attempt as a failure before it is made, so that none slips past beside it; commits.

    :param address: the client's.
    :raises TooManyAttempts: it has to wait (429).
    """
    subjects = _subjects(email, address)
    known: Any = select(SignInAttempts.subject_hash).where(_is_one_of(subjects))
    if len(fetch_all(known, {})) < len(subjects):
        # Not in the transaction that counts: an INSERT that is ignored locks the row for sharing,
        # and two that share it would then wait for one another.
        in_transaction(_add_missing)(subjects)
    in_transaction(_count)(subjects)


def _count(subjects: list[str]) -> None:
    now = utcnow()
    rows = {row.subject_hash: row for row in _lock(subjects)}
    if len(rows) < len(subjects):  # removed this very moment, after a month
        _add_missing(subjects)
        rows = {row.subject_hash: row for row in _lock(subjects)}
    pair, account, of_address = (rows[subject] for subject in subjects)
    for row in rows.values():
        if row.attempted_at <= now - FAILURES_COUNT:
            row.failures = 0
    known = pair.known_at is not None and pair.known_at > now - ADDRESS_IS_KNOWN
    guessed_at = account.failures >= ACCOUNT_FAILURES
    limits = [(pair, STRANGER if guessed_at and not known else PAIR), (of_address, ADDRESS)]
    wait = max(row.attempted_at + limit.wait_after(row.failures) for row, limit in limits) - now
    if wait > timedelta():
        raise TooManyAttempts(retry_after=int(wait.total_seconds()) or 1)
    for row in rows.values():
        row.failures += 1
        row.attempted_at = now
    _remove_old(now)


def forgive(email: str, address: str) -> None:
    """Take back what was counted for an attempt that has succeeded."""
    subjects = _subjects(email, address)
    for row in _lock(subjects):
        if row.subject_hash == subjects[0]:
            row.failures, row.known_at = 0, utcnow()
        else:
            row.failures = max(0, row.failures - 1)


def _subjects(email: str, address: str) -> list[str]:
    try:
        account = fold_email(email)
    except ValueError:
        account = email
    place = _place(address)
    names = [f"pair {account} {place}", f"account {account}", f"address {place}"]
    return [sha256(name.encode()).hexdigest() for name in names]


def _place(address: str) -> str:
    """Return what counts as one address: of IPv6 a /64, all of which one host may have."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return address
    return str(ip.ipv4_mapped or IPv6Network((int(ip), 64), strict=False))


def _is_one_of(subjects: list[str]) -> ColumnElement[bool]:
    return SignInAttempts.subject_hash.in_(subjects)


def _add_missing(subjects: list[str]) -> None:
    add = insert(SignInAttempts)
    for dialect, words in {"sqlite": "OR IGNORE", "mysql": "IGNORE", "mariadb": "IGNORE"}.items():
        add = add.prefix_with(words, dialect=dialect)
    rows = [
        {"subject_hash": subject, "failures": 0, "attempted_at": utcnow() - FAILURES_COUNT}
        for subject in sorted(subjects)
    ]
    db.session.execute(add, rows)


def _lock(subjects: list[str]) -> Sequence[SignInAttempts]:
    """Return the rows, locked in one order everywhere, so that no two wait for one another."""
    rows = select(SignInAttempts).where(_is_one_of(subjects))
    ordered = rows.order_by(SignInAttempts.subject_hash).with_for_update()
    return db.session.scalars(ordered.execution_options(populate_existing=True)).all()


def _remove_old(now: datetime) -> None:
    """Remove some of the rows that mean nothing any more."""
    old = select(SignInAttempts.subject_hash)
    old = old.where(SignInAttempts.attempted_at <= now - ADDRESS_IS_KNOWN)
    chosen = old.order_by(SignInAttempts.attempted_at).limit(OLD_PER_ATTEMPT)
    if subjects := db.session.scalars(chosen.with_for_update(skip_locked=True)).all():
        gone = delete(SignInAttempts).where(SignInAttempts.subject_hash.in_(subjects))
        db.session.execute(gone, execution_options={"synchronize_session": False})

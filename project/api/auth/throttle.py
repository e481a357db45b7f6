"""Slows down those who guess, on every worker and host: passwords, and which mailboxes are taken.

Failures are counted in the database. Of passwords, for three subjects: the address for any account,
the account from anywhere, and the account from this address. The account from this address, and the
address, have some failures free; then each further one doubles the time until the next attempt is
looked at. Attempts before that time are refused without a look, do not count and write nothing.

An account that is guessed at from many addresses makes nobody wait by itself: it only leaves fewer
failures free to each address from which it has not been signed in to. The first attempt from an
address is always looked at, so that nobody elsewhere can keep the true owner out.

Who asks again and again for emails that others have is slowed down likewise: by user, and by
address.

Counts are committed before what they count is done, so that a refusal undoes none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from sqlalchemy import and_, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.dialects import mysql

from project.api.auth.models import SignInAttempts
from project.api.users.errors import EmailTaken
from project.api.users.folding import fold_email
from project.clock import utcnow
from project.database import db, in_transaction, read, write
from project.errors import TooManyRequests
from project.web.pruning import prunes

FAILURES_COUNT = timedelta(hours=24)
ADDRESS_IS_KNOWN = timedelta(days=30)

_table: Any = SignInAttempts.__table__
_rows = _table.c
_FOUND = select(_table).where(_rows.subject_hash.in_(bindparam("subjects", expanding=True)))


class TooManyAttempts(TooManyRequests):
    """Too many passwords were wrong; the next is looked at later (429)."""

    message = "Too many attempts to sign in. Try again later."
    field = "current_password"


class TooManyTakenEmails(TooManyRequests):
    """Too many emails were others'; whether the next one is will be said later (429)."""

    message = "Too many of the emails belonged to others. Try again later."


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

TAKEN = Limit(free=10, longest=900)
"""Of the emails for which a user, or an address, has asked and which others have."""


@dataclass(frozen=True)
class Count:
    """What counts of a subject now."""

    failures: int
    attempted_at: datetime
    is_known: bool


Limits = Callable[..., Sequence[tuple[Count, Limit]]]


def account_of(user_id: int | None, email: str) -> str:
    """Return under which name an account is counted.

    A user's is the id, so that another email is no fresh start; an email that nobody has is counted
    in all its spellings as one.
    """
    if user_id is not None:
        return f"user {user_id}"
    try:
        return f"email {fold_email(email)}"
    except ValueError:
        return f"email {email}"


def check(account: str, address: str) -> None:
    """Refuse an attempt that has to wait; writes nothing, and is repeated by ``commit_attempt``.

    :param account: as account_of names it.
    :param address: the client's.
    :raises TooManyAttempts: it has to wait (429).
    """
    _check(_of_password(account, address), _password_limits, TooManyAttempts)


def commit_attempt(account: str, address: str) -> None:
    """Count an attempt as a failure before it is made, so that none slips past beside it.

    :raises TooManyAttempts: it has to wait (429); nothing is written then.
    """
    _commit_count(_of_password(account, address), _password_limits, TooManyAttempts)


def forgive(account: str, address: str) -> None:
    """Take back what was counted for an attempt that has succeeded."""
    subjects = _of_password(account, address)
    _take_back(subjects, well_known=subjects[-1])


@contextmanager
def commit_email_attempt(user_id: int | None, address: str) -> Iterator[None]:
    """Count what is done within when the answer is that the email is taken.

    It is counted and committed before, and taken back when the answer was another. What is done
    within commits itself.

    :param user_id: who asks; None: it is not known.
    :param address: the client's.
    :raises TooManyTakenEmails: there were too many such answers (429).
    """
    names = [f"emails of {_place(address)}"]
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
        _commit_taking_back(subjects)
        raise
    _commit_taking_back(subjects)


@prunes("sign-in attempts")
def remove_old(limit: int) -> int:
    """Remove rows that say nothing any more.

    :param limit: how many at most.
    :return: how many there were.
    """
    now = utcnow()
    # Known addresses are remembered for longer than failures.
    is_old = and_(
        _rows.attempted_at <= now - FAILURES_COUNT,
        or_(_rows.known_at.is_(None), _rows.known_at <= now - ADDRESS_IS_KNOWN),
    )
    old = select(_rows.subject_hash).where(is_old).order_by(_rows.attempted_at).limit(limit)
    found = sorted(row.subject_hash for row in read(old, {}))
    if not found:
        return 0
    # One by one, in the order in which rows are counted.
    gone = delete(_table).where(_rows.subject_hash == bindparam("subject"), is_old)
    result: Any = db.session.execute(gone, [{"subject": subject} for subject in found])
    return int(result.rowcount)


def _password_limits(address: Count, account: Count, pair: Count) -> Sequence[tuple[Count, Limit]]:
    guessed_at = account.failures >= ACCOUNT_FAILURES
    return [(address, ADDRESS), (pair, STRANGER if guessed_at and not pair.is_known else PAIR)]


def _email_limits(*counts: Count) -> Sequence[tuple[Count, Limit]]:
    return [(count, TAKEN) for count in counts]


def _of_password(account: str, address: str) -> list[str]:
    place = _place(address)
    return _hashes([f"address {place}", f"account {account}", f"pair {account} {place}"])


def _hashes(names: Iterable[str]) -> list[str]:
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


def _check(subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]) -> None:
    _refuse(read(_FOUND, {"subjects": subjects}), subjects, limits, refusal)


@in_transaction
def _commit_count(subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]) -> None:
    """Count a failure of each subject; a refusal undoes the rows that were added for it."""
    _lock(subjects)
    found = write(_FOUND, {"subjects": subjects}).rows
    counts = _refuse(found, subjects, limits, refusal)
    for subject, count in sorted(zip(subjects, counts, strict=True)):
        values = {"failures": count.failures + 1, "attempted_at": utcnow()}
        _update(subject, values)


def _refuse(
    found: Iterable[Any], subjects: Sequence[str], limits: Limits, refusal: type[TooManyRequests]
) -> list[Count]:
    """Return what counts of the subjects.

    :raises TooManyRequests: as ``refusal``; one has reached a limit (429).
    """
    now = utcnow()
    rows = {row.subject_hash: row for row in found}
    counts = [_as_of(now, rows.get(subject)) for subject in subjects]
    limited = limits(*counts)
    wait = max(each.attempted_at + limit.wait_after(each.failures) for each, limit in limited) - now
    if wait > timedelta():
        raise refusal(retry_after=int(wait.total_seconds()) or 1)
    return counts


def _as_of(now: datetime, row: Any) -> Count:
    if row is None:
        return Count(0, now, False)
    is_known = row.known_at is not None and row.known_at > now - ADDRESS_IS_KNOWN
    counts = row.attempted_at > now - FAILURES_COUNT
    return Count(row.failures if counts else 0, row.attempted_at, is_known)


def _lock(subjects: Sequence[str]) -> None:
    """Lock the rows of these subjects; add those that there are not.

    By one statement and in one order everywhere, so that no two wait for one another: on MySQL, two
    whose INSERT is ignored would share a row's lock and then both want it alone.
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


def _take_back(subjects: Sequence[str], well_known: str | None = None) -> None:
    """Count one failure less of each subject.

    :param well_known: the one of which none counts any more, since the right person was there.
    """
    one_less = case((_rows.failures > 0, _rows.failures - 1), else_=0)
    for subject in sorted(subjects):
        known = {"failures": 0, "known_at": utcnow()}
        _update(subject, known if subject == well_known else {"failures": one_less})


_commit_taking_back = in_transaction(_take_back)


def _update(subject: str, values: dict[str, Any]) -> None:
    db.session.execute(update(_table).where(_rows.subject_hash == subject).values(values))

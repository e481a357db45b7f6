"""Import: users are added, and changed where their mailbox or id is known, batch by batch.

Each batch is a transaction of its own: one SELECT, one bulk INSERT, one bulk UPDATE. What is there
already is passed over, so an import that was interrupted is run again from the start. See
docs/decisions/import-export.md. Knows no HTTP.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import orjson
from sqlalchemy import String, bindparam, cast, insert, literal, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from project.api.audit import service as audit
from project.api.transfer import bulk_update
from project.api.transfer.row_reader import BadRow, Row
from project.api.transfer.row_rules import read_row, read_user_id
from project.api.users import fields, queries
from project.api.users.models import FOLDED, User
from project.api.users.service import run_after_deactivation
from project.clock import utcnow
from project.database import db, in_transaction, read, write
from project.database.failures import is_outage
from project.database.transactions import ATTEMPTS
from project.errors import Forbidden, Invalid, TooLarge, Unauthenticated, Unavailable

ROWS_PER_BATCH = 5000
MAX_REPORTED_ROWS = 10_000
_IMPORTED = audit.register("users.imported")
_UNKNOWN_ID = "id: No user has this id."
RESULTS = ("created", "updated", "skipped", "failed")

STATE = (*fields.IMPORTED, *(column for column, _fold in FOLDED.values()))
"""What an import writes of a user."""

_NEW: dict[str, Any] = {name: fields.DEFAULTS.get(name) for name in STATE}

_KNOWN = select(*(fields.COLUMNS[name] for name in ("id", "version", *STATE)))
BY_MAILBOXES = _KNOWN.where(fields.COLUMNS.email_folded.in_(bindparam("mailboxes", expanding=True)))
BY_IDS = _KNOWN.where(fields.COLUMNS.id.in_(bindparam("ids", expanding=True)))

# Users whose mailbox changes leave the old one first, so that another may take it in the same
# batch, in whatever order the rows of the table are written. No mailbox is without an @.
_LEAVE = (
    update(User.__table__)
    .where(User.id.in_(bindparam("ids", expanding=True)))
    .values(email_folded=literal("left by ") + cast(User.id, String(11)))
)


@dataclass(slots=True)
class Outcome:
    """What became of a row that was not plainly created.

    :param line: where the row begins, from 1.
    :param result: ``updated``, ``skipped`` or ``failed``.
    :param reason: a sentence.
    """

    line: int
    result: str
    reason: str


@dataclass
class Batch:
    """What became of the rows of a batch.

    :param outcomes: of all but those that were created, in their order.
    """

    created: int
    outcomes: list[Outcome]

    def counts(self) -> dict[str, int]:
        """Return how many rows had each result."""
        counts = Counter(outcome.result for outcome in self.outcomes)
        return {"created": self.created, **{name: counts[name] for name in RESULTS[1:]}}


@dataclass
class Report:
    """What became of all rows.

    :param ignored: the columns that were not used.
    :param rows: the first 10,000 that were not plainly created.
    :param rows_omitted: how many there are beyond those.
    """

    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    ignored: list[str] = field(default_factory=list)
    rows: list[Outcome] = field(default_factory=list)
    rows_omitted: int = 0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.created += batch.created
        for outcome in batch.outcomes:
            setattr(self, outcome.result, getattr(self, outcome.result) + 1)
        room = MAX_REPORTED_ROWS - len(self.rows)
        self.rows += batch.outcomes[:room]
        self.rows_omitted += len(batch.outcomes[room:])

    def counts(self) -> dict[str, int]:
        """Return how many rows had each result."""
        return {name: getattr(self, name) for name in RESULTS}


class _Checked(NamedTuple):
    """A row whose form is right.

    :param says: what it says, by field, and the folded forms that follow.
    """

    line: int
    user_id: int | None
    says: dict[str, Any]

    @property
    def email_folded(self) -> str:
        """The mailbox that it is about."""
        return self.says["email_folded"]  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Mailbox:
    """The user of a mailbox, as the rows so far have left it.

    :param state: the columns of ``STATE``.
    :param user_id: None: it is not there yet.
    :param changes: how often they have changed it.
    :param deactivations: how often the rows have deactivated it, though a later one may undo that.
    :param has_moved: whether they have given it another mailbox.
    """

    state: dict[str, Any]
    user_id: int | None = None
    version: int = 1
    changes: int = 0
    deactivations: int = 0
    has_moved: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def email_folded(self) -> str:
        """The mailbox."""
        return self.state["email_folded"]  # type: ignore[no-any-return]

    @property
    def is_admin(self) -> bool:
        """Whether it is an administrator, whom no row changes, whoever made them one."""
        return bool(self.state["role"] == "admin")


class _Known:
    """The users whom the rows of a batch may concern, as the rows so far have left them."""

    def __init__(self, mailboxes: Collection[_Mailbox]) -> None:
        self.by_mailbox = {one.email_folded: one for one in mailboxes}
        self.by_id = {one.user_id: one for one in mailboxes}

    def __iter__(self) -> Iterator[_Mailbox]:
        return iter(self.by_mailbox.values())

    def add(self, mailbox: _Mailbox) -> None:
        """Add a user who is new."""
        self.by_mailbox[mailbox.email_folded] = mailbox

    def move(self, mailbox: _Mailbox, email_folded: str) -> None:
        """Give a user another mailbox, which nobody has."""
        self.by_mailbox.pop(mailbox.email_folded, None)
        self.by_mailbox[email_folded] = mailbox
        mailbox.has_moved = True


_Rows = Sequence[_Checked | Outcome]


class _Overtaken(Exception):
    """Somebody else has changed a user between our SELECT and our UPDATE."""


def import_users(
    rows: Iterable[Row | BadRow],
    dry_run: bool = False,
    before_batch: Callable[[], None] = lambda: None,
    match_id: bool = False,
) -> Iterator[Batch]:
    """Add and change users, and tell what became of each batch when it is saved.

    A row whose mailbox is known changes that user, also when it is known from a row before. A row
    that fails keeps no other from being saved. What was saved is recorded as one event: its counts
    grow with each batch.

    :param dry_run: tell the same and save nothing; what rows would have made is kept on disk.
    :param before_batch: called when the rows of a batch are there, before they are saved; it raises
        when they may not be.
    :param match_id: a row that has an id changes the user with this id, also to another mailbox.
    :raises Unauthenticated: so says ``before_batch`` (401).
    :raises Forbidden: so says ``before_batch`` (403).
    :raises Invalid: the data is cut off or damaged (400).
    :raises TooLarge: there is more data than is taken (413).
    :raises Unavailable: the database is away; the import can be run again (503).
    """
    rows, line, counts = iter(rows), 0, Counter[str]()
    last_id: int | None = None
    with _rehearsal() if dry_run else nullcontext(_Saving().commit) as work:
        try:
            if match_id:
                last_id = read(queries.LAST_ID, {})[0][0] or 0
            while batch := list(islice(rows, ROWS_PER_BATCH)):
                before_batch()
                done = work([_check(row, last_id) for row in batch])
                line = batch[-1].line
                counts.update(done.counts())
                yield done
        except (Unauthenticated, Forbidden) as error:
            told = ", ".join(f"{name} {counts[name]:,}" for name in RESULTS)
            taken = f"{error.message} {_taken(line, dry_run)} So far: {told}."
            raise type(error)(taken) from error
        except (Invalid, TooLarge) as error:
            taken = f"{error.message} {_taken(line, dry_run)}"
            raise type(error)(taken, error.errors) from error
        except sqlite3.Error as error:
            raise Unavailable(f"The disk has no room for a dry run: {error}.") from error
        except (SQLAlchemyError, Unavailable) as error:
            if isinstance(error, SQLAlchemyError) and not is_outage(error):
                raise
            # Whether the batch in hand was saved, nobody may know.
            taken = f" {_taken(line, dry_run)}" if line else ""
            raise Unavailable(
                f"The database is not available.{taken} Send all of it again: what is there"
                " already is passed over."
            ) from error


def _taken(line: int, dry_run: bool) -> str:
    if not line:
        return "No row was taken."
    return f"The rows up to line {line:,} {'would be' if dry_run else 'were'} taken."


def _check(row: Row | BadRow, last_id: int | None) -> _Checked | Outcome:
    """Check a row by itself.

    :param last_id: of all ids when the import began: those that it gives itself are nobody's. None:
        the row's id is passed over.
    """
    if isinstance(row, BadRow):
        return Outcome(row.line, "failed", row.reason)
    try:
        user_id = None if last_id is None else read_user_id(row.values)
        says = read_row(row.values)
    except Invalid as error:
        reasons = [f"{problem.field}: {problem.message.rstrip('.')}" for problem in error.errors]
        return Outcome(row.line, "failed", f"{'; '.join(reasons)}.")
    if user_id is not None and not 0 < user_id <= (last_id or 0):
        return Outcome(row.line, "failed", _UNKNOWN_ID)
    return _Checked(row.line, user_id, fields.with_folded(says))


class _Saving:
    """Saves batches, each with the counts of all so far in the import's one event."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(RESULTS, 0)
        self._event_id: int | None = None

    def commit(self, rows: _Rows) -> Batch:
        """Save a batch, in a transaction of its own.

        It is begun again when others were faster: with a mailbox that is new, or with a change.
        """
        for _ in range(ATTEMPTS):
            try:
                batch, self._counts, self._event_id = in_transaction(self._write)(rows)
                return batch
            except (IntegrityError, _Overtaken):
                continue
        raise Unavailable

    def _write(self, rows: _Rows) -> tuple[Batch, dict[str, int], int | None]:
        batch, event_id = _write(rows), self._event_id
        new = batch.counts()
        counts = {name: self._counts[name] + new[name] for name in RESULTS}
        if event_id is not None:
            audit.update_counts(event_id, counts)
        elif counts["created"] or counts["updated"]:
            event_id = audit.record(_IMPORTED, after=counts)
        return batch, counts, event_id


def _write(rows: _Rows) -> Batch:
    known, now = _Known(_find(rows, lambda *question: write(*question).rows)), utcnow()
    batch = _merge(rows, known, now)
    moved = [one.user_id for one in known if one.has_moved]
    if moved:
        db.session.execute(_LEAVE, {"ids": moved})
    added = [
        {
            **mailbox.state,
            "created_at": mailbox.created_at,
            "updated_at": mailbox.updated_at,
            "version": mailbox.version + mailbox.changes,
        }
        for mailbox in known
        if mailbox.user_id is None
    ]
    if added:
        db.session.execute(insert(User.__table__), added)
    changed = [one for one in known if one.changes and one.user_id is not None]
    if changed:
        _update(changed, now)
    return batch


def _update(mailboxes: Sequence[_Mailbox], now: datetime) -> None:
    states = [
        {
            "id": mailbox.user_id,
            "version": mailbox.version,
            "changes": mailbox.changes,
            "deactivations": mailbox.deactivations,
            **mailbox.state,
        }
        for mailbox in mailboxes
    ]
    if bulk_update.run(states, now) != len(mailboxes):
        raise _Overtaken
    deactivated = [one.user_id for one in mailboxes if one.deactivations and one.user_id]
    if deactivated:
        run_after_deactivation(deactivated)


@contextmanager
def _rehearsal() -> Iterator[Callable[[_Rows], Batch]]:
    """Give a function that tells what would become of a batch.

    What the rows so far would have made is kept in a file that has no name and goes by itself.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode = OFF")
        made.execute(
            "CREATE TABLE made (email_folded TEXT PRIMARY KEY, user_id INTEGER UNIQUE, state)"
            " WITHOUT ROWID"
        )

        def rehearse(rows: _Rows) -> Batch:
            found = {one.user_id: one for one in _find(rows, read)}
            names, ids = _mailboxes(rows), list(found)
            for email_folded, user_id, state in made.execute(
                "SELECT * FROM made WHERE email_folded IN (SELECT value FROM json_each(?))"
                " OR user_id IN (SELECT value FROM json_each(?))",
                [orjson.dumps(names).decode(), orjson.dumps(ids).decode()],
            ):
                key = email_folded if user_id is None else user_id
                found[key] = _Mailbox(orjson.loads(state), user_id)
            known = _Known(found.values())
            batch = _merge(rows, known, utcnow())
            changed = [one for one in known if one.user_id is None or one.changes]
            made.execute("BEGIN")
            made.executemany(
                "DELETE FROM made WHERE user_id = ?", ([one.user_id] for one in changed)
            )
            made.executemany(
                "INSERT OR REPLACE INTO made VALUES (?, ?, ?)",
                ((one.email_folded, one.user_id, orjson.dumps(one.state)) for one in changed),
            )
            made.execute("COMMIT")
            return batch

        yield rehearse


def _mailboxes(rows: _Rows) -> list[str]:
    return [row.email_folded for row in rows if isinstance(row, _Checked)]


def _find(rows: _Rows, ask: Callable[..., Iterable[Any]]) -> Collection[_Mailbox]:
    """Return the users who have a mailbox or an id that is in the rows."""
    found = list(ask(BY_MAILBOXES, {"mailboxes": _mailboxes(rows)}))
    ids = {row.user_id for row in rows if isinstance(row, _Checked)} - {None}
    if ids:
        found += ask(BY_IDS, {"ids": list(ids)})
    return {
        user_id: _Mailbox(dict(zip(STATE, state, strict=True)), user_id, version)
        for user_id, version, *state in found
    }.values()


def _merge(rows: _Rows, known: _Known, now: datetime) -> Batch:
    """Bring the users into the state that the rows want, one row after the other."""
    batch = Batch(0, [])
    for row in rows:
        if isinstance(row, Outcome):
            batch.outcomes.append(row)
        elif row.user_id is not None:
            batch.outcomes.append(_change(known.by_id.get(row.user_id), row, known, now))
        elif mailbox := known.by_mailbox.get(row.email_folded):
            batch.outcomes.append(_change(mailbox, row, known, now))
        else:
            known.add(_new(row, now))
            batch.created += 1
    return batch


def _new(row: _Checked, now: datetime) -> _Mailbox:
    says = dict(row.says)
    created_at = says.pop("created_at", None) or now
    updated_at = says.pop("updated_at", None) or created_at
    return _Mailbox(_NEW | says, created_at=created_at, updated_at=updated_at)


def _change(mailbox: _Mailbox | None, row: _Checked, known: _Known, now: datetime) -> Outcome:
    if mailbox is None:
        return Outcome(row.line, "failed", _UNKNOWN_ID)
    state, says = mailbox.state, row.says
    changes = [name for name in fields.IMPORTED if name in says and says[name] != state[name]]
    if not changes:
        return Outcome(row.line, "skipped", "Nothing is to be changed.")
    if mailbox.is_admin:
        return Outcome(row.line, "failed", "Is an administrator, whom no import changes.")
    if row.email_folded != mailbox.email_folded:
        if row.email_folded in known.by_mailbox:
            return Outcome(row.line, "failed", "email: Another user has this address.")
        known.move(mailbox, row.email_folded)
    mailbox.deactivations += "active" in changes and not says["active"]
    mailbox.state = state | {name: says[name] for name in says if name in state}
    mailbox.changes += 1
    mailbox.updated_at = now
    return Outcome(row.line, "updated", f"Changed: {', '.join(changes)}.")

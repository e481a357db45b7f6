"""Import: adds users, or changes those with a known mailbox or id, batch by batch.

Each batch is a transaction: one SELECT, one bulk INSERT, one bulk UPDATE, and a few statements for
the words of the users. Rows without a change are skipped, so an interrupted import can be repeated
from the start. See docs/decisions/import-export.md. Knows no HTTP.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import orjson
from sqlalchemy import String, bindparam, cast, insert, literal, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from project.api.audit import service as audit
from project.api.transfer import bulk_update
from project.api.transfer.columns import Columns
from project.api.transfer.failures import FailedRows, Failure
from project.api.transfer.row_rules import read_row, read_user_id
from project.api.transfer.stream import BadRow, Row
from project.api.users import fields, queries, word_index
from project.api.users.models import FOLDED, User
from project.api.users.service import check_not_own, run_after_deactivation
from project.clock import utcnow
from project.database import db, in_transaction, read, write
from project.database.connections import close_thread_connections
from project.database.failures import is_outage
from project.database.transactions import ATTEMPTS
from project.errors import (
    AppError,
    FieldError,
    Forbidden,
    Invalid,
    Message,
    TooLarge,
    Unauthenticated,
    Unavailable,
    joined,
)

ROWS_PER_BATCH = 1250
MAX_REPORTED_ROWS = 10_000
MAX_NAMED = 3
_IMPORTED = audit.register("users.imported")
_UNKNOWN_ID = Message("id: No user has this id.")
_HAS_PASSWORD = Message(
    "password_hash: The value was left out. The user has a password, which stays."
)
_SAME = Message("Nothing to change.")
_IS_ADMINISTRATOR = Message("Is an administrator; an import cannot change one.")
_IS_TAKEN = Message("email: Another user has this address.")
RESULTS = ("created", "updated", "skipped", "failed")

STATE = (*fields.IMPORTED, "password_hash", *(column for column, _fold in FOLDED.values()))
"""The columns of a user that an import writes."""

_NEW: dict[str, Any] = {name: fields.DEFAULTS.get(name) for name in STATE}

_KNOWN = select(*(fields.COLUMNS[name] for name in ("id", "version", *STATE)))
BY_MAILBOXES = _KNOWN.where(fields.COLUMNS.email_folded.in_(bindparam("mailboxes", expanding=True)))
BY_IDS = _KNOWN.where(fields.COLUMNS.id.in_(bindparam("ids", expanding=True)))

# Users whose mailbox changes get a placeholder first, so that another user can take the mailbox in
# the same batch, in any order of writes. The placeholder has no @, so it is not a mailbox.
FREE_MAILBOXES = (
    update(User.__table__)
    .where(User.id.in_(bindparam("ids", expanding=True)))
    .values(email_folded=literal("left by ") + cast(User.id, String(11)))
)


@dataclass(slots=True)
class Outcome:
    """The result of a row that did not just create a user.

    :param line: the number of the row's first line, or of its object or sheet's row, from 1.
    :param result: ``created`` with a warning, ``updated``, ``skipped`` or ``failed``.
    """

    line: int
    result: str
    reason: str


class Change(NamedTuple):
    """What a batch has changed of a user who was there before.

    :param before: the old values of the columns in ``STATE``.
    :param after: the new ones.
    :param version: the user's before the batch; each change adds one.
    """

    user_id: int
    before: dict[str, Any]
    after: dict[str, Any]
    version: int
    changes: int


class Batch(NamedTuple):
    """The results of a batch's rows.

    :param outcomes: of all rows that did not just create a user, in order.
    :param user_ids: the users who were there before, whom the rows are about.
    :param failures: the rows that failed.
    """

    counts: Counter[str]
    outcomes: list[Outcome]
    user_ids: list[int]
    failures: Sequence[Failure] = ()


@dataclass
class Report:
    """The results of all rows.

    :param columns: the columns that each field is read from, the best first.
    :param ignored: the names of unused columns.
    :param header_line: the line of the header; None: there is none.
    :param deactivated: the number of users who were deactivated since they are missing.
    :param missing: the number of active users who are not in the file, if that was asked for.
    :param refusal: why nobody was deactivated; None: that was not refused.
    :param rows: the first 10,000 rows that did not just create a user.
    :param rows_omitted: the number of further such rows.
    :param failed_rows: the first 1,000 rows that failed.
    """

    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    deactivated: int = 0
    missing: int | None = None
    refusal: str | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    header_line: int | None = None
    rows: list[Outcome] = field(default_factory=list)
    rows_omitted: int = 0
    failed_rows: FailedRows = field(default_factory=FailedRows, compare=False)

    def add(self, batch: Batch) -> None:
        """Add the results of a batch."""
        for result in RESULTS:
            setattr(self, result, getattr(self, result) + batch.counts[result])
        room = MAX_REPORTED_ROWS - len(self.rows)
        self.rows += batch.outcomes[:room]
        self.rows_omitted += len(batch.outcomes[room:])
        self.failed_rows.add(batch.failures)

    def add_columns(self, columns: Columns) -> None:
        """Add what the names of the columns mean, once all rows were read."""
        self.columns, self.ignored = columns.used, columns.ignored
        self.header_line = columns.header_line

    def counts(self) -> dict[str, int]:
        """Return the number of rows with each result."""
        return {name: getattr(self, name) for name in RESULTS}


class _ValidRow(NamedTuple):
    """A row whose values are valid.

    :param values: by field, with their folded forms.
    :param warnings: what of the row was left out; empty: nothing.
    """

    line: int
    user_id: int | None
    values: dict[str, Any]
    warnings: str = ""


@dataclass(slots=True)
class _User:
    """A user, after the rows so far.

    :param state: the values of the columns in ``STATE``, and of a new user's times.
    :param user_id: None: the user does not exist yet.
    :param deactivations: how often rows have deactivated the user, even if a later row undid it.
    """

    state: dict[str, Any]
    user_id: int | None = None
    version: int = 1
    changes: int = 0
    deactivations: int = 0
    before: dict[str, Any] | None = None
    has_moved: bool = False
    was_renamed: bool = False


class _Known:
    """The users whom the rows of a batch may affect, by mailbox and by id."""

    def __init__(self, users: Collection[_User]) -> None:
        self.by_mailbox = {user.state["email_folded"]: user for user in users}
        self.by_id = {user.user_id: user for user in users}


_Rows = Sequence[_ValidRow | Outcome]


class Written(NamedTuple):
    """What a batch has written, in its transaction.

    :param line: that of its last row.
    :param added: the columns of each new user, without the id.
    """

    batch: Batch
    line: int
    added: Sequence[dict[str, Any]]
    changed: Sequence[Change]


Recorder = Callable[[Written], None]


class _ConcurrentChange(Exception):
    """Another transaction changed a user between the SELECT and the UPDATE."""


def import_users(
    rows: Iterable[Row | BadRow],
    dry_run: bool = False,
    before_batch: Callable[[], None] = lambda: None,
    match_id: bool = False,
    columns: Columns | None = None,
    record: Recorder | None = None,
) -> Iterator[Batch]:
    """Add and change users; yield the results of each batch after it is saved.

    While a batch is saved, which is mostly the database's work, the next one is read.

    A row with a known mailbox changes that user, even if an earlier row added the user. A failed
    row does not prevent others from being saved. The import is recorded as one audit event, whose
    counts grow with each batch.

    :param dry_run: yield the same results, but save nothing; the simulated state is stored on disk.
    :param before_batch: called when a batch's rows have been read, before they are saved; may raise
        to stop the import.
    :param match_id: a row with an id changes the user with this id, including the mailbox.
    :param columns: those of the rows, for messages to name them.
    :param record: called in the transaction of each batch, with what it has written; a transaction
        that is retried calls it again. What it raises rolls the batch back and ends the import.
    :raises Unauthenticated: ``before_batch`` raised it (401).
    :raises Forbidden: ``before_batch`` raised it (403).
    :raises Invalid: the data is incomplete or corrupt (400).
    :raises TooLarge: the data exceeds a limit (413).
    :raises Unavailable: the database is unavailable; the import can be repeated (503).
    """
    rows, line, total = iter(rows), 0, Counter[str]()
    last_id: int | None = None
    simulation = _simulation() if dry_run else nullcontext(_saving(record))
    with simulation as work, closing(_Worker()) as worker:
        try:
            if match_id:
                last_id = read(queries.LAST_ID, {})[0][0] or 0
            saved: tuple[list[Row | BadRow], Callable[[], Batch]] | None = None
            while True:
                batch, problem = _next_batch(rows)
                checked = [_check(row, last_id, columns) for row in batch]
                if saved is not None:
                    done = saved[1]()
                    line = saved[0][-1].line
                    total.update(done.counts)
                    yield done._replace(failures=_failures(saved[0], done.outcomes))
                if problem is not None:
                    raise problem
                if not batch:
                    break
                before_batch()
                saved = batch, worker.begin(work, checked)
        except (Unauthenticated, Forbidden) as error:
            so_far = ", ".join(f"{name} {total[name]:,}" for name in RESULTS)
            counts = Message("So far: %(counts)s.", counts=so_far)
            parts = [error.message, _progress(line, dry_run), counts]
            raise type(error)(joined(parts)) from error
        except (Invalid, TooLarge) as error:
            parts = [error.message, _progress(line, dry_run)]
            raise type(error)(joined(parts), error.errors) from error
        except sqlite3.Error as error:
            message = Message(
                "There is not enough disk space for a dry run: %(problem)s.", problem=error
            )
            raise Unavailable(message) from error
        except (SQLAlchemyError, Unavailable) as error:
            if isinstance(error, SQLAlchemyError) and not is_outage(error):
                raise
            # It may be unknown whether the current batch was saved.
            progress = [_progress(line, dry_run)] if line else []
            again = Message("Send the whole file again: what is already there is skipped.")
            parts = [Message("The database is unavailable."), *progress, again]
            raise Unavailable(joined(parts)) from error


def original_error(error: AppError) -> AppError:
    """Return an error of ``import_users`` without the sentence about its progress."""
    return error.__cause__ if isinstance(error.__cause__, AppError) else error


def _next_batch(
    rows: Iterator[Row | BadRow],
) -> tuple[list[Row | BadRow], BaseException | None]:
    """Return the next rows, or why there are none, to be raised when the last batch is saved."""
    try:
        return list(islice(rows, ROWS_PER_BATCH)), None
    except BaseException as error:
        return [], error


class _Worker:
    """Works on full batches in a thread, so that the next batch can be read meanwhile.

    The thread keeps its connection until the end of the import. A batch that is not full is the
    last one, so it needs no thread.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, work: Callable[[_Rows], Batch], rows: _Rows) -> Callable[[], Batch]:
        """Begin work on a batch, and return a function that waits for its result."""
        if len(rows) < ROWS_PER_BATCH:
            return partial(work, rows)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "import")
        return self._pool.submit(copy_context().run, work, rows).result

    def close(self) -> None:
        """End the thread. Do not wait for it: the garbage collector may call this."""
        if self._pool is not None:
            self._pool.submit(close_thread_connections)
            self._pool.shutdown(wait=False)


def _progress(line: int, dry_run: bool) -> Message:
    if not line:
        return Message("No row was imported.")
    if dry_run:
        return Message("The rows up to line %(line)s would be imported.", line=f"{line:,}")
    return Message("The rows up to line %(line)s were imported.", line=f"{line:,}")


def _failures(rows: Iterable[Row | BadRow], outcomes: Iterable[Outcome]) -> list[Failure]:
    reasons = {each.line: each.reason for each in outcomes if each.result == "failed"}
    return [Failure(row, reasons[row.line]) for row in rows if row.line in reasons]


def _check(row: Row | BadRow, last_id: int | None, columns: Columns | None) -> _ValidRow | Outcome:
    """Validate a single row.

    :param last_id: the highest id when the import began: ids that the import itself assigns do not
        match. None: ignore the row's id.
    """
    if isinstance(row, BadRow):
        return Outcome(row.line, "failed", row.reason)
    try:
        user_id = None if last_id is None else read_user_id(row.values)
        values, warnings = read_row(row.values)
    except Invalid as error:
        return Outcome(row.line, "failed", _reasons(error.errors, columns))
    if user_id is not None and not 0 < user_id <= (last_id or 0):
        return Outcome(row.line, "failed", _UNKNOWN_ID)
    reasons = _reasons(warnings, columns) if warnings else ""
    return _ValidRow(row.line, user_id, fields.with_folded(values), reasons)


def _reasons(problems: Iterable[FieldError], columns: Columns | None) -> str:
    """Return what is wrong with a row's fields, with the columns that they came from."""
    used = {} if columns is None else columns.used
    reasons = []
    for problem in problems:
        names = used.get(problem.field, [problem.field])
        shown = "" if names == [problem.field] else f" ({', '.join(names[:MAX_NAMED])})"
        text = joined([problem.message])
        reasons.append(Message("%(field)s: %(problem)s", field=problem.field + shown, problem=text))
    return joined(reasons)


def _saving(record: Recorder | None = None) -> Callable[[_Rows], Batch]:
    """Return a function that saves a batch in its own transaction.

    The import's audit event, with the total counts, is saved with each batch. A batch is retried if
    another transaction added one of its mailboxes or changed one of its users.
    """
    total, event_id = Counter[str](), None

    @in_transaction
    def commit(rows: _Rows) -> tuple[Batch, int | None]:
        batch = _write(rows, record)
        counts = {name: total[name] + batch.counts[name] for name in RESULTS}
        if event_id is not None:
            audit.update_counts(event_id, counts)
        elif counts["created"] or counts["updated"]:
            return batch, audit.record(_IMPORTED, after=counts)
        return batch, event_id

    def save(rows: _Rows) -> Batch:
        nonlocal event_id
        for _ in range(ATTEMPTS):
            with suppress(IntegrityError, _ConcurrentChange):
                batch, event_id = commit(rows)
                total.update(batch.counts)
                return batch
        raise Unavailable

    return save


def _write(rows: _Rows, record: Recorder | None = None) -> Batch:
    known = _Known(_find(rows, lambda *question: write(*question).rows))
    now = utcnow()
    batch = _merge(rows, known, now)
    users = known.by_mailbox.values()
    if moved := [user.user_id for user in users if user.has_moved]:
        db.session.execute(FREE_MAILBOXES, {"ids": moved})
    added = [
        {
            **user.state,
            "updated_at": now if user.changes else user.state["updated_at"],
            "version": user.version + user.changes,
        }
        for user in users
        if user.user_id is None
    ]
    if added:
        db.session.execute(insert(User.__table__), added)
        word_index.add_in_bulk(added)
    changed = [user for user in users if user.changes and user.user_id is not None]
    states = [
        {
            "id": user.user_id,
            "version": user.version,
            "changes": user.changes,
            "deactivations": user.deactivations,
            **user.state,
        }
        for user in changed
    ]
    if states and bulk_update.run(states, now) != len(states):
        raise _ConcurrentChange
    word_index.mend(
        word_index.names_in({"id": user.user_id, **user.state})
        for user in changed
        if user.was_renamed
    )
    if deactivated := [user.user_id for user in changed if user.deactivations and user.user_id]:
        run_after_deactivation(deactivated)
    if record is not None:
        changes = [
            Change(user.user_id, user.before or {}, user.state, user.version, user.changes)
            for user in changed
            if user.user_id is not None
        ]
        record(Written(batch, rows[-1].line, added, changes))
    return batch


@contextmanager
def _simulation() -> Iterator[Callable[[_Rows], Batch]]:
    """Yield a function that returns the results that a batch would have.

    The state after the rows so far is stored in an anonymous temporary file of SQLite.
    """
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as made:
        made.execute("PRAGMA journal_mode = OFF")
        made.execute(
            "CREATE TABLE made (email_folded TEXT PRIMARY KEY, user_id INTEGER UNIQUE, state)"
            " WITHOUT ROWID"
        )

        def simulate(rows: _Rows) -> Batch:
            found = {user.user_id: user for user in _find(rows, read)}
            for mailbox, user_id, state in made.execute(
                "SELECT * FROM made WHERE email_folded IN (SELECT value FROM json_each(?))"
                " OR user_id IN (SELECT value FROM json_each(?))",
                [orjson.dumps(keys).decode() for keys in (_mailboxes(rows), [*found])],
            ):
                found[mailbox if user_id is None else user_id] = _User(orjson.loads(state), user_id)
            known = _Known(found.values())
            batch = _merge(rows, known, utcnow())
            changed = [
                (mailbox, user.user_id, orjson.dumps(user.state))
                for mailbox, user in known.by_mailbox.items()
                if user.user_id is None or user.changes
            ]
            made.execute("BEGIN")
            made.executemany("DELETE FROM made WHERE user_id = ?", [row[1:2] for row in changed])
            made.executemany("INSERT OR REPLACE INTO made VALUES (?, ?, ?)", changed)
            made.execute("COMMIT")
            return batch

        yield simulate


def _mailboxes(rows: _Rows) -> list[str]:
    return [row.values["email_folded"] for row in rows if isinstance(row, _ValidRow)]


def _find(rows: _Rows, query: Callable[..., Iterable[Any]]) -> Collection[_User]:
    """Return the users who have a mailbox or an id that occurs in the rows."""
    found = list(query(BY_MAILBOXES, {"mailboxes": _mailboxes(rows)}))
    ids = {row.user_id for row in rows if isinstance(row, _ValidRow)} - {None}
    if ids:
        found += query(BY_IDS, {"ids": list(ids)})
    return {
        user_id: _User(dict(zip(STATE, state, strict=True)), user_id, version)
        for user_id, version, *state in found
    }.values()


def _merge(rows: _Rows, known: _Known, now: datetime) -> Batch:
    """Apply the rows to the users, one after the other."""
    outcomes, created = [], 0
    user_ids = [user_id for user_id in known.by_id if user_id is not None]
    for row in rows:
        if isinstance(row, Outcome):
            outcomes.append(row)
        elif row.user_id is not None:
            outcomes.append(_change_and_warn(known.by_id.get(row.user_id), row, known))
        elif user := known.by_mailbox.get(row.values["email_folded"]):
            outcomes.append(_change_and_warn(user, row, known))
        else:
            state = {**_NEW, "created_at": now, **row.values}
            state.setdefault("updated_at", state["created_at"])
            known.by_mailbox[state["email_folded"]] = _User(state)
            created += 1
            if row.warnings:
                outcomes.append(Outcome(row.line, "created", row.warnings))
    counts = Counter(outcome.result for outcome in outcomes)
    counts["created"] = created
    return Batch(counts, outcomes, user_ids)


def _change_and_warn(user: _User | None, row: _ValidRow, known: _Known) -> Outcome:
    password_hash = user and user.state["password_hash"]
    outcome = _change(user, row, known)
    if row.warnings:
        outcome.reason = joined([outcome.reason, row.warnings])
    if password_hash and row.values.get("password_hash", password_hash) != password_hash:
        outcome.reason = joined([outcome.reason, _HAS_PASSWORD])
    return outcome


def _change(user: _User | None, row: _ValidRow, known: _Known) -> Outcome:
    if user is None:
        return Outcome(row.line, "failed", _UNKNOWN_ID)
    state, values = user.state, row.values
    changes = [name for name in fields.IMPORTED if name in values and values[name] != state[name]]
    if "password_hash" in values and state["password_hash"] is None:
        changes.append("password_hash")
    if not changes:
        return Outcome(row.line, "skipped", _SAME)
    if state["role"] == "admin":  # even since an earlier row
        return Outcome(row.line, "failed", _IS_ADMINISTRATOR)
    deactivates = "active" in changes and not values["active"]
    if deactivates and user.user_id is not None:
        try:
            check_not_own(user.user_id)
        except AppError as error:
            return Outcome(row.line, "failed", error.message)
    old, new = state["email_folded"], values["email_folded"]
    if new != old:
        if new in known.by_mailbox:
            return Outcome(row.line, "failed", _IS_TAKEN)
        known.by_mailbox.pop(old, None)
        known.by_mailbox[new] = user
        user.has_moved = True
    user.was_renamed |= not FOLDED.keys().isdisjoint(changes)
    user.deactivations += deactivates
    user.before = user.before or state
    kept = () if "password_hash" in changes else ("password_hash",)
    user.state = state | {
        name: values[name] for name in values if name in _NEW and name not in kept
    }
    user.changes += 1
    reason = Message("Changed: %(fields)s.", fields=", ".join(changes))
    return Outcome(row.line, "updated", reason)

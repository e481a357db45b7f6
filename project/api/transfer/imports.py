"""The imports of the pages: all SQL on their tables. Knows no HTTP.

Functions whose names start with ``commit`` commit; for the others, the caller does.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    String,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from project.api.transfer import uploads
from project.api.transfer.columns import Columns
from project.api.transfer.importing import Change, Outcome, Report, Written
from project.api.transfer.models import FILE_NAME_LENGTH, MESSAGE_LENGTH, Import, ImportChange
from project.api.transfer.row_rules import importable_fields
from project.api.users import fields, queries, service
from project.clock import utcnow
from project.database import Row, db, in_transaction, read, write
from project.errors import Conflict, Message, NotFound
from project.web.guard import known_principal
from project.web.pruning import delete_oldest, prunes

LISTED = 20
MAX_WAITING = 10  # files of one person
SHOWN_ROWS = 100
SHOWN_BYTES = 60_000  # of the 65,535 that a column of text holds
LEASE_SECONDS = 60
"""A thread that has not been heard of for so long is gone, and another may go on."""

State = Literal["waiting", "running", "done", "failed", "undoing", "undone"]
WORKING = ("running", "undoing")
UNDOABLE = (*fields.IMPORTED, "password_hash")
"""The columns that an undo brings back."""

_imports: Any = Import.__table__
_changes: Any = ImportChange.__table__
_HAS_ID = _imports.c.id == bindparam("import_id", type_=String)
_BY_ID = select(*_imports.c).where(_HAS_ID)
_NEWEST = select(*_imports.c).order_by(_imports.c.created_at.desc(), _imports.c.id).limit(LISTED)
_INSERT = insert(_imports)
_IS_WAITING = _imports.c.state == "waiting"
_COUNT_WAITING = select(func.count().label("count")).where(
    _imports.c.created_at > bindparam("since", type_=DateTime),
    _IS_WAITING,
    _imports.c.user_id.is_not_distinct_from(bindparam("user_id", type_=Integer)),
)
_SAVE_WAITING = update(_imports).where(_HAS_ID, _IS_WAITING)
_SAVE = update(_imports).where(_HAS_ID, _imports.c.runner == bindparam("holder", type_=String))
_CLAIM = update(_imports).where(
    _HAS_ID,
    or_(
        _imports.c.state.in_(bindparam("free", expanding=True)),
        and_(
            _imports.c.state.in_(bindparam("stopped", expanding=True)),
            _imports.c.beat_at <= bindparam("stale", type_=DateTime),
        ),
    ),
)
_DELETE = delete(_imports).where(_HAS_ID, _IS_WAITING)

_OF_IMPORT = _changes.c.import_id == bindparam("import_id", type_=String)
_OF_USERS = (_OF_IMPORT, _changes.c.user_id.in_(bindparam("ids", expanding=True)))
_FOUND = select(*_changes.c).where(*_OF_USERS)
_FORGET = delete(_changes).where(*_OF_USERS)
_COUNTS = (
    select(_changes.c.kind, func.count().label("count")).where(_OF_IMPORT).group_by(_changes.c.kind)
)
_KEPT = (
    select(_changes.c.user_id, _changes.c.kept)
    .where(_OF_IMPORT, _changes.c.kept.is_not(None))
    .order_by(_changes.c.user_id)
    .limit(SHOWN_ROWS)
)
_columns = fields.COLUMNS
_ADDED = select(_columns.id, _columns.version).where(
    _columns.email_folded.in_(bindparam("mailboxes", expanding=True))
)
_VERSIONS = queries.LOCKED_ACTIVE_OTHERS.add_columns(_columns.version)


class ImportNotFound(NotFound):
    """There is no such import (404)."""

    message = "There is no such import. Imports are listed for seven days."


class InUse(Conflict):
    """The import is running, or has ended (409)."""

    message = "This import has been started, continued or undone meanwhile."


class TooManyWaiting(Conflict):
    """The person has as many files waiting as they may (409)."""

    message = Message(
        "%(limit)s of your files are waiting. Import or discard one of them first; otherwise each"
        " is removed an hour after it was uploaded.",
        limit=MAX_WAITING,
    )


class LeaseLost(Conflict):
    """Another thread goes on with the import."""

    message = "The import is continued elsewhere."


class Options(BaseModel):
    """What a person has chosen for an import.

    :param columns: by field, the column that it is read from; other fields are read from the
        columns whose names tell.
    :param left_out: the columns whose names tell nothing.
    :param max_deactivate: how many users may be deactivated; None: a tenth of the active ones.
    """

    match: Literal["email", "id"] = "email"
    columns: dict[str, str] = {}
    left_out: list[str] = []
    deactivate_missing: bool = False
    max_deactivate: int | None = None

    def reader(self, by_admin: bool, kind: type[Columns] = Columns) -> Columns:
        """Return how the columns are read, for one reading of the file.

        :param by_admin: whether the caller is an administrator.
        """
        fields = importable_fields(by_admin, self.match == "id")
        return kind(fields, self.columns, self.left_out)


class Lease(NamedTuple):
    """The right of one thread to work on an import."""

    import_id: str
    runner: str


def refuse_too_many() -> None:
    """Check how many files of the caller are waiting, before another is read.

    People who have not signed in count as one.

    :raises TooManyWaiting: there are ``MAX_WAITING`` (409).
    """
    if read(_COUNT_WAITING, _waiting())[0].count >= MAX_WAITING:
        raise TooManyWaiting


def _waiting() -> dict[str, Any]:
    return {"since": utcnow() - timedelta(hours=uploads.HOURS), "user_id": _user_id()}


def _user_id() -> int | None:
    who = known_principal()
    return None if who is None else who.user_id


@in_transaction
def commit_import(upload_id: str, file_name: str, size: int) -> None:
    """Add an import of a file that was stored.

    :raises TooManyWaiting: others that arrived meanwhile are too many with it (409).
    """
    values = {
        "id": upload_id,
        "user_id": _user_id(),
        "file_name": file_name.replace("\\", "/").rpartition("/")[2][-FILE_NAME_LENGTH:],
        "state": "waiting",
        "options": Options().model_dump_json(),
        "size": size,
        "created_at": utcnow(),
    }
    write(_INSERT, values)
    if write(_COUNT_WAITING, _waiting()).rows[0].count > MAX_WAITING:
        raise TooManyWaiting


def get_import(import_id: str) -> Row:
    """Return an import.

    :raises ImportNotFound: there is none with this id (404).
    """
    found = read(_BY_ID, {"import_id": import_id}) if uploads.is_id(import_id) else ()
    if not found:
        raise ImportNotFound
    return found[0]


def list_imports() -> Sequence[Row]:
    """Return the newest imports."""
    return read(_NEWEST, {})


def is_stopped(row: Row) -> bool:
    """Return whether an import was being worked on by a thread that is gone."""
    stale = utcnow() - timedelta(seconds=LEASE_SECONDS)
    return row.state in WORKING and (row.beat_at is None or row.beat_at <= stale)


@in_transaction
def commit_options(import_id: str, options: Options) -> None:
    """Save what was chosen for an import that has not begun.

    :raises InUse: it has begun (409).
    """
    values = {"import_id": import_id, "options": options.model_dump_json()}
    if not write(_SAVE_WAITING, values).row_count:
        raise InUse


@in_transaction
def commit_removal(import_id: str) -> None:
    """Remove an import that has not begun.

    :raises InUse: it has begun (409).
    """
    if not write(_DELETE, {"import_id": import_id}).row_count:
        raise InUse


@in_transaction
def commit_claim(import_id: str, state: State, free: Collection[State]) -> Lease:
    """Take the import over, for a thread that works on it.

    :param state: its state from now on.
    :param free: the states in which anybody may take it. From this state, and that of a running
        import, it is taken if the thread that had it is gone.
    :raises InUse: it is in another state (409).
    """
    lease, now = Lease(import_id, secrets.token_hex(16)), utcnow()
    values: dict[str, Any] = {
        "import_id": import_id,
        "free": list(free),
        "stopped": ["running", state],
        "stale": now - timedelta(seconds=LEASE_SECONDS),
        "state": state,
        "runner": lease.runner,
        "beat_at": now,
        "message": None,
        "finished_at": None,
    }
    if state == "running":
        values["started_at"] = now
    if not write(_CLAIM, values).row_count:
        raise InUse
    return lease


def save(lease: Lease, **values: Any) -> None:
    """Save the progress of an import, in the current transaction, and that its thread lives.

    :raises LeaseLost: another thread goes on with it.
    """
    if "report" in values:
        values["report"] = orjson.dumps(values["report"]).decode()
    values["beat_at"] = utcnow()
    parameters = {"import_id": lease.import_id, "holder": lease.runner, **values}
    if not write(_SAVE, parameters).row_count:
        raise LeaseLost


commit_progress = in_transaction(save)


def commit_end(lease: Lease, state: State, message: str | None = None, **values: Any) -> None:
    """Save how an import has ended; its thread has no more right to it.

    :raises LeaseLost: another thread goes on with it.
    """
    text = None if message is None else _packed_text(message)
    commit_progress(lease, state=state, message=text, runner=None, finished_at=utcnow(), **values)


def message_of(row: Row) -> str:
    """Return why the import has failed; empty: it has not."""
    message: str = unpacked(orjson.loads(row.message)) if row.message else ""
    return message


def report_of(row: Row) -> dict[str, Any]:
    """Return the results so far; empty: there are none."""
    return orjson.loads(row.report) if row.report else {}


def shown(report: Report) -> dict[str, Any]:
    """Return a report's counts, and its first rows that failed or have a warning, or have changes.

    Those that failed come first.
    """
    told = [each for each in report.rows if each.result != "skipped" or "left out" in each.reason]
    told.sort(key=lambda each: each.result != "failed")
    rows, room = [], SHOWN_BYTES
    for each in told[:SHOWN_ROWS]:
        row = [each.line, each.result, _packed(each.reason)]
        room -= len(orjson.dumps(row))
        if room < 0:
            break
        rows.append(row)
    return {
        **report.counts(),
        "deactivated": report.deactivated,
        "missing": report.missing,
        "refusal": report.refusal,
        "header_line": report.header_line,
        "rows": rows,
    }


def resumed(saved: Mapping[str, Any]) -> Report:
    """Return a report that goes on from saved results."""
    report = Report(deactivated=saved.get("deactivated", 0))
    for name in report.counts():
        setattr(report, name, saved.get(name, 0))
    report.rows = [
        Outcome(line, result, unpacked(reason)) for line, result, reason in saved.get("rows", [])
    ]
    return report


def _packed(text: str) -> Any:
    """Return a text as JSON that keeps what pages need to translate it."""
    if not isinstance(text, Message):
        return text
    values = {name: _packed(value) for name, value in text.values.items()}
    return [text.template, values]


def _packed_text(message: str) -> str:
    """Return a message as JSON; one that is too long is cut, and stays English."""
    text = orjson.dumps(_packed(message)).decode()
    while len(text) > MESSAGE_LENGTH:
        message = message[: len(message) // 2]
        text = orjson.dumps(str(message)).decode()
    return text


def unpacked(packed: Any) -> Any:
    """Return a text from JSON."""
    if not isinstance(packed, list):
        return packed
    template, values = packed
    return Message(template, **{name: unpacked(value) for name, value in values.items()})


class Changes:
    """Records what an import does to users, each in the transaction that does it."""

    def __init__(self, import_id: str) -> None:
        self._import_id = import_id

    def add(self, written: Written) -> None:
        """Record a batch."""
        entries: dict[int, dict[str, Any]] = {}
        if written.added:
            mailboxes = [values["email_folded"] for values in written.added]
            for row in write(_ADDED, {"mailboxes": mailboxes}).rows:
                entries[row.id] = self._entry(row.id, "created", None, row.version)
        changed = {change.user_id: change for change in written.changed}
        known = self._take(changed)
        for user_id, change in changed.items():
            before = _differences(change)
            entries[user_id] = self._entry(
                user_id, "changed", before, change.version + change.changes
            )
            if (earlier := known.get(user_id)) is not None:
                self._merge(entries[user_id], earlier, change.version)
        self._insert(entries.values())

    def deactivate(self, user_ids: Sequence[int]) -> int:
        """Deactivate users, and record it; return how many they were."""
        found = {row.id: row.version for row in write(_VERSIONS, {"ids": user_ids}).rows}
        count = service.deactivate_users(user_ids)
        known = self._take(found)
        entries = []
        for user_id, version in found.items():
            entry = self._entry(user_id, "changed", {"active": True}, version + 1)
            if (earlier := known.get(user_id)) is not None:
                self._merge(entry, earlier, version)
            entries.append(entry)
        self._insert(entries)
        return count

    def _take(self, user_ids: Iterable[int]) -> dict[int, Row]:
        """Return and remove the entries of users whom an earlier batch has changed."""
        ids = list(user_ids)
        if not ids:
            return {}
        key = {"import_id": self._import_id, "ids": ids}
        known = {row.user_id: row for row in write(_FOUND, key).rows}
        if known:
            write(_FORGET, {"import_id": self._import_id, "ids": [*known]})
        return known

    def _merge(self, entry: dict[str, Any], earlier: Row, version: int) -> None:
        """Put the entry of an earlier batch into a later one.

        :param version: the user's before the later batch.
        """
        if earlier.version != version:
            entry["version"] = 0
        if earlier.kind == "created":
            entry.update(kind="created", before=None)
        else:
            merged = orjson.loads(entry["before"]) | orjson.loads(earlier.before)
            entry["before"] = orjson.dumps(merged).decode()

    def _entry(
        self, user_id: int, kind: str, before: dict[str, Any] | None, version: int
    ) -> dict[str, Any]:
        return {
            "import_id": self._import_id,
            "user_id": user_id,
            "kind": kind,
            "before": None if before is None else orjson.dumps(before).decode(),
            "version": version,
        }

    def _insert(self, entries: Iterable[dict[str, Any]]) -> None:
        if rows := list(entries):
            db.session.execute(_INSERT_CHANGES, rows)


_INSERT_CHANGES = insert(_changes)


def _differences(change: Change) -> dict[str, Any]:
    """Return the old values of the columns that a batch has changed."""
    return {
        name: change.before[name]
        for name in UNDOABLE
        if change.before[name] != change.after.get(name)
    }


def count_changes(import_id: str) -> dict[str, int]:
    """Return how many users an import has created, and changed, by kind."""
    found = {row.kind: row.count for row in read(_COUNTS, {"import_id": import_id})}
    return {"created": found.get("created", 0), "changed": found.get("changed", 0)}


def list_kept(import_id: str) -> Sequence[Row]:
    """Return the first users whom an undo has left as they are, and why."""
    return read(_KEPT, {"import_id": import_id})


_EXPIRED = _imports.c.created_at <= bindparam("until", type_=DateTime)
_EXPIRED_CHANGES = (
    select(_changes.c.import_id, _changes.c.user_id)
    .where(_changes.c.import_id.in_(select(_imports.c.id).where(_EXPIRED)))
    .limit(bindparam("limit", type_=BigInteger))
)


@prunes("imports")
def remove_expired(limit: int) -> int:
    """Remove imports that are no longer listed: first what they have changed.

    :return: the number of rows removed.
    """
    until = utcnow() - timedelta(days=uploads.DAYS_LISTED)
    expired = {"until": until, "limit": limit}
    if found := write(_EXPIRED_CHANGES, expired).rows:
        by_import: dict[str, list[int]] = {}
        for row in found:
            by_import.setdefault(row.import_id, []).append(row.user_id)
        for import_id, ids in by_import.items():
            write(_FORGET, {"import_id": import_id, "ids": ids})
        return len(found)
    return delete_oldest(_imports.c.id, _imports.c.created_at, until, limit)

"""Undoes an import of the pages, batch by batch.

Users whom it has created are removed, and those whom it has changed get their fields back, unless
somebody has changed them since. Administrators, and the person who undoes it, stay as they are.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import orjson
from sqlalchemy import String, bindparam, delete, select, update

from project.api.audit import service as audit
from project.api.transfer import bulk_update, imports
from project.api.transfer.importing import BY_MAILBOXES, FREE_MAILBOXES, STATE
from project.api.transfer.imports import Lease
from project.api.transfer.models import ImportChange
from project.api.users import fields, word_index
from project.api.users.models import FOLDED, User
from project.api.users.service import run_after_deactivation, run_before_removal
from project.clock import utcnow
from project.database import Row, db, in_transaction, write
from project.errors import Conflict
from project.web.guard import SESSION, is_admin, known_principal, require_still

USERS_PER_BATCH = 500
KEPT = ("changed", "admin", "role", "self", "taken")
"""Why an undo leaves a user: somebody has changed them since, they are an administrator, only an
administrator may give their role back, they are who undoes it, or their address is taken."""

_UNDONE = audit.register("import.undone")
_changes: Any = ImportChange.__table__
_users = fields.COLUMNS
_IDS: Any = bindparam("ids", expanding=True)
_OF_IMPORT = _changes.c.import_id == bindparam("of_import", type_=String)
_KIND = _changes.c.kind == bindparam("kind", type_=String)
_NEXT = (
    select(*_changes.c)
    .where(_OF_IMPORT, _KIND, _changes.c.kept.is_(None), _changes.c.user_id > bindparam("after"))
    .order_by(_changes.c.user_id)
    .limit(USERS_PER_BATCH)
)
_LOCKED = (
    select(*(_users[name] for name in ("id", "version", *STATE)))
    .where(_users.id.in_(_IDS))
    .with_for_update()
)
_REMOVE = delete(User.__table__).where(_users.id.in_(_IDS))
_FORGET = delete(_changes).where(_OF_IMPORT, _changes.c.user_id.in_(_IDS))
_KEEP = update(_changes).where(_OF_IMPORT, _changes.c.user_id.in_(_IDS))


class UserChangedMeanwhile(Conflict):
    """A user was changed between the SELECT and the UPDATE, which the lock prevents."""


class _Undo:
    """One thread's work on an undo."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._found = imports.get_import(lease.import_id)
        self._report = imports.report_of(self._found)
        self._counts = Counter(self._report.get("undone", {}))
        self._event_id: int | None = None
        self._by_admin = is_admin()

    def run(self) -> None:
        # First the new users, who may have the addresses that others get back.
        for kind in ("created", "changed"):
            after = 0
            while True:
                require_still("users:write", SESSION)
                last, counts, event_id = _commit_batch(self, kind, after)
                if last is None:
                    break
                self._counts, self._event_id, after = counts, event_id, last
        imports.commit_end(self._lease, "undone", report=self._with(self._counts))

    def _with(self, counts: Counter[str]) -> dict[str, Any]:
        return {**self._report, "undone": dict(counts)}

    def undo_batch(self, kind: str, after: int) -> tuple[int | None, Counter[str], int | None]:
        """Undo the next changes; return the last user, the counts so far, and the event."""
        key = {"of_import": self._lease.import_id}
        changes = write(_NEXT, {**key, "kind": kind, "after": after}).rows
        if not changes:
            imports.save(self._lease)
            return None, self._counts, self._event_id
        ids = [change.user_id for change in changes]
        users = {row.id: row for row in write(_LOCKED, {"ids": ids}).rows}
        kept = {
            change.user_id: reason
            for change in changes
            if (reason := self._reason_to_keep(change, users.get(change.user_id)))
        }
        # A user who has been removed meanwhile needs nothing.
        wanted = [each for each in changes if each.user_id in users and each.user_id not in kept]
        if kind == "created":
            if wanted:
                removed = [each.user_id for each in wanted]
                run_before_removal(removed)
                write(_REMOVE, {"ids": removed})
        else:
            wanted = self._restore(wanted, users, kept)
        for reason in set(kept.values()):
            same = [user_id for user_id, each in kept.items() if each == reason]
            write(_KEEP, {**key, "ids": same, "kept": reason})
        if done := [user_id for user_id in ids if user_id not in kept]:
            write(_FORGET, {**key, "ids": done})
        name = "removed" if kind == "created" else "restored"
        counts = self._counts + Counter({name: len(wanted), "kept": len(kept)})
        imports.save(self._lease, report=self._with(counts))
        return ids[-1], counts, self._record(counts)

    def _reason_to_keep(self, change: Row, user: Row | None) -> str | None:
        if user is None:
            return None
        who = known_principal()
        if user.role == "admin":
            return "admin"
        if user.version != change.version:
            return "changed"
        if who is not None and who.user_id == user.id:
            return "self"
        gives_rights = not {"role", "password_hash"}.isdisjoint(_before(change))
        return "role" if gives_rights and not self._by_admin else None

    def _restore(
        self, changes: Collection[Row], users: dict[int, Row], kept: dict[int, str]
    ) -> list[Row]:
        """Give users their fields back unless their address is taken; return their changes."""
        states = {
            each.user_id: _state(users[each.user_id]) | fields.with_folded(_before(each))
            for each in changes
        }
        moved = [user_id for user_id in states if _has_moved(users[user_id], states[user_id])]
        mailboxes = [states[user_id]["email_folded"] for user_id in moved]
        found = write(BY_MAILBOXES, {"mailboxes": mailboxes}).rows if moved else ()
        holders = {row.email_folded: row.id for row in found}
        # Who stays keeps an address that another one may want, and so on.
        while taken := [
            user_id
            for user_id in moved
            if holders.get(states[user_id]["email_folded"], user_id) not in moved
        ]:
            kept.update(dict.fromkeys(taken, "taken"))
            for user_id in taken:
                moved.remove(user_id)
                del states[user_id]
        if not states:
            return []
        if moved:
            db.session.execute(FREE_MAILBOXES, {"ids": moved})
        ended = [id_ for id_ in states if users[id_].active and not states[id_]["active"]]
        rows = [
            {
                "id": user_id,
                "version": users[user_id].version,
                "changes": 1,
                "deactivations": int(user_id in ended),
                **state,
            }
            for user_id, state in states.items()
        ]
        if bulk_update.run(rows, utcnow()) != len(rows):
            raise UserChangedMeanwhile
        word_index.mend(_renamed(users, states))
        if ended:
            run_after_deactivation(ended)
        return [each for each in changes if each.user_id in states]

    def _record(self, counts: Counter[str]) -> int | None:
        """Record the undo as one event, whose counts grow."""
        after = {"removed": counts["removed"], "restored": counts["restored"]}
        if self._event_id is not None:
            audit.update_counts(self._event_id, after)
            return self._event_id
        return audit.record(_UNDONE, after=after) if any(after.values()) else None


_commit_batch = in_transaction(_Undo.undo_batch)


def _before(change: Row) -> dict[str, Any]:
    return orjson.loads(change.before) if change.before else {}


def _state(user: Row) -> dict[str, Any]:
    return {name: getattr(user, name) for name in STATE}


def _has_moved(user: Row, state: dict[str, Any]) -> bool:
    return bool(user.email_folded != state["email_folded"])


def _renamed(users: dict[int, Row], states: dict[int, dict[str, Any]]) -> Iterable[Any]:
    """Yield the names of the users whose words change."""
    for user_id, state in states.items():
        if any(getattr(users[user_id], name) != state[name] for name in FOLDED):
            yield word_index.names_in({"id": user_id, **state})


def undo(lease: Lease) -> None:
    """Undo an import, and say how it ended.

    :raises LeaseLost: another thread goes on with it.
    :raises Forbidden: the person may no longer change users (403).
    """
    _Undo(lease).run()

"""One change of several users: what it would do to each, and doing it. Knows no HTTP.

A change takes users in batches, each in a transaction of its own. Each user gets an event of their
own, and the rules are those for one user: who may not be changed is left out, with the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from project.api.users import errors, service
from project.database import Row
from project.errors import AppError
from project.web.guard import known_principal

MOST_AT_ONCE = 5_000
"""How many users one submit changes: their ids fit into a form, and the work takes seconds."""
MOST_READ = 20_000
"""How many users are read to find those."""
USERS_PER_PAGE = 1_000
USERS_PER_BATCH = 200
SHOWN = 20
COLUMNS = ("id", "username", "email", "role_text", "active_number")


class Change(NamedTuple):
    """What is done to each user.

    :param kind: ``activate``, ``deactivate``, ``role`` or ``remove``.
    :param role: the new role.
    """

    kind: str
    role: str | None = None

    @property
    def name(self) -> str:
        """The field that is set."""
        return "role" if self.kind == "role" else "active"

    @property
    def value(self) -> Any:
        """The field's new value."""
        return self.role if self.kind == "role" else self.kind == "activate"

    def is_done(self, user: Row) -> bool:
        """Return whether the user is so already."""
        return self.kind != "remove" and bool(getattr(user, self.name) == self.value)

    def loses_administrator(self, user: Row) -> bool:
        """Return whether an active administrator would be one no longer."""
        return user.role == "admin" and user.active and self.kind != "activate"

    def check(self, user: Row, by_admin: bool) -> None:
        """Check that the caller may change this user so.

        :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
        :raises OwnAccount: the user is the caller (409).
        """
        if user.role == "admin" and not by_admin:
            raise errors.OnlyByAdministrators
        who = known_principal()
        if who is not None and who.user_id == user.id:
            raise errors.OwnAccount


class LeftOut(NamedTuple):
    """A user who is not changed, and why."""

    username: str
    email: str
    reason: str


@dataclass
class Preview:
    """What a change would do.

    :param by_admin: whether the caller is an administrator: only they change administrators.
    :param ids: of those whom it would change.
    :param shown: the first of them.
    :param unchanged: how many need no change.
    :param left_out: the first of those who may not be changed.
    :param left_out_count: how many those are.
    """

    change: Change
    by_admin: bool
    ids: list[int] = field(default_factory=list)
    shown: list[Row] = field(default_factory=list)
    unchanged: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    left_out_count: int = 0
    _administrators: dict[int, bool] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no further page of users fits."""
        read = len(self.ids) + self.unchanged + self.left_out_count
        return len(self.ids) + USERS_PER_PAGE > MOST_AT_ONCE or read >= MOST_READ

    def add(self, users: Iterable[Row]) -> None:
        """Add users, with ``COLUMNS``."""
        for user in users:
            if self.change.is_done(user):
                self.unchanged += 1
                continue
            try:
                self._check(user)
            except AppError as error:
                self.left_out_count += 1
                if len(self.left_out) < SHOWN:
                    self.left_out.append(LeftOut(user.username, user.email, error.message))
                continue
            self.ids.append(user.id)
            if len(self.shown) < SHOWN:
                self.shown.append(user)

    def _check(self, user: Row) -> None:
        self.change.check(user, self.by_admin)
        if self.change.loses_administrator(user):
            if self._administrators is None:
                self._administrators = service.active_administrators()
            service.lose_administrator(self._administrators, user.id)


@dataclass
class Outcome:
    """What a change has done.

    :param gone: how many did not exist any more.
    """

    done: int = 0
    unchanged: int = 0
    gone: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Add the outcome of another batch."""
        self.done += other.done
        self.unchanged += other.unchanged
        self.gone += other.gone
        self.left_out += other.left_out


def apply(change: Change, user_ids: Sequence[int], by_admin: bool) -> Outcome:
    """Change those of these users who exist, in the current transaction.

    Active administrators are changed one by one, for the last of them is not.
    """
    users = service.lock_users(user_ids)
    outcome = Outcome(gone=len(user_ids) - len(users))
    together: list[Row] = []
    for user in users:
        if change.is_done(user):
            outcome.unchanged += 1
            continue
        try:
            change.check(user, by_admin)
            if not change.loses_administrator(user):
                together.append(user)
            elif change.kind == "remove":
                service.delete_user(user.id)
            else:
                service.update_user(user.id, {change.name: change.value})
        except AppError as error:
            outcome.left_out.append(LeftOut(user.username, user.email, error.message))
        else:
            outcome.done += 1
    if together and change.kind == "remove":
        service.delete_together(together)
    elif together:
        service.update_together(together, change.name, change.value)
    return outcome

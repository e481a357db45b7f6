"""What can be done with users: all SQL on their table. Knows no HTTP.

Reads are SELECTs of just the columns that are shown, built once, on the ``read`` engine: one round
trip each, no ORM objects. Writes go through ``db.session`` and are flushed here; the caller
commits.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Row, and_, bindparam, insert, or_, select
from sqlalchemy.exc import IntegrityError

from project.api.users.emails import fold_email
from project.api.users.errors import EmailTaken, UserChanged, UserNotFound
from project.api.users.models import User
from project.api.users.schemas import UserRead
from project.extensions import db, fetch_all

LARGEST_ID = 2**31 - 1

_users = User.__table__.c
_columns = [*(_users[name] for name in UserRead.model_fields), _users.version]
_LIMIT = bindparam("limit", type_=Integer)
_BY_ID = select(*_columns).where(_users.id == bindparam("user_id"))
_AFTER_ID = (
    select(*_columns).where(_users.id > bindparam("after_id")).order_by(_users.id).limit(_LIMIT)
)
_NEWEST = (
    select(_users.id, _users.username, _users.created_at)
    .order_by(_users.created_at.desc(), _users.id.desc())
    .limit(_LIMIT)
)
# The first condition follows from the second; it is what SQLite takes for a range of the index.
_NEWEST_BEFORE = _NEWEST.where(
    _users.created_at <= bindparam("created_at"),
    or_(
        _users.created_at < bindparam("created_at"),
        and_(_users.created_at == bindparam("created_at"), _users.id < bindparam("user_id")),
    ),
)


def _any_version(_version: int) -> bool:
    return True


def get_user(user_id: int) -> Row[Any]:
    """Return one user.

    :param user_id: any integer; outside 1 to 2,147,483,647 there is no user, nor a question asked.
    :raises UserNotFound: no user has this id (404).
    """
    found = fetch_all(_BY_ID, {"user_id": user_id}) if 0 < user_id <= LARGEST_ID else ()
    if not found:
        raise UserNotFound
    return found[0]


def list_users(limit: int, after_id: int = 0) -> Sequence[Row[Any]]:
    """Return users in the order of their ids.

    :param limit: how many at most.
    :param after_id: start after this id; 0: with the first.
    """
    return fetch_all(_AFTER_ID, {"after_id": after_id, "limit": limit})


def list_newest_users(limit: int, before: tuple[datetime, int] | None = None) -> Sequence[Row[Any]]:
    """Return id, username and time of creation of users, the newest first, ties by id.

    :param limit: how many at most.
    :param before: start after the user with this time and id; None: with the newest.
    """
    if before is None:
        return fetch_all(_NEWEST, {"limit": limit})
    created_at, user_id = before
    values = {"created_at": created_at, "user_id": user_id, "limit": limit}
    return fetch_all(_NEWEST_BEFORE, values)


def create_user(username: str, email: str) -> User:
    """Add a user; the write is all of the transaction.

    :raises EmailTaken: another user has this mailbox (400).
    """
    user = User(username=username, email=email)
    db.session.add(user)
    _flush()
    return user


def update_user(
    user_id: int, changes: dict[str, Any], is_expected: Callable[[int], bool] = _any_version
) -> User:
    """Change fields of a user; one that gets the value it has is not changed.

    The row is locked from when it is read: of two who want to change the same state, one does.

    :param changes: new values by field; none: the user stays as it is, ``updated_at`` too.
    :param is_expected: says of the version that is found whether the caller wants to change it.
    :raises UserNotFound: no user has this id (404).
    :raises UserChanged: the version is not the expected one (412).
    :raises EmailTaken: another user has this mailbox (400).
    """
    user = _lock_user(user_id, is_expected)
    for name, value in changes.items():
        setattr(user, name, value)
    _flush()
    return user


def delete_user(user_id: int, is_expected: Callable[[int], bool] = _any_version) -> User:
    """Remove a user; the email is free again, the id is not.

    :param is_expected: as for update_user.
    :return: the user as it was.
    :raises UserNotFound: no user has this id (404).
    :raises UserChanged: the version is not the expected one (412).
    """
    user = _lock_user(user_id, is_expected)
    db.session.delete(user)
    _flush()
    return user


def _lock_user(user_id: int, is_expected: Callable[[int], bool]) -> User:
    in_range = 0 < user_id <= LARGEST_ID
    user = db.session.get(User, user_id, with_for_update=True) if in_range else None
    if user is None:
        raise UserNotFound
    if not is_expected(user.version):
        raise UserChanged
    return user


def _flush() -> None:
    """Send what the session holds; the write is all of the transaction.

    :raises EmailTaken: another user has this mailbox (400).
    """
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        if "email_folded" in str(error.orig):
            raise EmailTaken from error
        raise


def create_users(users: Iterable[tuple[str, str]]) -> None:
    """Add many users by one bulk INSERT.

    :param users: username and email of each; the caller sees to their form.
    :raises IntegrityError: a mailbox is taken or comes twice; none of the users is added then.
    """
    rows = [
        {"username": username, "email": email, "email_folded": fold_email(email)}
        for username, email in users
    ]
    db.session.execute(insert(User), rows)


def has_users() -> bool:
    """Say whether there is any user."""
    return bool(list_users(limit=1))

"""What can be done with users: all SQL on their table. Knows no HTTP.

Reads are SELECTs of just the columns that are shown, built once, on the ``read`` engine: one round
trip each, no ORM objects. Writes go through ``db.session`` and are flushed here; the caller
commits.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Row, insert
from sqlalchemy.exc import IntegrityError

from project.api.users import queries
from project.api.users.errors import EmailTaken, UserChanged, UserNotFound
from project.api.users.folding import fold_email, fold_username, prefix_range
from project.api.users.models import User
from project.api.users.queries import Filters
from project.extensions import db, fetch_all

LARGEST_ID = 2**31 - 1
EVERYBODY = Filters()
SEARCH_PARTS = ("username", "email")


def _any_version(_version: int) -> bool:
    return True


def get_user(user_id: int) -> Row[Any]:
    """Return one user.

    :param user_id: any integer; outside 1 to 2,147,483,647 there is no user, nor a question asked.
    :raises UserNotFound: no user has this id (404).
    """
    found = fetch_all(queries.BY_ID, {"user_id": user_id}) if 0 < user_id <= LARGEST_ID else ()
    if not found:
        raise UserNotFound
    return found[0]


def list_users(
    limit: int,
    sort: str = "id",
    after: tuple[Any, int] | None = None,
    filters: Filters = EVERYBODY,
) -> Sequence[Row[Any]]:
    """Return users in an order, ties by id.

    :param limit: how many at most.
    :param sort: ``id``, ``created_at``, ``username`` or ``email``; with ``-``, descending.
    :param after: start after the user with this sort key and id; None: with the first.
    """
    statement = queries.page(sort, *filters.used(), after is not None)
    return fetch_all(statement, {"limit": limit, **_keys(after), **filters.parameters()})


def search_users(
    prefix: str,
    limit: int,
    after: tuple[str, str, int] | None = None,
    filters: Filters = EVERYBODY,
) -> Sequence[tuple[str, Row[Any]]]:
    """Return users whose name or email starts with a prefix, in any letter case.

    First come those whose name does, in the order of the names, then those whose email alone does,
    in the order of the emails.

    :param limit: how many at most.
    :param after: start after the user with this part, sort key and id; None: with the first.
    :return: each user's part, ``username`` or ``email``, and row.
    """
    found: list[tuple[str, Row[Any]]] = []
    values = {**_prefix(prefix), **filters.parameters()}
    for part in SEARCH_PARTS:
        if after is not None and SEARCH_PARTS.index(part) < SEARCH_PARTS.index(after[0]):
            continue
        key = after[1:] if after is not None and part == after[0] else None
        statement = queries.page(part, *filters.used(), key is not None, part)
        rows = fetch_all(statement, {**values, "limit": limit - len(found), **_keys(key)})
        found += [(part, row) for row in rows]
        if len(found) == limit:
            break
    return found


def list_users_by_id(ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the users with these ids, those that there are, in the order of the ids."""
    known = [user_id for user_id in ids if 0 < user_id <= LARGEST_ID]
    return fetch_all(queries.BY_IDS, {"ids": known}) if known else ()


def count_users(filters: Filters = EVERYBODY, prefix: str | None = None) -> int:
    """Return how many users there are; of a million, this takes a while."""
    values = {**filters.parameters(), **(_prefix(prefix) if prefix else {})}
    total: int = fetch_all(queries.total(*filters.used(), bool(prefix)), values)[0][0]
    return total


def _keys(after: tuple[Any, int] | None) -> dict[str, Any]:
    return {} if after is None else {"key": after[0], "key_id": after[1]}


def _prefix(prefix: str) -> dict[str, str]:
    folded = fold_username(prefix)
    start, end = prefix_range(folded)
    return {"username_from": start, "username_to": end, "email_from": start, "email_to": end}


def create_user(username: str, email: str) -> User:
    """Add a user.

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
    """Send what the session holds.

    :raises EmailTaken: another user has this mailbox (400).
    """
    try:
        db.session.flush()
    except IntegrityError as error:
        if "email_folded" in str(error.orig):
            raise EmailTaken from error
        raise


def create_users(users: Iterable[tuple[str, str]]) -> None:
    """Add many users by one bulk INSERT.

    :param users: username and email of each; the caller sees to their form.
    :raises IntegrityError: a mailbox is taken or comes twice; none of the users is added then.
    """
    rows = [
        {
            "username": username,
            "username_folded": fold_username(username),
            "email": email,
            "email_folded": fold_email(email),
        }
        for username, email in users
    ]
    db.session.execute(insert(User), rows)


def has_users() -> bool:
    """Say whether there is any user."""
    return bool(list_users(limit=1))

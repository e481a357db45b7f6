"""Users written by SCIM: by the service of users, with its rules and its trail.

What SCIM alone keeps of a user is written in the same transaction, and recorded as
``attributes.changed``. The caller commits. See docs/decisions/scim.md.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from project.api.audit import service as audit
from project.api.scim import schemas
from project.api.scim.errors import Taken
from project.api.scim.models import SCIMEmail, SCIMUser
from project.api.scim.user_mapping import (
    Document,
    Kept,
    Wanted,
    columns_of,
    derived_name,
    document_of,
    fold_name,
    kept_of,
    other_emails,
    recorded,
    seen,
    wanted_of,
)
from project.api.scim.user_queries import BY_ID, users_by_name
from project.api.users import service
from project.api.users.errors import EmailTaken
from project.database import Row, write

_ATTRIBUTES_CHANGED = audit.register("attributes.changed")
_scim: Any = SCIMUser.__table__.c
_emails: Any = SCIMEmail.__table__.c
_INSERT = sa.insert(SCIMUser.__table__)
_UPDATE = sa.update(SCIMUser.__table__).where(_scim.user_id == sa.bindparam("key"))
_ADD_EMAIL = sa.insert(SCIMEmail.__table__)
_REMOVE_EMAILS = sa.delete(SCIMEmail.__table__).where(_emails.user_id == sa.bindparam("user_id"))


def create_user(sent: Document) -> Row:
    """Add a user.

    :param sent: what the client has sent.
    :raises InvalidRequest: an attribute is missing or wrong (400).
    :raises Taken: another user has the userName or the email (409).
    :raises TooManyAttributes: the attributes are too large (413).
    """
    wanted = wanted_of(schemas.read_user(sent))
    _check_name(wanted.kept.user_name)
    with _naming_what_is_taken(wanted):
        active = wanted.active is not False
        user = service.create_user(wanted.username, wanted.email, active=active)
        write(_INSERT, {"user_id": user.id, **columns_of(wanted.kept)})
    _add_emails(user.id, wanted.kept)
    audit.record(_ATTRIBUTES_CHANGED, user.id, after=recorded(wanted.kept))
    return _stored(user.id)


def replace_user(
    user_id: int, sent: Document, is_expected: Callable[[int], bool], *, by_admin: bool
) -> Row:
    """Set all attributes of a user; ``active`` stays as it is if it is not sent.

    :raises InvalidRequest: an attribute is missing or wrong (400).
    :raises: as ``patch_user``.
    """
    wanted = wanted_of(schemas.read_user(sent))
    return _update(user_id, lambda _row: wanted, is_expected, by_admin)


def patch_user(
    user_id: int, request: Document, is_expected: Callable[[int], bool], *, by_admin: bool
) -> Row:
    """Change attributes of a user by the operations of a PATCH.

    :param is_expected: returns whether the caller wants to change the version found.
    :raises InvalidRequest: an operation is wrong (400).
    :raises KeyOwnAccount: an API key would deactivate its own account (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    :raises Taken: another user has the userName or the email (409).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the version is not the expected one (412).
    :raises TooManyAttributes: the attributes are too large (413).
    """

    def patched(row: Row) -> Wanted:
        before = document_of(row)
        after = schemas.patch_user(before, request)
        wanted = wanted_of(after)
        if not after.get("displayName") and derived_name(before) == derived_name(after):
            return wanted._replace(username=row.username)
        return wanted

    return _update(user_id, patched, is_expected, by_admin)


def delete_user(user_id: int, is_expected: Callable[[int], bool], *, by_admin: bool) -> None:
    """Remove a user.

    :raises: as ``service.delete_user``.
    """
    service.delete_user(user_id, is_expected, by_admin=by_admin)


def _update(
    user_id: int,
    change: Callable[[Row], Wanted],
    is_expected: Callable[[int], bool],
    by_admin: bool,
) -> Row:
    """Change a user; ``change`` gets the locked row."""
    wanted: Wanted

    def work_out(_user: Row) -> tuple[dict[str, Any], bool]:
        nonlocal wanted
        row = _stored(user_id)
        wanted = change(row)
        changes: dict[str, Any] = {"username": wanted.username, "email": wanted.email}
        if wanted.active is not None:
            changes["active"] = wanted.active
        return changes, _keep(row, wanted)

    try:
        service.update_user(user_id, {}, is_expected, by_admin=by_admin, work_out=work_out)
    except EmailTaken as error:
        raise Taken("emails", wanted.email) from error
    return _stored(user_id)


def _keep(row: Row, wanted: Wanted) -> bool:
    """Store what is kept of a user; return whether clients see a change of it."""
    before, after = kept_of(document_of(row)), wanted.kept
    if before == after:
        return False
    is_new = row.user_name is None
    if is_new or before.user_name != after.user_name:
        _check_name(after.user_name, row.id)
    with _naming_what_is_taken(wanted):
        key = {"user_id" if is_new else "key": row.id}
        write(_INSERT if is_new else _UPDATE, {**key, **columns_of(after)})
    if other_emails(before) != other_emails(after):
        write(_REMOVE_EMAILS, {"user_id": row.id})
        _add_emails(row.id, after)
    audit.record(_ATTRIBUTES_CHANGED, row.id, before=recorded(before), after=recorded(after))
    return seen(before) != seen(after)


def _add_emails(user_id: int, kept: Kept) -> None:
    for folded in other_emails(kept):
        write(_ADD_EMAIL, {"user_id": user_id, "email_folded": folded})


def _stored(user_id: int) -> Row:
    """Return a user as this transaction sees it."""
    return write(BY_ID, {"user_id": user_id}).rows[0]


def _check_name(user_name: str, user_id: int | None = None) -> None:
    """Refuse a userName to which another user answers; the row's constraint refuses the rest."""
    folded = fold_name(user_name)
    other = users_by_name([folded], _read_own_writes).get(folded)
    if other is not None and other.id != user_id:
        raise Taken("userName", user_name)


def _read_own_writes(statement: Any, parameters: dict[str, Any]) -> Sequence[Row]:
    return write(statement, parameters).rows


@contextmanager
def _naming_what_is_taken(wanted: Wanted) -> Iterator[None]:
    try:
        yield
    except EmailTaken as error:
        raise Taken("emails", wanted.email) from error
    except IntegrityError as error:
        if "user_name_folded" in str(error.orig):
            raise Taken("userName", wanted.kept.user_name) from error
        raise

"""Users: list, search, add, change and remove them."""

from typing import Any

from flask import Response

from project.api.users import bp, deactivation_guard, paging, service
from project.api.users.errors import TooManyDeactivations
from project.api.users.schemas import (
    UserCreate,
    UserId,
    UserListQuery,
    UserRead,
    UserReplace,
    UserUpdate,
)
from project.database import Row, may_lag
from project.errors import FieldError, Forbidden, Invalid
from project.web.contract import (
    accepts,
    accepts_query,
    returns,
    returns_message,
    returns_page,
    validate,
)
from project.web.error_handlers import handle_app_error
from project.web.fields import parse_id
from project.web.guard import is_admin, may, principal, require, require_admin
from project.web.pagination import Page
from project.web.preconditions import meets_if_match
from project.web.transactions import transactional


@bp.get("/users")
@require("users:read")
@accepts_query(UserListQuery)
@returns_page(UserRead, "users", prerendered=True)
@may_lag
def list_users(query: UserListQuery) -> Page:
    """List users page by page, with an order and filters, or search them.

    `data.next` is the cursor of the next page, null on the last one; the `Link` header has the
    URL of that page. Users who are added or removed meanwhile cause no gap and no repetition.
    """
    if query.ids is not None:
        return Page(service.list_users_by_id(query.ids, ("json",)))
    list_page = paging.list_in_order if query.q is None else paging.search
    page = list_page(query, ("json",))
    if query.total:
        return page._replace(total=service.count_users(paging.filters_of(query), query.q))
    return page


@bp.post("/users")
@require("users:write")
@transactional(idempotent=True)
@accepts(UserCreate, wrong_type=Invalid)
@returns(UserRead, status=201, message="{0.email} was added!", location="/users/{0.id}")
def create_user(body: UserCreate) -> Row:
    """Add a user; only administrators may set a password or a role.

    Only administrators may set ``active``, too. From other callers it is ignored like any unknown
    key, since the first API did not have it. With an ``Idempotency-Key``, the request can be sent
    again without adding a second user.

    :raises EmailTaken: another user has this mailbox (400).
    """
    given = body.model_dump(exclude={"username", "email", "active"}, exclude_unset=True)
    if {"password", "role"} & given.keys():
        require_admin()
    if "active" in body.model_fields_set and is_admin():
        given["active"] = validate(UserUpdate, {"active": body.active}).active
    return service.create_user(body.username, body.email, **given)


@bp.get("/users/<user_id>")
@require("users:read", allow_self=True)
@returns(UserRead, prerendered=True)
def get_user(user_id: UserId) -> Any:
    """Return one user.

    Users without the right to read others may read themselves. The ``ETag`` in ``If-Match`` makes
    a later change fail if the user has changed meanwhile.

    :raises WrongId: the id is not a decimal integer (400).
    :raises UserNotFound: no user has this id (404).
    """
    return service.get_user(parse_id(user_id), ("json", "version"))


@bp.patch("/users/<user_id>")
@require("users:write", allow_self=True)
@accepts(UserUpdate)
@returns(UserRead)
def update_user(user_id: UserId, body: UserUpdate) -> Row:
    """Change the sent fields of one user; the others keep their value.

    Only administrators may set a password or a role. Users without the right to change others may
    change their own name, and their own email with their current password.

    :raises WrongId: the id is not a decimal integer (400).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises KeyOwnAccount: an API key would deactivate or remove its own account (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyDeactivations: the API key has deactivated or removed too many users (429).
    :raises EmailTaken: another user has this mailbox (400).
    :raises WrongPassword: the current password, required to change one's own email, is wrong (400).
    :raises TooManyAttempts: there were too many wrong passwords before (429).
    :raises TooManyTakenEmails: there were too many taken emails before (429).
    """
    if {"password", "role"} & body.model_fields_set:
        require_admin()
    return _update(user_id, body)


@bp.put("/users/<user_id>")
@require("users:write", allow_self=True)
@accepts(UserReplace)
@returns(UserRead)
def replace_user(user_id: UserId, body: UserReplace) -> Row:
    """Set one user's name and email.

    ``active`` keeps its value if it is not sent. What a GET returns can be sent back: other fields
    of the user are ignored. PATCH changes a password or a role.

    :raises WrongId: the id is not a decimal integer (400).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises KeyOwnAccount: an API key would deactivate or remove its own account (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyDeactivations: the API key has deactivated or removed too many users (429).
    :raises EmailTaken: another user has this mailbox (400).
    :raises WrongPassword: the current password, required to change one's own email, is wrong (400).
    :raises TooManyAttempts: there were too many wrong passwords before (429).
    :raises TooManyTakenEmails: there were too many taken emails before (429).
    """
    return _update(user_id, body)


@bp.delete("/users/<user_id>")
@require("users:write")
@transactional()
@returns_message("{0.email} was removed!")
def delete_user(user_id: UserId) -> Row:
    """Remove one user; the email can be used again.

    The user's sign-ins and API keys end at once. The id is never used again.

    :raises WrongId: the id is not a decimal integer (400).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises KeyOwnAccount: an API key would deactivate or remove its own account (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyDeactivations: the API key has deactivated or removed too many users (429).
    """
    return service.delete_user(parse_id(user_id), meets_if_match, by_admin=may("admin"))


def stop_key(error: TooManyDeactivations) -> Response:
    """Answer a key that has deactivated too many users, and record it: the request is undone."""
    deactivation_guard.commit_stop(principal(), error.count)
    return handle_app_error(error)


def _update(user_id: str, body: UserUpdate | UserReplace) -> Row:
    """Change a user as far as the caller may; ordinary users, only their own name and email."""
    sent = body.model_dump(exclude_unset=True)
    if "active" in sent and not may("users:write"):
        raise Forbidden(errors=[FieldError("active", "You may not change this.")])
    return service.commit_change(parse_id(user_id), sent, meets_if_match, by_admin=may("admin"))

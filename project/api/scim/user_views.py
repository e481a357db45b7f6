"""The endpoints of users in SCIM."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from flask import Response

from project.api.groups import service as groups
from project.api.scim import requests, route, schemas, user_mapping, user_queries, users
from project.api.scim.paging import Kind, list_page
from project.api.scim.requests import is_admin, meets_if_match, read_body, requires
from project.api.scim.responses import Selection, list_response, respond
from project.api.scim.totals import Total
from project.database import Row, in_transaction
from project.web import guard, preconditions

USERS = Kind(
    name="users",
    schema=schemas.USER,
    operators=user_queries.OPERATORS,
    page=user_queries.list_users,
    skip=user_queries.IN_ORDER.skip,
    total=Total("users", user_queries.IN_ORDER.count, user_queries.IN_ORDER.last_id).get,
    find=user_queries.find_users,
)


@route("/Users", "GET")
@requires("users:read")
def list_users() -> Response:
    """List users, page by page, or those whom a filter finds.

    ``totalResults`` may be 30 s old.

    :raises NotSupported: there is ``sortBy`` (501).
    """
    page = list_page(USERS)
    return respond(list_response(_shown(page.rows), page.total, **page.position))


@route("/Users", "POST")
@requires("users:write")
@in_transaction
def create_user() -> Response:
    """Add a user.

    The primary of the ``emails``, else the first for ``work``, else the first is the user's email
    here; without any, a ``userName`` that is an address is. A ``password`` is not kept.

    :raises Taken: another user has the userName or the email (409).
    :raises TooManyAttributes: the attributes are too large (413).
    """
    user = users.create_user(read_body())
    response = _respond(user, 201)
    response.headers["Location"] = f"{requests.base_url()}/Users/{user.id}"
    return response


@route("/Users/<user_id>", "GET")
@requires("users:read")
def get_user(user_id: schemas.UserId) -> Response:
    """Return one user.

    The ``groups`` are shown to callers with ``groups:read``. They are no part of the ``ETag``, so
    an answer that shows them is never 304; ``excludedAttributes=groups`` leaves them out.

    :raises UserNotFound: no user has this id (404).
    """
    user = user_queries.get_user(user_queries.parse_id(user_id))
    # A user's version says nothing of the groups.
    if preconditions.is_known(user.version) and not _shows_groups(_selection()):
        return _with_etag(user, respond(None, 304))
    return _respond(user)


@route("/Users/<user_id>", "PUT")
@requires("users:write")
@in_transaction
def replace_user(user_id: schemas.UserId) -> Response:
    """Set all attributes of one user.

    What is not sent is removed, but ``active`` stays as it is.

    :raises KeyOwnAccount: an API key would deactivate its own account (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    :raises Taken: another user has the userName or the email (409).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyAttributes: the attributes are too large (413).
    :raises TooManyDeactivations: the API key has deactivated too many users within an hour (429).
    """
    found = user_queries.parse_id(user_id)
    return _respond(users.replace_user(found, read_body(), meets_if_match, by_admin=is_admin()))


@route("/Users/<user_id>", "PATCH")
@requires("users:write")
@in_transaction
def update_user(user_id: schemas.UserId) -> Response:
    """Change attributes of one user.

    What leads to the same user changes nothing, not even the ``ETag``.

    :raises KeyOwnAccount: an API key would deactivate its own account (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    :raises Taken: another user has the userName or the email (409).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyAttributes: the attributes are too large (413).
    :raises TooManyDeactivations: the API key has deactivated too many users within an hour (429).
    """
    found = user_queries.parse_id(user_id)
    return _respond(users.patch_user(found, read_body(), meets_if_match, by_admin=is_admin()))


@route("/Users/<user_id>", "DELETE")
@requires("users:write")
@in_transaction
def delete_user(user_id: schemas.UserId) -> Response:
    """Remove one user for ever.

    To keep a user who must not sign in, set ``active`` to false instead.

    :raises KeyOwnAccount: the account is that of the API key (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the user's ``ETag`` is not in ``If-Match`` (412).
    :raises TooManyDeactivations: the API key has removed too many users within an hour (429).
    """
    users.delete_user(user_queries.parse_id(user_id), meets_if_match, by_admin=is_admin())
    return respond(None, 204)


def _respond(user: Row, status: int = 200) -> Response:
    [resource] = _shown([user])
    return _with_etag(user, respond(resource, status))


def _with_etag(user: Row, response: Response) -> Response:
    response.set_etag(preconditions.etag(user.version), weak=True)
    return response


def _selection() -> Selection:
    return requests.read_selection(schemas.USER, schemas.ENTERPRISE_USER)


def _shows_groups(selection: Selection) -> bool:
    """Return whether the client wants to see the groups of users, and may."""
    return selection.wants("groups") and "groups:read" in guard.principal().scopes


def _shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    selection, base_url = _selection(), requests.base_url()
    found = groups.groups_of([row.id for row in rows]) if _shows_groups(selection) else ()
    groups_of = {user_id: [*each] for user_id, each in groupby(found, attrgetter("user_id"))}
    return [
        selection.of(user_mapping.to_scim(row, groups_of.get(row.id, ()), base_url)) for row in rows
    ]

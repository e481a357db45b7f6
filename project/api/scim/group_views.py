"""The endpoints of groups in SCIM."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from flask import Response, request

from project.api.groups import service
from project.api.scim import group_mapping, group_queries, groups, requests, route, schemas
from project.api.scim.group_queries import IN_ORDER, parse_id
from project.api.scim.paging import Kind, list_page
from project.api.scim.requests import meets_if_match, read_body, requires
from project.api.scim.responses import list_response, respond
from project.api.scim.totals import Total
from project.database import Row, in_transaction
from project.web import preconditions

MOST_RETURNED = 1000
"""Up to so many members, the response to a PATCH is the whole group."""
GROUPS = Kind(
    name="groups",
    schema=schemas.GROUP,
    operators=group_queries.OPERATORS,
    page=group_queries.list_groups,
    skip=IN_ORDER.skip,
    total=Total("groups", IN_ORDER.count, IN_ORDER.last_id).get,
    find=group_queries.find_groups,
)


@route("/Groups", "GET")
@requires("groups:read")
def list_groups() -> Response:
    """List groups, page by page, or those that a filter finds.

    With ``excludedAttributes=members``, members are not even read.

    :raises NotSupported: there is ``sortBy`` (501).
    """
    page = list_page(GROUPS)
    return respond(list_response([*_shown(page.rows)], page.total, **page.position))


@route("/Groups", "POST")
@requires("groups:write")
@in_transaction
def create_group() -> Response:
    """Add a group.

    Members are users; those who are unknown are passed over.

    :raises DisplayNameTaken: another group has the displayName (409).
    """
    group = groups.create_group(read_body())
    response = _respond(group, 201, written=True)
    response.headers["Location"] = f"{requests.base_url()}/Groups/{group.id}"
    return response


@route("/Groups/<group_id>", "GET")
@requires("groups:read")
def get_group(group_id: schemas.GroupId) -> Response:
    """Return one group.

    It has all its members; ``excludedAttributes=members`` leaves them out.

    :raises GroupNotFound: no group has this id (404).
    """
    group = service.get_group(parse_id(group_id))
    if preconditions.is_known(group.version):
        return _with_etag(group, respond(None, 304))
    return _respond(group)


@route("/Groups/<group_id>", "PUT")
@requires("groups:write")
@in_transaction
def replace_group(group_id: schemas.GroupId) -> Response:
    """Set all attributes of one group.

    Without ``members``, it has none then. If all of them are unknown, nothing is changed (400).

    :raises GroupNotFound: no group has this id (404).
    :raises DisplayNameTaken: another group has the displayName (409).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    group = groups.replace_group(parse_id(group_id), read_body(), meets_if_match)
    return _respond(group, written=True)


@route("/Groups/<group_id>", "PATCH")
@requires("groups:write")
@in_transaction
def update_group(group_id: schemas.GroupId) -> Response:
    """Change attributes of one group.

    A group with many members is only returned if the request says which attributes (RFC 7644
    section 3.5.2): to add one member must not cost what all others do.

    :raises GroupNotFound: no group has this id (404).
    :raises DisplayNameTaken: another group has the displayName (409).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    group = groups.patch_group(parse_id(group_id), read_body(), meets_if_match)
    is_chosen = {"attributes", "excludedAttributes"} & request.args.keys()
    if not is_chosen and service.has_more_members(group.id, MOST_RETURNED):
        return _with_etag(group, respond(None, 204))
    return _respond(group, written=True)


@route("/Groups/<group_id>", "DELETE")
@requires("groups:write")
@in_transaction
def delete_group(group_id: schemas.GroupId) -> Response:
    """Remove one group, but not its members.

    The ``displayName`` can be used again.

    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    service.delete_group(parse_id(group_id), meets_if_match)
    return respond(None, 204)


def _respond(group: Row, status: int = 200, *, written: bool = False) -> Response:
    [resource] = _shown([group], written=written)
    return _with_etag(group, respond(resource, status))


def _with_etag(group: Row, response: Response) -> Response:
    response.set_etag(preconditions.etag(group.version), weak=True)
    return response


def _shown(rows: Sequence[Row], *, written: bool = False) -> Iterator[dict[str, Any]]:
    """Yield groups as the client wants them; members whom it does not want are not read."""
    selection, base_url = requests.read_selection(schemas.GROUP), requests.base_url()
    has_members, members = selection.wants("members"), {}
    if has_members:
        found = service.members_of([row.id for row in rows], written=written)
        members = {key: [*each] for key, each in groupby(found, attrgetter("group_id"))}
    for row in rows:
        of_group = members.get(row.id, ()) if has_members else None
        yield selection.of(group_mapping.to_scim(row, of_group, base_url))

"""Groups of users: list, add, change and remove them, and their members."""

from functools import partial

from flask import Response

from project.api.groups import bp, exporting, service
from project.api.groups.schemas import (
    GroupCreate,
    GroupExportQuery,
    GroupId,
    GroupListQuery,
    GroupRead,
    GroupUpdate,
    MemberIds,
    MembersChanged,
    MembershipRow,
    PageQuery,
)
from project.api.users.schemas import UserId, UserRead
from project.database import Row, may_lag
from project.web.contract import (
    accepts,
    accepts_query,
    returns,
    returns_message,
    returns_page,
    transfers_files,
)
from project.web.downloads import send_file
from project.web.fields import parse_id
from project.web.guard import require, require_still
from project.web.methods import refuse_other_methods
from project.web.pagination import Page
from project.web.preconditions import meets_if_match
from project.web.transactions import transactional


@bp.get("/groups")
@require("groups:read")
@accepts_query(GroupListQuery)
@returns_page(GroupRead, "groups")
@may_lag
def list_groups(query: GroupListQuery) -> Page:
    """List groups page by page, or find one by name or external id.

    `data.next` is the cursor of the next page, null on the last one; the `Link` header has the
    URL of that page.
    """
    return service.list_page(query)


@bp.post("/groups")
@require("groups:write")
@transactional(idempotent=True)
@accepts(GroupCreate)
@returns(GroupRead, status=201, message="{0.display_name} was added!", location="/groups/{0.id}")
def create_group(body: GroupCreate) -> Row:
    """Add a group without members.

    With an ``Idempotency-Key``, the request can be sent again without adding a second group.

    :raises GroupNameTaken: another group has this name (409).
    """
    return service.create_group(body.display_name, body.external_id)


@bp.get("/groups/export", provide_automatic_options=False)
@require("groups:read")
@accepts_query(GroupExportQuery)
@transfers_files(answer_types=("text/csv", "application/x-ndjson"), row=MembershipRow)
def export_groups(query: GroupExportQuery) -> Response:
    """Send all groups with their members as a CSV or NDJSON file.

    There is a row for each member, in order of the ids of group and user, and one without a user
    for each group without members. If the database fails during the export, or the caller loses
    permission, the connection is aborted: the file is then incomplete.

    :raises Invalid: a parameter is unknown, repeated or invalid (400).
    """
    still = partial(require_still, "groups:read")
    chunks = exporting.export_groups(query.format, still, query.bom, query.safe)
    return send_file(chunks, exporting.CONTENT_TYPES[query.format], f"groups.{query.format}")


refuse_other_methods(bp, "/groups/export", "GET", "HEAD", "OPTIONS")


@bp.get("/groups/<group_id>")
@require("groups:read")
@returns(GroupRead)
def get_group(group_id: GroupId) -> Row:
    """Return one group.

    A change of its members changes its ``ETag`` and ``updated_at``, too. The ``ETag`` in
    ``If-Match`` makes a later change fail if the group has changed meanwhile.

    :raises WrongId: the id is not a decimal integer (400).
    :raises GroupNotFound: no group has this id (404).
    """
    return service.get_group(parse_id(group_id))


@bp.patch("/groups/<group_id>")
@require("groups:write")
@transactional()
@accepts(GroupUpdate)
@returns(GroupRead)
def update_group(group_id: GroupId, body: GroupUpdate) -> Row:
    """Change the sent fields of one group; the others keep their value.

    An empty object changes nothing, not even the ``ETag``.

    :raises WrongId: the id is not a decimal integer (400).
    :raises GroupNotFound: no group has this id (404).
    :raises GroupNameTaken: another group has this name (409).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    changes = body.model_dump(exclude_unset=True)
    return service.update_group(parse_id(group_id), changes, meets_if_match)


@bp.delete("/groups/<group_id>")
@require("groups:write")
@transactional()
@returns_message("{0.display_name} was removed!")
def delete_group(group_id: GroupId) -> Row:
    """Remove one group, but not its members; the name can be used again.

    The id is never used again.

    :raises WrongId: the id is not a decimal integer (400).
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    return service.delete_group(parse_id(group_id), meets_if_match)


@bp.get("/groups/<group_id>/members")
@require("groups:read")
@accepts_query(PageQuery)
@returns_page(UserRead, "users", prerendered=True)
def list_members(group_id: GroupId, query: PageQuery) -> Page:
    """List the members of a group page by page, in order of id.

    `GET /users?group=` lists the same, with further parameters.

    :raises WrongId: the id is not a decimal integer (400).
    :raises GroupNotFound: no group has this id (404).
    """
    return service.members_page(parse_id(group_id), query, ("json",))


@bp.post("/groups/<group_id>/members")
@require("groups:write")
@transactional()
@accepts(MemberIds)
@returns(MembersChanged)
def add_members(group_id: GroupId, body: MemberIds) -> Row:
    """Add up to 1,000 users to a group.

    Those who are in it already change nothing. A change raises the group's ``ETag``.

    :raises WrongId: the id is not a decimal integer (400).
    :raises UnknownMembers: some ids are those of no user; nobody is added (400).
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    return service.add_members(parse_id(group_id), body.ids, is_expected=meets_if_match)


@bp.delete("/groups/<group_id>/members")
@require("groups:write")
@transactional()
@accepts(MemberIds)
@returns(MembersChanged)
def remove_members(group_id: GroupId, body: MemberIds) -> Row:
    """Remove up to 1,000 users from a group.

    Those who are not in it change nothing. A change raises the group's ``ETag``. A DELETE with a
    body is unusual, but allowed where the server says what it means (RFC 9110 section 9.3.5).

    :raises WrongId: the id is not a decimal integer (400).
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the group's ``ETag`` is not in ``If-Match`` (412).
    """
    return service.remove_members(parse_id(group_id), body.ids, meets_if_match)


@bp.get("/users/<user_id>/groups")
@require("groups:read", allow_self=True)
@accepts_query(PageQuery)
@returns_page(GroupRead, "groups")
def list_groups_of_user(user_id: UserId, query: PageQuery) -> Page:
    """List the groups of a user page by page, in order of id.

    Users without the right to read groups may list their own.

    :raises WrongId: the id is not a decimal integer (400).
    :raises UserNotFound: no user has this id (404).
    """
    return service.page_of_user(parse_id(user_id), query)

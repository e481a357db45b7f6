"""Groups written by SCIM: by the service of groups, with its rules and its trail.

The caller commits. See docs/decisions/scim.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from project.api.groups import service
from project.api.groups.errors import GroupNameTaken, UnknownMembers
from project.api.scim.errors import DisplayNameTaken, InvalidRequest
from project.api.scim.group_mapping import change_of, wanted_of
from project.api.scim.schemas import Document
from project.database import Row


def create_group(sent: Document) -> Row:
    """Add a group; members who are no users are passed over.

    :param sent: what the client has sent.
    :raises InvalidRequest: an attribute is missing or wrong (400).
    :raises DisplayNameTaken: another group has the displayName (409).
    """
    wanted = wanted_of(sent)
    with _naming_what_is_taken(wanted.values):
        return service.create_group(**wanted.values, member_ids=wanted.member_ids, unknown="skip")


def replace_group(group_id: int, sent: Document, is_expected: Callable[[int], bool]) -> Row:
    """Set all attributes of a group; without ``members``, it has none then.

    :raises: as ``patch_group``.
    """
    wanted = wanted_of(sent)
    with _naming_what_is_taken(wanted.values):
        service.update_group(group_id, wanted.values, is_expected)
    return _replace_members(group_id, wanted.member_ids)


def patch_group(group_id: int, request: Document, is_expected: Callable[[int], bool]) -> Row:
    """Change attributes of a group by the operations of a PATCH.

    All operations on members are done together: what they lead to depends on their order, but not
    what it costs.

    :param is_expected: returns whether the caller wants to change the version found.
    :raises InvalidRequest: an operation is wrong, or none of the members that replace the others
        is a user (400).
    :raises GroupNotFound: no group has this id (404).
    :raises DisplayNameTaken: another group has the displayName (409).
    :raises GroupChanged: the version is not the expected one (412).
    """
    change = change_of(request)
    with _naming_what_is_taken(change.values):
        group = service.update_group(group_id, change.values, is_expected)
    if change.whole is not None:
        known = change.whole | change.added
        return _replace_members(group_id, known - change.removed, must_know=bool(change.whole))
    if change.added or change.removed:
        return service.change_members(group_id, change.added, change.removed, unknown="skip")
    return group


def _replace_members(group_id: int, member_ids: set[int], *, must_know: bool = True) -> Row:
    """Replace the members.

    :param must_know: whether it is an error if there are ids, but all are unknown; else there are
        no members then.
    """
    try:
        return service.replace_members(group_id, member_ids, unknown="skip")
    except UnknownMembers as error:
        if must_know:
            raise InvalidRequest("invalidValue", "members: None of these is a user.") from error
        return service.replace_members(group_id, ())


@contextmanager
def _naming_what_is_taken(values: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except GroupNameTaken as error:
        raise DisplayNameTaken(values["display_name"]) from error

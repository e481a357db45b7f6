"""Groups as the lists of SCIM find them, by the SELECTs of the service of groups."""

from collections.abc import Iterable, Sequence

from project.api.groups import service
from project.api.groups.errors import GroupNotFound
from project.api.groups.queries import GROUPS
from project.api.scim.filters import (
    MAX_MATCHES,
    Filter,
    Finders,
    Found,
    Matches,
    Operators,
    Term,
    find,
    read_id,
    too_many,
)
from project.api.scim.id_order import IdOrder
from project.database import Row

OPERATORS: Operators = {
    "id": frozenset({"eq"}),
    "displayName": frozenset({"eq", "sw"}),
    "externalId": frozenset({"eq"}),
    "members": frozenset({"eq"}),
}
"""What filters may ask, each by an index."""
IN_ORDER = IdOrder(GROUPS)


def parse_id(text: str) -> int:
    """Return the id in a path; it must be spelled as ``id`` is.

    :raises GroupNotFound: no group can have this id (404).
    """
    group_id = read_id(text)
    if group_id is None:
        raise GroupNotFound
    return group_id


def list_groups(after: int, limit: int) -> Sequence[Row]:
    """Return groups in order of id.

    :param after: start after this id.
    """
    return service.list_groups(limit, [after])


def find_groups(condition: Filter) -> Found:
    """Return the ids of the groups that a filter finds, in order, and what returns some of them.

    :raises InvalidRequest: a comparison finds too many (400, ``tooMany``).
    """
    return find(condition, _FIND_EQUAL, _by_start, service.get_groups)


def _equal_ids(same: Sequence[Term]) -> Matches:
    by_id = {group_id: term for term in same if (group_id := read_id(term.value))}
    return ((by_id[row.id], row) for row in service.get_groups([*by_id]))


def _equal_names(same: Sequence[Term]) -> Matches:
    for term in same:
        for row in service.list_groups(1, filters={"display_name": term.value}):
            yield term, row


def _equal_external_ids(same: Sequence[Term]) -> Matches:
    for term in same:
        found = service.list_groups(MAX_MATCHES + 1, filters={"external_id": term.value})
        for row in _not_too_many(found):
            if row.external_id == term.value:  # MySQL disregards spaces at the end
                yield term, row


def _equal_members(same: Sequence[Term]) -> Matches:
    for term in same:
        user_id = read_id(term.value)
        if user_id is not None and term.kind in (None, "user"):
            for row in _not_too_many(service.list_groups_of(user_id, MAX_MATCHES + 1)):
                yield term, row


_FIND_EQUAL: Finders = {
    "id": _equal_ids,
    "displayName": _equal_names,
    "externalId": _equal_external_ids,
    "members": _equal_members,
}


def _by_start(term: Term) -> Iterable[Row]:
    return _not_too_many(service.list_groups_by_start(term.value, MAX_MATCHES + 1))


def _not_too_many(rows: Sequence[Row]) -> Sequence[Row]:
    if len(rows) > MAX_MATCHES:
        raise too_many()
    return rows

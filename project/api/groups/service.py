"""The operations on groups and their members, and all SQL on their tables. Knows no HTTP.

A change of members locks the group's row first, so that changes of one group follow one another,
and raises its version. A transaction changes one group only. The caller commits.
"""

from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from project.api.audit import service as audit
from project.api.groups import queries
from project.api.groups.errors import GroupChanged, GroupNameTaken, GroupNotFound, UnknownMembers
from project.api.groups.queries import GROUPS, MEMBERS, parts
from project.api.groups.schemas import GroupListQuery, PageQuery
from project.api.users import queries as user_queries
from project.api.users import service as users
from project.api.users.fields import COLUMNS as USER_COLUMNS
from project.api.users.folding import fold_username, prefix_range
from project.clock import utcnow
from project.database import Row, read, read_presuming, write
from project.web.pagination import Page, find_page

MOST_EVENTS = 1000
"""Up to so many users, a change of members is an event of each; of more, it is one event."""
LISTED_IDS = 100
"""How many ids that event has."""
_CREATED = audit.register("group.created")
_UPDATED = audit.register("group.updated")
_REMOVED = audit.register("group.removed")
_MEMBER_ADDED = audit.register("member.added")
_MEMBER_REMOVED = audit.register("member.removed")
_MEMBERS_ADDED = audit.register("members.added")
_MEMBERS_REMOVED = audit.register("members.removed")

_INSERT = insert(GROUPS)
_UPDATE = update(GROUPS).where(queries.HAS_ID).values(version=GROUPS.c.version + 1)
_UPDATE_ALL = update(GROUPS).where(queries.HAS_IDS).values(version=GROUPS.c.version + 1)
_DELETE = delete(GROUPS).where(queries.HAS_ID)
_ADD_MEMBERS = insert(MEMBERS).from_select(
    ["group_id", "user_id"],
    select(bindparam("of_group", type_=GROUPS.c.id.type), USER_COLUMNS.id).where(
        queries.USERS_HAVE_IDS
    ),
)
_REMOVE_MEMBERS = delete(MEMBERS).where(queries.IN_GROUP, queries.ARE_MEMBERS)

Unknown = Literal["refuse", "skip"]
_Stored = namedtuple("_Stored", queries.STORED)  # type: ignore[misc]
_StoredGroup: Any = _Stored
_Changed = namedtuple("_Changed", [*queries.STORED, "changed"])  # type: ignore[misc]
_ChangedGroup: Any = _Changed

user_queries.register_membership("group", MEMBERS.c.group_id, MEMBERS.c.user_id)


def _any_version(_version: int) -> bool:
    return True


def get_group(group_id: int) -> Row:
    """Return one group.

    :param group_id: any integer.
    :raises GroupNotFound: no group has this id (404).
    """
    found = read_presuming(queries.BY_ID, {"group_id": group_id}) if _is_id(group_id) else ()
    if not found:
        raise GroupNotFound
    return found[0]


def list_groups(
    limit: int,
    after: Sequence[Any] | None = None,
    *,
    sort: str = "id",
    filters: Mapping[str, str] = {},
) -> Sequence[Row]:
    """Return groups in an order; each row includes the sort key.

    :param after: start after the group with this sort key; None: from the first.
    :param sort: ``id`` or ``display_name``; with ``-``, descending.
    :param filters: ``display_name``, in any letter case, and ``external_id``, in order of id; or
        ``q``, the start of the name, in order of name.
    """
    key = {} if after is None else {"key": after[0]}
    statement = queries.page(sort, tuple(filters), after is not None)
    return read_presuming(statement, {"limit": limit, **key, **_folded(filters)})


def get_groups(group_ids: Sequence[int]) -> Sequence[Row]:
    """Return the groups with these ids that there are, in any order."""
    return read(queries.BY_IDS, {"ids": group_ids}) if group_ids else ()


def list_groups_by_start(text: str, limit: int) -> Sequence[Row]:
    """Return the first groups whose names begin with a text, in any letter case.

    :param text: not blank.
    """
    # Folded with a letter behind it: a space at the end counts, as it does within a name.
    start, end = prefix_range(fold_username(f"{text}.")[:-1])
    return read(queries.BY_NAME_START, {"start": start, "end": end, "limit": limit})


def count_groups(filters: Mapping[str, str] = {}) -> int:
    """Return the number of groups."""
    number: int = read(queries.total(tuple(filters)), _folded(filters))[0][0]
    return number


def list_page(query: GroupListQuery) -> Page:
    """Return a page of the query's groups.

    :raises Invalid: the cursor is not valid for this order and these filters (400).
    """
    filters = query.model_dump(include={"q", "display_name", "external_id"}, exclude_none=True)
    sort = query.sort if query.q is None else "display_name"

    def find(limit: int, after: Sequence[Any] | None) -> Sequence[Row]:
        return list_groups(limit, after, sort=sort, filters=filters)

    kind = f"groups {sort} {sorted(_folded(filters).items())}"
    page = find_page(query, kind, queries.order_of(sort), find)
    return page._replace(total=count_groups(filters)) if query.total else page


def list_members(
    group_id: int,
    limit: int,
    after: Sequence[Any] | None = None,
    columns: tuple[str, ...] = user_queries.COMPLETE,
) -> Sequence[Row]:
    """Return members of a group in order of id; of a group that does not exist, none.

    :param after: start after the user with this id, as the first and the last value; None: from the
        first.
    :param columns: those of users, as for ``users.service.get_user``.
    """
    if not _is_id(group_id):
        return ()
    return users.list_users(limit, after, filters={"group": group_id}, columns=columns)


def members_page(group_id: int, query: PageQuery, columns: tuple[str, ...]) -> Page:
    """Return a page of the members of a group.

    :raises Invalid: the cursor is not one of this group (400).
    :raises GroupNotFound: no group has this id (404).
    """

    def find(limit: int, after: Sequence[Any] | None) -> Sequence[Row]:
        key = None if after is None else [after[0], after[0]]
        return list_members(group_id, limit, key, columns)

    page = find_page(query, f"members {group_id}", [USER_COLUMNS.id], find)
    if not page.rows:
        get_group(group_id)
    return page


def list_groups_of(user_id: int, limit: int, after: Sequence[Any] | None = None) -> Sequence[Row]:
    """Return groups of a user in order of id; a user who does not exist is in none.

    :param user_id: one that users can have.
    :param after: start after the group with this id, as the first value; None: from the first.
    """
    key = {} if after is None else {"key": after[0]}
    statement = queries.page_of_user(after is not None)
    return read_presuming(statement, {"limit": limit, "user_id": user_id, **key})


def page_of_user(user_id: int, query: PageQuery) -> Page:
    """Return a page of the groups of a user, in order of id.

    :raises Invalid: the cursor is not one of this user (400).
    :raises UserNotFound: no user has this id (404).
    """

    def find(limit: int, after: Sequence[Any] | None) -> Sequence[Row]:
        return list_groups_of(user_id, limit, after)

    if not _is_id(user_id):
        users.get_user(user_id)
    page = find_page(query, f"groups of {user_id}", [GROUPS.c.id], find)
    if not page.rows:
        users.get_user(user_id, ("id",))
    return page


def members_of(group_ids: Sequence[int], *, written: bool = False) -> Sequence[Row]:
    """Return all members of some groups: ``group_id`` and ``user_id``, in this order.

    :param written: as this transaction has written them.
    """
    if not group_ids:
        return ()
    parameters = {"ids": group_ids}
    if written:
        return write(queries.MEMBERS_OF, parameters).rows
    return read(queries.MEMBERS_OF, parameters)


def has_more_members(group_id: int, number: int) -> bool:
    """Return whether a group, as this transaction has written it, has more members than that."""
    return bool(write(queries.MEMBER_BEYOND, {"of_group": group_id, "number": number}).rows)


def groups_of(user_ids: Sequence[int]) -> Sequence[Row]:
    """Return all groups of some users: ``user_id``, ``id``, ``display_name``, by user and id."""
    return read(queries.GROUPS_OF, {"ids": user_ids}) if user_ids else ()


def create_group(
    display_name: str,
    external_id: str | None = None,
    member_ids: Collection[int] = (),
    unknown: Unknown = "refuse",
) -> Row:
    """Add a group.

    :param unknown: what becomes of ids of no user.
    :raises GroupNameTaken: another group has this name (409).
    :raises UnknownMembers: some ids are those of no user, and these are refused (400).
    """
    now = utcnow()
    values = {
        "display_name": display_name,
        "external_id": external_id,
        "created_at": now,
        "updated_at": now,
    }
    with _refuse_taken_name():
        folded = fold_username(display_name)
        group_id = write(_INSERT, {**values, "display_name_folded": folded}).inserted_id
    group: Row = _StoredGroup(**values, id=group_id, version=1)
    audit.record(_CREATED, after=_state(group))
    if member_ids:
        _add(group, _known(member_ids, unknown))
    return group


def update_group(
    group_id: int, changes: Mapping[str, Any], is_expected: Callable[[int], bool] = _any_version
) -> Row:
    """Change fields of a group; one that already has the value does not count as changed.

    :param changes: new values of ``display_name`` and ``external_id``.
    :param is_expected: returns whether the caller wants to change the version found.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    :raises GroupNameTaken: another group has this name (409).
    """
    group = _lock(group_id, is_expected)
    changed = {name: each for name, each in changes.items() if each != getattr(group, name)}
    if not changed:
        return group
    changed["updated_at"] = utcnow()
    after = group._replace(**changed, version=group.version + 1)
    if "display_name" in changed:
        changed["display_name_folded"] = fold_username(changed["display_name"])
    with _refuse_taken_name():
        write(_UPDATE, {"group_id": group_id, **changed})
    old, new = _state(group), _state(after)
    names = [name for name in old if old[name] != new[name]]
    before = {name: old[name] for name in names}
    audit.record(_UPDATED, before=before, after=_naming(after) | {n: new[n] for n in names})
    return after


def delete_group(group_id: int, is_expected: Callable[[int], bool] = _any_version) -> Row:
    """Remove a group, but not its members; the name can be used again, the id cannot.

    :return: the group as it was.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    """
    group = _lock(group_id, is_expected)
    write(_DELETE, {"group_id": group_id})
    audit.record(_REMOVED, before=_state(group))
    return group


def add_members(
    group_id: int,
    user_ids: Collection[int],
    unknown: Unknown = "refuse",
    is_expected: Callable[[int], bool] = _any_version,
) -> Row:
    """Add users to a group; those who are in it already change nothing.

    :param unknown: what becomes of ids of no user.
    :return: the group, and in ``changed``, how many were added.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    :raises UnknownMembers: some ids are those of no user, and these are refused (400).
    """
    return change_members(group_id, user_ids, (), unknown, is_expected)


def remove_members(
    group_id: int, user_ids: Collection[int], is_expected: Callable[[int], bool] = _any_version
) -> Row:
    """Remove users from a group; those who are not in it change nothing.

    :return: the group, and in ``changed``, how many were removed.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    """
    return change_members(group_id, (), user_ids, is_expected=is_expected)


def change_members(
    group_id: int,
    added: Collection[int],
    removed: Collection[int],
    unknown: Unknown = "refuse",
    is_expected: Callable[[int], bool] = _any_version,
) -> Row:
    """Remove users from a group and add others, in one step.

    :param added: who becomes a member; nobody of ``removed``.
    :param unknown: what becomes of ids of no user among the added.
    :return: the group, and in ``changed``, how many were added or removed.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    :raises UnknownMembers: some ids are those of no user, and these are refused (400).
    """
    group = _lock(group_id, is_expected)
    known = _known(added, unknown)
    number = _remove(group, _present(group.id, _ids(removed)))
    return _changed(group, _add(group, known), number)


def replace_members(
    group_id: int,
    user_ids: Collection[int],
    unknown: Unknown = "refuse",
    is_expected: Callable[[int], bool] = _any_version,
) -> Row:
    """Make these users, and nobody else, the members of a group.

    :param unknown: what becomes of ids of no user; if all are unknown, they are always refused.
    :return: the group, and in ``changed``, how many were added or removed.
    :raises GroupNotFound: no group has this id (404).
    :raises GroupChanged: the version is not the expected one (412).
    :raises UnknownMembers: ids of no user are refused (400).
    """
    group = _lock(group_id, is_expected)
    known = _known(user_ids, unknown)
    if user_ids and not known:
        raise UnknownMembers(sorted(user_ids))
    wanted = set(known)
    present = {row.user_id for row in write(queries.MEMBER_IDS, {"of_group": group.id}).rows}
    removed = _remove(group, sorted(present - wanted))
    return _changed(group, _add(group, sorted(wanted - present)), removed)


@users.before_removal
def _raise_versions(user_ids: Sequence[int]) -> None:
    """Raise the versions of the groups that lose members, since these are removed."""
    found = write(queries.GROUP_IDS_OF, {"ids": user_ids}).rows
    for ids in parts(sorted(row.group_id for row in found)):
        write(_UPDATE_ALL, {"ids": ids, "updated_at": utcnow()})


def _state(group: Row) -> dict[str, Any]:
    """Return what is recorded of a group."""
    return {**_naming(group), "external_id": group.external_id}


def _naming(group: Row) -> dict[str, Any]:
    """Return what names a group in an event: its id, and its name for later."""
    return {"group": group.id, "name": group.display_name}


def _is_id(number: int) -> bool:
    return 0 < number <= users.LARGEST_ID


def _folded(filters: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the filters' parameters."""
    folded = dict(filters)
    if "display_name" in folded:
        folded["display_name"] = fold_username(folded["display_name"])
    if "q" in folded:
        folded["from"], folded["to"] = prefix_range(fold_username(folded.pop("q")))
    return folded


def _lock(group_id: int, is_expected: Callable[[int], bool]) -> Row:
    found = write(queries.LOCKED, {"group_id": group_id}).rows if _is_id(group_id) else ()
    if not found:
        raise GroupNotFound
    if not is_expected(found[0].version):
        raise GroupChanged
    return found[0]


@contextmanager
def _refuse_taken_name() -> Iterator[None]:
    """Raise GroupNameTaken if the database refuses a second group with the same name."""
    try:
        yield
    except IntegrityError as error:
        if "display_name_folded" in str(error.orig):
            raise GroupNameTaken from error
        raise


def _ids(user_ids: Collection[int]) -> list[int]:
    """Return the ids that users can have, sorted and once each."""
    return sorted(user_id for user_id in set(user_ids) if _is_id(user_id))


def _known(user_ids: Collection[int], unknown: Unknown) -> list[int]:
    """Return those of the ids that are users', and keep these from being removed.

    :raises UnknownMembers: there are others, and these are refused (400).
    """
    found = [
        row.id
        for part in parts(_ids(user_ids))
        for row in write(queries.KNOWN_USERS, {"ids": part}).rows
    ]
    if unknown == "refuse" and (others := set(user_ids).difference(found)):
        raise UnknownMembers(sorted(others))
    return found


def _present(group_id: int, user_ids: Sequence[int]) -> list[int]:
    """Return those of these users who are in the group."""
    return [
        row.user_id
        for part in parts(user_ids)
        for row in write(queries.MEMBER_IDS_AMONG, {"of_group": group_id, "ids": part}).rows
    ]


def _add(group: Row, user_ids: Sequence[int]) -> int:
    """Add users who exist; return how many were not in the group."""
    present = set(_present(group.id, user_ids))
    new = [user_id for user_id in user_ids if user_id not in present]
    for part in parts(new):
        write(_ADD_MEMBERS, {"of_group": group.id, "ids": part})
    _record(group, new, added=True)
    return len(new)


def _remove(group: Row, user_ids: Sequence[int]) -> int:
    """Remove members; return how many."""
    for part in parts(user_ids):
        write(_REMOVE_MEMBERS, {"of_group": group.id, "ids": part})
    _record(group, user_ids, added=False)
    return len(user_ids)


def _changed(group: Row, added: int, removed: int) -> Row:
    """Return the group after a change of its members, which raises its version."""
    if added or removed:
        now = utcnow()
        write(_UPDATE, {"group_id": group.id, "updated_at": now})
        group = group._replace(updated_at=now, version=group.version + 1)
    return _ChangedGroup(*group[: len(queries.STORED)], added + removed)


def _record(group: Row, user_ids: Sequence[int], *, added: bool) -> None:
    """Record who was added or removed: of each user, or of very many together."""
    state = _naming(group)
    if len(user_ids) <= MOST_EVENTS:
        if added:
            audit.record_each(_MEMBER_ADDED, user_ids, after=state)
        else:
            audit.record_each(_MEMBER_REMOVED, user_ids, before=state)
        return
    state |= {"count": len(user_ids), "first_ids": list(user_ids[:LISTED_IDS])}
    audit.record(_MEMBERS_ADDED if added else _MEMBERS_REMOVED, after=state)

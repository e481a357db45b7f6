"""What the attributes of a group in SCIM are here, and the other way round. Knows no database."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from project.api.groups.schemas import DisplayName, ExternalId
from project.api.scim import schemas
from project.api.scim.errors import InvalidRequest
from project.api.scim.filters import read_id
from project.api.scim.schemas import Document, value_of
from project.database import Row

NOBODY = 0
"""The id that stands for all those which no user can have."""
_NAME: TypeAdapter[str] = TypeAdapter(DisplayName)
_EXTERNAL_ID: TypeAdapter[str] = TypeAdapter(ExternalId)
_PATH = re.compile(
    r"(?:(?P<schema>urn:[^\[\]]+):)?(?P<name>[a-z$][\w$-]*)"
    r"(?P<filter>\[.*\])?(?:\.(?P<part>[\w$-]+))?",
    re.IGNORECASE,
)
_MEMBER = re.compile(r"\[\s*value\s+eq\s+\"([^\"\\]*)\"\s*\]", re.IGNORECASE)
_READ_ONLY = frozenset({"id", "meta", "schemas"})


class Wanted(NamedTuple):
    """What a client wants a group to be.

    :ivar values: ``display_name`` and ``external_id``.
    """

    values: dict[str, Any]
    member_ids: set[int]


class Change:
    """What all operations of a PATCH do to a group together.

    :ivar values: new values of ``display_name`` and ``external_id``.
    :ivar whole: who alone stays a member, but for the others; None: all who are.
    :ivar added: who becomes a member; nobody is in ``removed``, too.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.whole: set[int] | None = None
        self.added: set[int] = set()
        self.removed: set[int] = set()

    def add(self, member_ids: set[int]) -> None:
        """Add members after all that was done before."""
        self.added |= member_ids
        self.removed -= member_ids

    def remove(self, member_ids: set[int]) -> None:
        """Remove members after all that was done before."""
        self.removed |= member_ids
        self.added -= member_ids

    def replace(self, member_ids: set[int]) -> None:
        """Replace all members."""
        self.whole, self.added, self.removed = member_ids, set(), set()


def wanted_of(sent: Document) -> Wanted:
    """Return what a client has sent of a group.

    :raises InvalidRequest: an attribute is missing or wrong (400).
    """
    values = {
        "display_name": _name(value_of(sent, "displayName")),
        "external_id": _external_id(value_of(sent, "externalId")),
    }
    return Wanted(values, _member_ids(value_of(sent, "members")))


def change_of(request: Document) -> Change:
    """Return what the operations of a PATCH do (RFC 7644 section 3.5.2).

    :raises InvalidRequest: an operation is wrong (400).
    """
    change = Change()
    for operation in schemas.operations_of(request):
        if operation.path is None:
            _apply_object(change, operation)
        else:
            _apply_path(change, operation, operation.path)
    return change


def to_scim(row: Row, members: Iterable[Row] | None, base_url: str) -> Document:
    """Return a group as clients see it.

    :param members: None: they are not shown.
    :param base_url: the absolute URL of ``/scim/v2``.
    """
    document: Document = {
        "schemas": [schemas.GROUP],
        "id": str(row.id),
        "displayName": row.display_name,
    }
    if row.external_id is not None:
        document["externalId"] = row.external_id
    if members is not None:
        document["members"] = [
            {
                "value": str(each.user_id),
                "$ref": f"{base_url}/Users/{each.user_id}",
                "type": "User",
            }
            for each in members
        ]
    document["meta"] = {
        "resourceType": "Group",
        "created": f"{row.created_at.isoformat()}Z",
        "lastModified": f"{row.updated_at.isoformat()}Z",
        "location": f"{base_url}/Groups/{row.id}",
        "version": f'W/"{row.version}"',
    }
    return document


def _apply_object(change: Change, operation: schemas.Operation) -> None:
    """Apply an operation on the whole group; what is read-only in it is passed over."""
    op, _path, value, _has_value = operation
    if op == "remove":
        raise InvalidRequest("noTarget", "Operations: remove needs a path.")
    if not isinstance(value, dict):
        raise InvalidRequest("invalidValue", "Operations: Without a path, value is an object.")
    for key, each in value.items():
        match = _PATH.fullmatch(key)
        if match is not None and match["name"].lower() not in _READ_ONLY:
            _apply(change, op, match, each)


def _apply_path(change: Change, operation: schemas.Operation, path: str) -> None:
    op, _path, value, has_value = operation
    match = _PATH.fullmatch(path)
    if match is None:
        raise InvalidRequest("invalidPath", "Operations: path is not a path.")
    if match["name"].lower() in _READ_ONLY:
        raise InvalidRequest("mutability", f"{match['name'].lower()}: Is read-only.")
    if op != "remove" and not has_value:
        raise InvalidRequest("invalidValue", f"Operations: {op} needs a value.")
    _apply(change, op, match, value)


def _apply(change: Change, op: str, match: re.Match[str], value: Any) -> None:
    """Apply an operation to an attribute; unknown ones are left out, as of users."""
    name = match["name"].lower()
    if (match["schema"] or schemas.GROUP).lower() != schemas.GROUP.lower():
        return
    if name == "members":
        _apply_to_members(change, op, match, value)
    elif op == "add" and value is None:
        return
    elif name == "displayname":
        if op == "remove":
            raise InvalidRequest("mutability", "displayName: Cannot be removed.")
        change.values["display_name"] = _name(value)
    elif name == "externalid":
        change.values["external_id"] = None if op == "remove" else _external_id(value)


def _apply_to_members(change: Change, op: str, match: re.Match[str], value: Any) -> None:
    if match["part"] is not None or (match["filter"] and op != "remove"):
        # RFC 7643 section 8.7.1: what is said of a member is immutable.
        detail = "members: Who is a member can be added and removed, but not changed."
        raise InvalidRequest("mutability", detail)
    if match["filter"]:
        found = _MEMBER.fullmatch(match["filter"])
        if found is None:
            raise InvalidRequest("invalidFilter", 'members: The filter must be [value eq "…"].')
        change.remove({read_id(found[1]) or NOBODY})
    elif op == "add":
        change.add(_member_ids(value))
    elif op == "remove" and value is not None:
        change.remove(_member_ids(value))  # as Entra has it
    else:
        change.replace(_member_ids(value))


def _name(value: Any) -> str:
    name = _text(value)
    if name in (None, ""):
        raise InvalidRequest("invalidValue", "displayName: Must not be missing.")
    schemas.check(_NAME, "displayName", name)
    return str(name)


def _external_id(value: Any) -> str | None:
    text = _text(value)
    if text in (None, ""):
        return None
    schemas.check(_EXTERNAL_ID, "externalId", text)
    return str(text)


def _text(value: Any) -> Any:
    """Return a text, for which some send a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _member_ids(value: Any) -> set[int]:
    """Return the ids in values of ``members``, of which some send the ids only."""
    entries = value if isinstance(value, list) else [value]
    return {_member_id(each) for each in entries if each not in (None, "")}


def _member_id(entry: Any) -> int:
    known = entry if isinstance(entry, dict) else {"value": entry}
    kind, reference = value_of(known, "type"), value_of(known, "$ref")
    if str(kind).lower() == "group" or "/groups/" in str(reference).lower():
        raise InvalidRequest("invalidValue", "members: A group cannot be a member of a group.")
    text = _text(value_of(known, "value"))
    if not isinstance(text, str):
        raise InvalidRequest("invalidValue", "members: Each needs a value, the id of a user.")
    return read_id(text) or NOBODY

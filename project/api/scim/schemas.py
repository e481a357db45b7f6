"""What clients send of resources, brought into the form of RFC 7643 and validated.

Identity providers send more than the RFCs allow. See docs/decisions/scim.md.
"""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError, WithJsonSchema

from project.api.scim.errors import InvalidRequest, TooManyAttributes
from project.errors import Message

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE_USER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SCHEMAS = (USER, ENTERPRISE_USER, GROUP)
"""What ``/Schemas`` describes."""
MAX_VALUES = 1000
"""How many values an attribute may have, and operations a PATCH."""
MAX_DEPTH = 3
READ_ONLY = frozenset({"id", "meta", "groups", "schemas"})
_MULTIVALUED = frozenset(
    {
        *("emails", "phonenumbers", "ims", "photos", "addresses"),
        *("entitlements", "roles", "x509certificates"),
    }
)
_MANAGER = "manager"


Document = dict[str, Any]

UserId = Annotated[
    str, WithJsonSchema({"type": "string", "description": "The user's id.", "examples": ["7"]})
]
GroupId = Annotated[
    str, WithJsonSchema({"type": "string", "description": "The group's id.", "examples": ["3"]})
]
ResourceTypeName = Annotated[
    str, WithJsonSchema({"enum": ["User", "Group"], "description": "The type's name."})
]
Urn = Annotated[str, WithJsonSchema({"enum": [*SCHEMAS], "description": "The schema's id."})]
"""What stands in a path."""


def read_user(document: Document) -> Document:
    """Return what a client has sent of a user, in the form of RFC 7643, without what is read-only.

    :raises InvalidRequest: an attribute has another type (400).
    """
    from project.api.scim import library

    found = library.read_user(_tolerate(document))
    for name, values in found.items():
        if isinstance(values, list) and sum(each.get("primary") is True for each in values) > 1:
            raise InvalidRequest("invalidValue", f"{name}: Only one can be primary.")
    return found


def patch_user(current: Document, request: Document) -> Document:
    """Return a user with the operations of a PATCH done (RFC 7644 section 3.5.2).

    :param current: as ``read_user`` returns it.
    :raises InvalidRequest: an operation is wrong (400).
    """
    from project.api.scim import library

    known = [each for one in operations_of(request) for each in _tolerated_operations(one)]
    return library.patch_user(current, known) if known else current


class Operation(NamedTuple):
    """An operation of a PATCH.

    :ivar op: ``add``, ``remove`` or ``replace``.
    :ivar path: None: the whole resource.
    :ivar has_value: whether there is a value, which may be null.
    """

    op: str
    path: str | None
    value: Any
    has_value: bool


def operations_of(request: Document) -> Iterator[Operation]:
    """Yield the operations of a PATCH (RFC 7644 section 3.5.2).

    :raises InvalidRequest: there are none or too many, or one is no operation (400).
    """
    operations = value_of(request, "Operations")
    if not isinstance(operations, list) or not operations:
        raise InvalidRequest("invalidSyntax", "Operations: Must be a list of operations.")
    if len(operations) > MAX_VALUES:
        raise InvalidRequest("invalidValue", f"Operations: There may be {MAX_VALUES} at most.")
    for each in operations:
        if not isinstance(each, dict):
            raise InvalidRequest("invalidSyntax", "Operations: Each must be an object.")
        op, path, value = (value_of(each, name) for name in ("op", "path", "value"))
        if not isinstance(op, str) or not isinstance(path, str | None):
            raise InvalidRequest("invalidSyntax", "Operations: op and path must be texts.")
        if op.lower() not in ("add", "remove", "replace"):
            raise InvalidRequest("invalidValue", "Operations: op must be add, remove or replace.")
        has_value = any(name.lower() == "value" for name in each)
        yield Operation(op.lower(), path or None, value, has_value)


def value_of(document: Document, name: str) -> Any:
    """Return a value of an object, in any letter case of its name; None: there is none."""
    return next((each for key, each in document.items() if key.lower() == name.lower()), None)


def check(adapter: TypeAdapter[str], attribute: str, value: Any) -> None:
    """Check a text by a rule of the directory.

    :raises InvalidRequest: it does not keep to the rule (400).
    """
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        detail = Message(f"{attribute}: %(reason)s", reason=reason)
        raise InvalidRequest("invalidValue", detail) from error


def _tolerate(document: Document) -> Document:
    """Bring the attributes of a user into the form of RFC 7643."""
    return {
        name: _tolerate_value(name, value)
        for name, value in document.items()
        if name.lower() not in READ_ONLY
    }


def _tolerate_value(path: str, value: Any, depth: int = 0) -> Any:
    """Bring a value into the type of its attribute.

    :param path: the attribute's name, perhaps after its schema.
    :param depth: of the value; what lies deeper than any attribute is left out.
    """
    if depth > MAX_DEPTH:
        return None
    name = path.rpartition(":")[2].lower()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return str(value)
    if path.lower() == ENTERPRISE_USER.lower() and isinstance(value, dict):
        return {each: _tolerate_value(each, inner, depth + 1) for each, inner in value.items()}
    if name == _MANAGER:
        return _manager(value, depth)
    if name in _MULTIVALUED:
        values = value if isinstance(value, list) else [value]
        if len(values) > MAX_VALUES:
            raise TooManyAttributes
        return [_entry(each, depth) for each in values if each not in (None, "")]
    if name == "active" and value == "":
        return None
    if isinstance(value, dict):
        return {each: _tolerate_value(each, inner, depth + 1) for each, inner in value.items()}
    return value


def _entry(value: Any, depth: int = 0) -> Any:
    """Return an entry of an attribute with several values, of which some send the value only."""
    if isinstance(value, dict):
        return {name: _tolerate_value(name, each, depth + 1) for name, each in value.items()}
    return _value(value)


def _manager(value: Any, depth: int) -> Any:
    """Return a manager, of whom some send the id only, or in a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None if value in (None, "") else _value(value)
    known = {name: _tolerate_value(name, each, depth + 1) for name, each in value.items()}
    return {name: each for name, each in known.items() if each is not None} or None


def _value(value: Any) -> Document:
    """Return an object with a value that was sent without one."""
    if isinstance(value, list):
        raise InvalidRequest("invalidValue", "A list must not be in a list.")
    return {"value": str(value)}


def _tolerated_operations(operation: Operation) -> list[Document]:
    """Bring an operation of a PATCH into the form of RFC 7644; none: it changes nothing."""
    op, path, value, has_value = operation
    if path is None:
        return _without_path(op, value)
    name = path.partition("[")[0].rpartition(":")[2].lower()
    if name == "password" or (op == "add" and value is None and has_value):
        return []
    changed: Document = {"op": op, "path": path}
    if has_value and not (op == "remove" and name == _MANAGER):
        inside = path.endswith("]") and not isinstance(value, dict | list | None)
        changed["value"] = _entry(value) if inside else _tolerate_value(path, value)
        if op == "remove":
            changed["value"] = _without_references(changed["value"])
        elif name == _MANAGER and changed["value"] is None:
            return [{"op": "remove", "path": path}]
    return [changed]


def _without_path(op: str, value: Any) -> list[Document]:
    """Return the operations for an object, some of whose keys Entra spells as paths."""
    if not isinstance(value, dict):
        return [{"op": op, "value": value}]
    known = _tolerate(value)
    if op == "add":
        known = {name: each for name, each in known.items() if each is not None}
    paths = {name: known.pop(name) for name in [*known] if "[" in name}
    whole = [{"op": op, "value": known}] if known else []
    return whole + [{"op": op, "path": path, "value": each} for path, each in paths.items()]


def _without_references(value: Any) -> Any:
    """Return the values that Entra removes without ``$ref``, which is null."""
    if not isinstance(value, list):
        return value
    return [
        {"value": each["value"]} if isinstance(each, dict) and "value" in each else each
        for each in value
    ]

"""The only module that knows scim2-models: its models, its PATCH and its parser of filters.

The other modules import it where they use it first, since it takes half a second to load, which a
start of the service need not wait for. See docs/decisions/scim.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import scim2_models as scim
from pydantic import ValidationError
from scim2_models.path import AttrPath, Comparison, FilterNode, LogicalExpr, ValuePath
from scim2_models.resources import user

from project.api.scim.errors import InvalidRequest
from project.api.scim.filters import MULTIVALUED, Filter, Logical, Term, invalid_filter
from project.errors import Message

# Unknown attributes are left out; `Remove` with a value, and a path whose filter finds nothing, are
# Entra's.
_POLICY = scim.ScimPolicy(
    unknown=scim.ScimPolicy.Unknown.ignore,
    remove_value_as_filter=scim.ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=scim.ScimPolicy.UnmatchedPathFilter.create,
)

Document = dict[str, Any]
Found = TypeVar("Found")


class Email(user.Email):
    """An address as it was sent: that of the user is checked by the rules of the directory."""

    value: str | None = None


class Photo(user.Photo):
    """A photo whose address is only kept."""

    value: str | None = None  # type: ignore[assignment]


class X509Certificate(user.X509Certificate):
    """A certificate that is only kept."""

    value: str | None = None  # type: ignore[assignment]


class User(scim.User[scim.AnyExtension], Generic[scim.AnyExtension]):
    """A user whose attributes are kept as they were sent."""

    profile_url: str | None = None  # type: ignore[assignment]
    emails: list[Email] | None = None  # type: ignore[assignment]
    photos: list[Photo] | None = None  # type: ignore[assignment]
    x509_certificates: list[X509Certificate] | None = None  # type: ignore[assignment]


_User = User[scim.EnterpriseUser]
_UserPatch = scim.PatchOp[_User]
_MODELS: Mapping[str, Any] = {
    str(model.__schema__): model for model in (User, scim.EnterpriseUser, scim.Group)
}
# What is otherwise here than in the models, by schema, attribute and, before a dot, its attribute.
_DESCRIBED_OTHERWISE: Mapping[tuple[str, str], Document] = {
    # Each user has an email, which only a userName that is an address can stand for.
    (str(User.__schema__), "emails"): {"required": True},
    (str(User.__schema__), "emails.value"): {"required": True},
    (str(scim.Group.__schema__), "displayName"): {"uniqueness": "server"},
    (str(scim.Group.__schema__), "members.$ref"): {"referenceTypes": ["User"]},
    (str(scim.Group.__schema__), "members.type"): {"canonicalValues": ["User"]},
}


def describe(urn: str) -> Document:
    """Return a schema (RFC 7643 section 7)."""
    document: Document = _MODELS[urn].to_schema().model_dump()
    for attribute in document["attributes"]:
        name = attribute["name"]
        attribute |= _DESCRIBED_OTHERWISE.get((urn, name), {})
        parts = attribute.get("subAttributes", [])
        if name == "members":  # which have no name (RFC 7643 section 8.7.1)
            parts[:] = [part for part in parts if part["name"] != "display"]
        for part in parts:
            part |= _DESCRIBED_OTHERWISE.get((urn, f"{name}.{part['name']}"), {})
    return document


def read_user(document: Document) -> Document:
    """Return the known attributes of a user, each of its type.

    :raises InvalidRequest: an attribute has another type (400).
    """
    return _dump(_valid(lambda: _User.model_validate(document, scim_policy=_POLICY)))


def patch_user(current: Document, operations: list[Document]) -> Document:
    """Return a user with the operations of a PATCH done (RFC 7644 section 3.5.2).

    :param current: as ``read_user`` returns it.
    :raises InvalidRequest: an operation is wrong (400).
    """
    request = {"schemas": [str(scim.PatchOp.__schema__)], "Operations": operations}

    def apply() -> Document:
        resource = _User.model_validate(current, scim_policy=_POLICY)
        patch = _UserPatch.model_validate(
            request, scim_ctx=scim.Context.RESOURCE_PATCH_REQUEST, scim_policy=_POLICY
        )
        patch.patch(resource, scim_policy=_POLICY)
        return _dump(resource)

    return _valid(apply)


def parse_filter(text: str, names: Mapping[str, str], schema: str) -> Filter:
    """Return the filter in a text.

    :param names: by their lower-case form, the attributes that can be searched for.
    :param schema: the resource type's, in lower case, which may stand before an attribute.
    :raises InvalidRequest: it is no filter, or needs more than comparisons of these (400).
    """
    try:
        node = scim.ScimFilter(text).ast
    except scim.InvalidFilterException as error:
        raise invalid_filter(Message("%(problem)s", problem=error)) from error
    return _convert(node, names, schema)


def _dump(resource: Any) -> Document:
    document: Document = resource.model_dump()
    return {name: value for name, value in document.items() if name not in ("schemas", "password")}


def _valid(work: Callable[[], Found]) -> Found:
    """Turn the library's errors into ours."""
    try:
        return work()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        kind = first["type"].removeprefix("scim_") if first["type"].startswith("scim_") else None
        reason = f"{path}: {first['msg']}" if path else first["msg"]
        raise _invalid(kind, reason) from error
    except scim.SCIMException as error:
        raise _invalid(error.scim_type, _first_line(error)) from error


def _invalid(kind: str | None, reason: str) -> InvalidRequest:
    """Return the error for what the library refuses; its sentences may have what was sent."""
    return InvalidRequest(kind or "invalidValue", Message("%(reason)s", reason=reason))


def _first_line(error: scim.SCIMException) -> str:
    """Return what is wrong; of an error of pydantic in it, without the lines around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    if len(lines) < 3:
        return lines[0]
    return f"{lines[1]}: {lines[2].partition(' [type=')[0]}"


def _convert(node: FilterNode, names: Mapping[str, str], schema: str) -> Filter:
    if isinstance(node, LogicalExpr):
        parts = tuple(_convert(each, names, schema) for each in node.terms)
        return Logical(node.op.value, parts)
    if isinstance(node, Comparison):
        name = _name(node.attr_path, names, schema)
        part = node.attr_path.sub_attr
        if part is not None and not (name in MULTIVALUED and part.lower() == "value"):
            raise invalid_filter(Message("%(path)s cannot be searched for.", path=node.attr_path))
        return Term(name, node.op.value, _text(node))
    if isinstance(node, ValuePath):
        return _value_path(node, _name(node.attr_path, names, schema))
    raise invalid_filter(Message("%(filter)s is not supported.", filter=node))


def _value_path(node: ValuePath, name: str) -> Term:
    """Return the term of ``emails[type eq "work" and value eq "ada@example.com"]``."""
    inner = node.val_filter
    is_and = isinstance(inner, LogicalExpr) and inner.op.value == "and"
    parts = inner.terms if is_and else (inner,)  # type: ignore[attr-defined]
    values = {each.attr_path.attr.lower(): each for each in parts if isinstance(each, Comparison)}
    kind = values.pop("type", None)
    value = values.pop("value", None)
    is_known = len(parts) == (kind is not None) + (value is not None)
    if name not in MULTIVALUED or value is None or not is_known or (kind and kind.op.value != "eq"):
        raise invalid_filter(Message("%(filter)s is not supported.", filter=node))
    return Term(name, value.op.value, _text(value), _text(kind).lower() if kind else None)


def _name(path: AttrPath, names: Mapping[str, str], schema: str) -> str:
    name = names.get(path.attr.lower())
    if name is None or (path.uri or schema).lower() != schema:
        known = ", ".join(names.values())  # in the text itself: values are left out of what is kept
        raise invalid_filter(
            Message(f"%(path)s cannot be searched for. What can be: {known}.", path=path)
        )
    return name


def _text(node: Comparison) -> str:
    if not isinstance(node.value, str):
        raise invalid_filter("The value must be a text in double quotes.")
    return node.value

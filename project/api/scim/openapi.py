"""SCIM in the API's description: its parameters, bodies, answers and their schemas.

What a method takes and answers is the same for all resources (RFC 7644 section 3), so it follows
from an operation's path and method; the schemas follow from ``examples.py``. None of this needs
scim2-models.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from project.api.scim import PREFIX, errors, examples, group_queries, user_queries
from project.api.scim.errors import InvalidRequest
from project.api.scim.filters import MAX_TERMS, Operators
from project.api.scim.requests import DEFAULT_COUNT, MAX_COUNT, WrongMediaType
from project.api.scim.responses import MEDIA_TYPE, list_response
from project.api.scim.schemas import MAX_VALUES
from project.web.openapi.operations import Answer, Errors, Form, Operation
from project.web.openapi.schemas import reference

Json = dict[str, Any]


class _Written(NamedTuple):
    """What clients send of a resource.

    :ivar required: the attribute that they must send.
    :ivar operators: those of filters, by attribute.
    """

    body: Json
    patch: Json
    required: str
    operators: Operators


class _Resource(NamedTuple):
    """What is at an endpoint.

    :ivar schema: the name of its schema.
    :ivar written: None: clients cannot change it.
    """

    schema: str
    example: Json
    written: _Written | None = None


_USERS = _Written(examples.USER, examples.USER_PATCH, "userName", user_queries.OPERATORS)
_GROUPS = _Written(examples.GROUP, examples.GROUP_PATCH, "displayName", group_queries.OPERATORS)
_CONFIG = "ServiceProviderConfig"
_RESOURCES = {
    "Users": _Resource("SCIMUser", examples.user(), _USERS),
    "Groups": _Resource("SCIMGroup", examples.group(), _GROUPS),
    _CONFIG: _Resource(f"SCIM{_CONFIG}", examples.config()),
    "ResourceTypes": _Resource("SCIMResourceType", examples.resource_type()),
    "Schemas": _Resource("SCIMSchema", examples.SCHEMA),
}
_TYPES = {bool: "boolean", int: "integer", str: "string"}
_SELECTION = {
    "attributes": "The only attributes to return beside `id` and `schemas`, comma-separated.",
    "excludedAttributes": "Attributes to leave out, comma-separated.",
}
_POSITION = {
    "startIndex": "The number of the first result; 1 by default.",
    "count": f"How many results: by default {DEFAULT_COUNT}, at most {MAX_COUNT}.",
}


def _schemas() -> dict[str, Json]:
    error: Any = errors.render_error(400, "userName: Must not be missing.", "invalidValue").json
    found = {"SCIMError": _schema_of(error, "schemas", "status", "detail"), "SCIMPatchOp": _patch()}
    for name, example, written in _RESOURCES.values():
        found[name] = _schema_of(example, *(each for each in ("schemas", "id") if each in example))
        if written:
            found[f"{name}Write"] = _schema_of(written.body, written.required)
        if "id" in example:
            found[f"{name}List"] = _list_of(name, example)
    return found


def _schema_of(example: Any, *required: str) -> Json:
    """Return the schema of an example: the names and types that it has, and any others."""
    if isinstance(example, list):
        return {"type": "array", "items": _schema_of(example[0])}
    if not isinstance(example, dict):
        return {"type": _TYPES[type(example)]}
    properties = {name: _schema_of(each) for name, each in example.items()}
    rules = {"required": [*required]} if required else {}
    return {"type": "object", "properties": properties, **rules}


def _list_of(name: str, example: Json) -> Json:
    required = list_response([example], 1)
    optional = {"startIndex": 1, "nextCursor": "eyJ…"}
    schema = _schema_of({**required, **optional}, *required)
    schema["properties"]["Resources"]["items"] = reference(name)
    return schema


def _patch() -> Json:
    schema = _schema_of(examples.USER_PATCH, "Operations")
    operations = schema["properties"]["Operations"]
    operations |= {"minItems": 1, "maxItems": MAX_VALUES}
    operations["items"]["required"] = ["op"]
    operations["items"]["properties"] |= {"op": {"enum": ["add", "remove", "replace"]}, "value": {}}
    return schema


def _resource(operation: Operation) -> _Resource:
    return _RESOURCES[operation.path.removeprefix(PREFIX).split("/")[1]]


def _is_list(operation: Operation) -> bool:
    is_all = operation.method == "get" and not operation.arguments
    return is_all and not operation.path.endswith(_CONFIG)


def _has_etag(operation: Operation) -> bool:
    return _resource(operation).written is not None and bool(operation.arguments)


def _query(operation: Operation) -> Sequence[Json]:
    written = _resource(operation).written
    if written is None or operation.method == "delete":
        return []
    texts = {"type": "array", "items": {"type": "string"}}
    selection = [_parameter(name, text, texts) for name, text in _SELECTION.items()]
    if not _is_list(operation):
        return selection
    compared = [f"`{name}` ({', '.join(sorted(each))})" for name, each in written.operators.items()]
    return [
        _parameter(
            "filter",
            f"At most {MAX_TERMS} comparisons, combined by `and` and `or` (RFC 7644 section"
            f" 3.4.2.2). What can be compared: {', '.join(compared)}.",
            {
                "type": "string",
                "examples": [f'{written.required} eq "{written.body[written.required]}"'],
            },
        ),
        *(_parameter(name, text, {"type": "integer"}) for name, text in _POSITION.items()),
        _parameter(
            "cursor",
            "`nextCursor` of the page before, empty for the first page (RFC 9865). It replaces"
            " `startIndex`.",
            {"type": "string"},
        ),
        *selection,
    ]


def _parameter(name: str, description: str, schema: Json) -> Json:
    where = {"name": name, "in": "query", "explode": False}
    return {**where, "description": description, "schema": schema}


def _body(operation: Operation) -> tuple[str, Json] | None:
    name, _example, written = _resource(operation)
    if written is None or operation.method in ("get", "delete"):
        return None
    if operation.method == "patch":
        return "SCIMPatchOp", written.patch
    return f"{name}Write", written.body


def _answers(operation: Operation) -> Sequence[Answer]:
    name, example, written = _resource(operation)
    if operation.method == "delete":
        return [Answer(204)]
    if operation.method == "post":
        return [Answer(201, name, example, ["ETag", "Location"])]
    if _is_list(operation):
        return [Answer(200, f"{name}List", list_response([example], 1, startIndex=1))]
    headers = ["ETag"] if _has_etag(operation) else []
    answers = [Answer(200, name, example, headers)]
    if operation.method == "patch" and written is _GROUPS:
        answers.append(Answer(204, headers=headers))  # it has many members
    return answers


def _errors(operation: Operation) -> Errors:
    written = _resource(operation).written
    if written is None:
        return
    if _is_list(operation):
        problem = InvalidRequest("invalidValue", "count: Must be an integer.")
        yield problem, "A parameter is invalid, or the filter is not supported."
    if _body(operation):
        problem = InvalidRequest("invalidSyntax", "The body must be a JSON object.")
        yield problem, "The body is not a JSON object."
        yield WrongMediaType(), "The body has another content type."
    if operation.method == "patch":
        problem = InvalidRequest("invalidSyntax", "Operations: Must be a list of operations.")
        yield problem, "An operation is invalid."
    elif _body(operation):
        problem = InvalidRequest("invalidValue", f"{written.required}: Must not be missing.")
        yield problem, "An attribute is missing or invalid."


FORM = Form(
    name="scim",
    description="SCIM 2.0 (RFC 7643, 7644, 9865): identity providers keep users and groups.",
    schemas=_schemas(),
    media_types=[MEDIA_TYPE, "application/json"],
    error="SCIMError",
    render=errors.render,
    has_etag=_has_etag,
    query=_query,
    body=_body,
    answers=_answers,
    errors=_errors,
    id_pointer="/id",
)

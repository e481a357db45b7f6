"""What clients send: parameters, headers and bodies."""

from collections.abc import Iterator
from inspect import unwrap
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from project.web import idempotency, preconditions
from project.web.openapi.operations import Operation
from project.web.openapi.schemas import Generator, example_of, reference

_TAGS = {
    "type": "string",
    "format": "entity-tags",
    "pattern": f"^{preconditions.TAGS.pattern}$",
}
_HEADERS = {
    "If-Match": ('Change the object only if its `ETag` is one of these, such as `"3"`.', _TAGS),
    "If-None-Match": ('Answer 304 if the object\'s `ETag` is one of these, such as `"3"`.', _TAGS),
    idempotency.HEADER: (
        "A key of the client's own making, such as a UUID, by which a request that is sent again"
        " gets the first answer. Kept for 24 hours.",
        {"type": "string", "pattern": f"^(?:{idempotency.KEY.pattern})$"},
    ),
}


def describe_headers() -> dict[str, Any]:
    """Return the headers that operations refer to, by name."""
    return {
        name: {"name": name, "in": "header", "description": text, "schema": schema}
        for name, (text, schema) in _HEADERS.items()
    }


def describe_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    """Give what an operation takes from the path, the query string and the headers."""
    hints = get_type_hints(unwrap(operation.view), include_extras=True)
    for name in operation.arguments:
        schema = TypeAdapter(hints[name]).json_schema()
        yield {"name": name, "in": "path", "required": True, **_with_description(schema)}
    if operation.contract.query:
        found = operation.contract.query.model_json_schema(schema_generator=Generator)
        for name, schema in found["properties"].items():
            # Not exploded, a list is one parameter with commas between.
            yield {"name": name, "in": "query", "explode": False, **_with_description(schema)}
    for name in operation.headers:
        yield {"$ref": f"#/components/parameters/{name}"}


def _with_description(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema.pop("description"), "schema": schema}


def describe_body(operation: Operation, models: dict[str, Any]) -> dict[str, Any]:
    """Return the body that an operation takes, as its ``requestBody``, or nothing."""
    if operation.contract.body_types:
        content = {"schema": {"type": "string"}}
        content_of = dict.fromkeys(operation.contract.body_types, content)
        return {"requestBody": {"required": True, "content": content_of}}
    if operation.contract.body is None:
        return {}
    name = operation.contract.body.__name__
    content = {"schema": reference(name), "example": example_of(models[name])}
    types = ["application/json"]
    if operation.method == "patch":
        types.append("application/merge-patch+json")  # RFC 7396
    return {"requestBody": {"required": True, "content": dict.fromkeys(types, content)}}

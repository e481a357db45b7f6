"""The envelope of every JSON response, built nowhere else.

| status    | when          | other keys                    |
|-----------|---------------|-------------------------------|
| `success` | 2xx           | `message` and/or `data`       |
| `fail`    | client error  | `message`, perhaps `errors`   |
| `error`   | server error  | `message`, `request_id`       |
"""

from collections.abc import Sequence
from typing import Any

from flask import Response

from project.errors import FieldError
from project.web.json_provider import json_response

MAX_ERRORS = 100
MAX_NAME_CHARACTERS = 100
MAX_MESSAGE_CHARACTERS = 1000
_TEXT = {"type": "string"}

SCHEMAS: dict[str, Any] = {
    "FieldError": {
        "type": "object",
        "description": "What is wrong with one field, parameter or header.",
        "properties": {"field": _TEXT, "message": _TEXT},
        "required": ["field", "message"],
    },
    "Fail": {
        "type": "object",
        "description": "A client error. Nothing was changed.",
        "properties": {
            "status": {"const": "fail"},
            "message": _TEXT,
            "errors": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FieldError"},
                "maxItems": MAX_ERRORS,
            },
            "errors_omitted": {
                "type": "integer",
                "description": "How many further errors `errors` omits.",
            },
        },
        "required": ["status", "message"],
    },
    "Error": {
        "type": "object",
        "description": "A server error.",
        "properties": {"status": {"const": "error"}, "message": _TEXT, "request_id": _TEXT},
        "required": ["status", "message", "request_id"],
    },
}
"""The JSON schemas of ``fail`` and ``error``, by name."""


def success_schema(
    data: dict[str, Any] | None, has_message: bool, has_token: bool = False
) -> dict[str, Any]:
    """Return the JSON schema of a successful response.

    :param data: the schema of its data; None: it has none.
    """
    properties: dict[str, Any] = {"status": {"const": "success"}}
    if has_message:
        properties["message"] = _TEXT
    if data is not None:
        properties["data"] = data
    if has_token:
        properties["auth_token"] = _TEXT
    return {"type": "object", "properties": properties, "required": list(properties)}


def success(
    data: dict[str, Any] | None = None,
    message: str | None = None,
    status: int = 200,
    auth_token: str | None = None,
) -> Response:
    """Return the response to a request that succeeded; what is None is omitted.

    :param auth_token: the access token of a user who signed in.
    """
    body: dict[str, Any] = {"status": "success"}
    if message is not None:
        body["message"] = message
    if data is not None:
        body["data"] = data
    if auth_token is not None:
        body["auth_token"] = auth_token
    return json_response(body, status)


def fail(message: str, status: int, errors: Sequence[FieldError] = ()) -> Response:
    """Return the response to a request with a client error.

    :param status: 400 to 499.
    :param errors: omitted when empty. The response has the first 100 and the number of the others,
        so a response cannot be many times larger than its request.
    """
    body: dict[str, Any] = {"status": "fail", "message": _shorten(message, MAX_MESSAGE_CHARACTERS)}
    if errors:
        body["errors"] = [
            FieldError(
                _shorten(each.field, MAX_NAME_CHARACTERS),
                _shorten(each.message, MAX_MESSAGE_CHARACTERS),
            )
            for each in errors[:MAX_ERRORS]
        ]
    if len(errors) > MAX_ERRORS:
        body["errors_omitted"] = len(errors) - MAX_ERRORS
    return json_response(body, status)


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def error(message: str, status: int, request_id: str) -> Response:
    """Return the response to a request in which the service failed.

    :param status: 500 to 599.
    :param request_id: identifies the request in the log.
    """
    return json_response({"status": "error", "message": message, "request_id": request_id}, status)

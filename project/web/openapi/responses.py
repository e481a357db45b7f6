"""Describes the responses: of success, of client errors and of server errors."""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from flask import Response
from pydantic import BaseModel

from project.errors import (
    AppError,
    FieldError,
    Forbidden,
    Invalid,
    Unauthenticated,
    UnsupportedInput,
)
from project.web import envelope, idempotency, preconditions
from project.web.contract import PACKED, WRONG_TYPE, validate
from project.web.error_handlers import Failure, render_json, status_of
from project.web.guard import MissingCredentials
from project.web.openapi.files import describe_files
from project.web.openapi.operations import Form, Operation
from project.web.openapi.requests import describe_body
from project.web.openapi.schemas import example_of, reference
from project.web.pagination import invalid_parameters

Json = dict[str, Any]

# Responses that come from no view, but from the application around it or from nginx.
_TO_ANY = {
    414: "The URL is longer than 8,000 bytes.",
    431: "The headers are too large.",
    500: "Something went wrong on our side.",
    502: "The service cannot be reached. Try again in a few seconds.",
    503: "The service is busy or its database is unavailable. Try again in a few seconds. If a"
    " change may have been saved, the message says so.",
    504: "The service did not answer in time.",
}
_TO_WRITES = {429: "Too many writes from one address. Try again in a second."}
_TO_BODIES = {
    408: "The request took too long to arrive.",
    413: "The body is larger than the service accepts.",
}

_COMMON = _TO_ANY | _TO_WRITES | _TO_BODIES

_HEADERS = {
    "ETag": "The version of the object, for `If-Match` and `If-None-Match`.",
    "Link": 'The URL of the next page (`rel="next"`); absent on the last page.',
    "Location": "The path of the new object.",
    "Retry-After": "The number of seconds to wait before trying again.",
    "X-Request-ID": "The id that identifies the request in the service's logs.",
}


def describe_headers() -> Json:
    """Return the response headers, by name."""
    return {
        name: {"description": text, "required": name != "Link", "schema": {"type": "string"}}
        for name, text in _HEADERS.items()
    }


def describe_common(form: Form | None = None) -> Json:
    """Return the responses that come from no view, by the names by which operations refer to them.

    :param form: None: that of the JSON API.
    """
    return {
        _common_name(form, status): _failure(
            form, status, [text], {text: _common_example(form, status)}
        )
        for status, text in _COMMON.items()
    }


def _common_name(form: Form | None, status: int) -> str:
    return f"{form.name}_{status}" if form else str(status)


def describe_responses(operation: Operation, models: Json, operations: Sequence[Operation]) -> Json:
    """Return all responses of an operation, by status."""
    common = [*_TO_ANY]
    if operation.method != "get":
        common += _TO_WRITES
    if describe_body(operation, models):
        common += _TO_BODIES
    responses = {
        str(status): {"$ref": f"#/components/responses/{_common_name(operation.form, status)}"}
        for status in common
    }
    if operation.form:
        responses |= _answers(operation.form, operation, operations)
    else:
        responses |= _successes(operation, models, operations)
    if operation.condition == "If-None-Match":
        responses["304"] = _response("The client already has this version.", ["ETag"])
    responses |= _failures(operation, common)
    return dict(sorted(responses.items()))


def _answers(form: Form, operation: Operation, operations: Sequence[Operation]) -> Json:
    """Return the successes of an operation in a form of its own, by status."""
    responses: Json = {}
    for status, schema, example, headers in form.answers(operation):
        response = _response(HTTPStatus(status).phrase, headers)
        if schema is not None:
            response |= _content(form, reference(schema), example=example)
        if "Location" in headers:
            response["links"] = dict(_links(f"{operation.path}/{{}}", operations, form.id_pointer))
        responses[str(status)] = response
    return responses


def _successes(operation: Operation, models: Json, operations: Sequence[Operation]) -> Json:
    contract = operation.contract
    data, example = _data(operation, models)
    known = {name: value for each in models.values() for name, value in example_of(each).items()}
    text = contract.message.format(SimpleNamespace(**known)) if contract.message else None
    sent = {"ETag": contract.etag, "Location": contract.location, "Link": contract.list_name}
    if contract.answer_types:
        text = "The file." if contract.row else "The text."
        return {"200": {**_response(text), "content": describe_files(contract, models)}}
    response = {
        **_response(HTTPStatus(contract.status).phrase, [name for name in sent if sent[name]]),
        **_content(
            None,
            envelope.success_schema(data, bool(text), contract.token),
            example=envelope.success(
                example, text, auth_token="eyJhbGciOi…" if contract.token else None
            ).json,
        ),
    }
    if contract.location:
        response["links"] = dict(_links(contract.location, operations, "/data/id"))
    return {str(contract.status): response}


def _data(operation: Operation, models: Json) -> tuple[Json | None, Json | None]:
    """Return the schema and an example of a response's ``data``."""
    contract = operation.contract
    if contract.data is None:
        return None, None
    item, example = reference(contract.data.__name__), example_of(models[contract.data.__name__])
    if contract.list_name is None:
        return item, example
    properties = {
        contract.list_name: {"type": "array", "items": item},
        "next": {"type": ["string", "null"], "description": "The `cursor` of the next page."},
        "total": {"type": "integer", "minimum": 0},
    }
    required = [contract.list_name, "next"]
    schema = {"type": "object", "properties": properties, "required": required}
    return schema, {contract.list_name: [example], "next": None}


def _links(
    location: str, operations: Sequence[Operation], id_pointer: str
) -> Iterator[tuple[str, Json]]:
    """Yield links to the operations on a new object's path."""
    for operation in operations:
        if re.sub("{.+?}", "{}", operation.path) == re.sub("{.+?}", "{}", location):
            parameters = dict.fromkeys(operation.arguments, f"$response.body#{id_pointer}")
            yield operation.name, {"operationId": operation.name, "parameters": parameters}


def _failures(operation: Operation, common: Sequence[int]) -> Json:
    """Return the errors of an operation, by status.

    :param common: the statuses that come from around the view, too.
    """
    form = operation.form
    reasons: dict[int, list[str]] = {}
    examples: dict[int, Json] = {}
    for error, reason in _errors(operation):
        answer = answer_to(error, form)
        status = answer.status_code
        reasons.setdefault(status, []).append(reason)
        examples.setdefault(status, {}).setdefault(str(error.message), {"value": answer.json})
    for status in reasons.keys() & common:
        text = _COMMON[status]
        reasons[status].append(text)
        examples[status][text] = _common_example(form, status)
    return {
        str(status): _failure(form, status, reasons[status], examples[status]) for status in reasons
    }


def _failure(form: Form | None, status: int, reasons: Sequence[str], examples: Json) -> Json:
    """Return the response of an error that has these reasons."""
    schema = form.error if form else "Error" if status >= 500 else "Fail"
    return {
        **_response(" ".join(reasons), ["Retry-After"] if status in {429, 503} else []),
        **_content(form, reference(schema), examples=examples),
    }


def answer_to(error: AppError, form: Form | None) -> Response:
    """Return the answer to an error."""
    return _rendered(form, error, status_of(type(error)), error.message, error.errors)


def _common_example(form: Form | None, status: int) -> Json:
    """Return an example of a response that comes from no view."""
    return {"value": _rendered(form, Exception(), status, _COMMON[status]).json}


def _rendered(
    form: Form | None,
    error: Exception,
    status: int,
    message: str,
    errors: Sequence[FieldError] = (),
) -> Response:
    number = "8f3c1e7a90b24d5c8e6f1a2b3c4d5e6f" if status >= 500 else None
    render = form.render if form else render_json
    return render(Failure(error, status, message, errors, number))


def _errors(operation: Operation) -> Iterator[tuple[AppError, str]]:
    """Yield each client error, with its reason."""
    contract = operation.contract
    if contract.query:
        problems = _refusal(contract.query)
        yield invalid_parameters(problems[:1]), "A parameter is unknown, repeated or invalid."
    if contract.body:
        problems = _refusal(contract.body)
        yield Invalid(errors=problems), "The body is not a JSON object, or a field is invalid."
        yield contract.wrong_type(errors=[WRONG_TYPE]), "The body has another content type."
        yield UnsupportedInput(errors=[PACKED]), "The body is compressed."
    if operation.condition:
        problem = preconditions.invalid_header(operation.condition)
        yield problem, f"`{operation.condition}` is not a list of entity tags."
    if contract.idempotent:
        yield idempotency.invalid_key(), f"`{idempotency.HEADER}` is not a valid key."
        yield idempotency.KeyInUse(), "A request with this key is still running after 5 s."
        yield idempotency.KeyReused(), "The key was already used for another request."
    if contract.scope or contract.sign_in:
        yield MissingCredentials(), "The request has no credentials."
        yield Unauthenticated(), "The token or key is invalid, expired or revoked."
        yield Forbidden(), "The caller does not have permission."
    if operation.form:
        yield from operation.form.errors(operation)
    yield from operation.raises


def _refusal(schema: type[BaseModel]) -> Sequence[FieldError]:
    """Return the errors of an object whose fields are all empty texts."""
    try:
        validate(schema, dict.fromkeys(schema.model_fields, ""))
    except Invalid as error:
        return error.errors
    return ()


def _response(description: str, headers: Sequence[str] = ()) -> Json:
    names = ["X-Request-ID", *headers]
    references = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {"description": description, "headers": references}


def _content(form: Form | None, schema: Json, **examples: Any) -> Json:
    media_type = form.media_types[0] if form else "application/json"
    return {"content": {media_type: {"schema": schema, **examples}}}

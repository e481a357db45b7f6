"""The API's description (OpenAPI 3.1), generated from the code that validates and serialises.

A view's ``contract`` has its input and output. The first line of its docstring is the summary, and
its ``:raises`` lines are the errors. A view without a contract is not described. A feature that
does not answer in the envelope registers its ``Form``.
See docs/decisions/openapi.md for the reasons.
"""

from typing import Any

from flask import Flask

from project.version import VERSION
from project.web import envelope, guard
from project.web.openapi import requests, responses, schemas
from project.web.openapi.operations import Operation, find_operations, forms_of

INFO = {
    "title": "users-service",
    "version": VERSION,
    "summary": "A directory of users.",
    "description": "Every JSON response is in one envelope. Its `status` is `success`, `fail` (a"
    " client error, described by `message` and `errors`) or `error` (a server error, identified in"
    " the logs by `request_id`). Times are UTC.",
    "license": {"name": "MIT", "identifier": "MIT"},
}

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An access token from `/auth/login`, or an API key.",
}


def describe(app: Flask) -> dict[str, Any]:
    """Return the description of every view that has a contract; needs an application context.

    :raises KeyError: a docstring names an error that does not exist.
    """
    operations = list(find_operations(app))
    models = schemas.describe_models(operations)
    described = {**envelope.SCHEMAS, **models}
    answers = responses.describe_common()
    for form in forms_of(app).values():
        described |= form.schemas
        answers |= responses.describe_common(form)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = {
            "operationId": operation.name,
            "tags": [operation.tag["name"]],
            "summary": operation.summary,
            "description": operation.description,
            **_security(operation),
            "parameters": list(requests.describe_parameters(operation)),
            **requests.describe_body(operation, models),
            "responses": responses.describe_responses(operation, models, operations),
        }
    return {
        "openapi": "3.1.1",
        "info": INFO,
        "servers": [{"url": "/"}],
        "tags": list({each.tag["name"]: each.tag for each in operations}.values()),
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": _BEARER},
            "schemas": described,
            "parameters": requests.describe_headers(),
            "headers": responses.describe_headers(),
            "responses": answers,
        },
    }


def _security(operation: Operation) -> dict[str, Any]:
    """Return the operation's ``security``: empty if it needs no credentials."""
    if operation.contract.sign_in:
        return {"security": [{"bearer": []}]}
    if operation.contract.scope is None:
        return {"security": []}
    # Open access accepts credentials without requiring them: an administrator may do more.
    return {"security": [{"bearer": []}, *([{}] if guard.is_open() else [])]}

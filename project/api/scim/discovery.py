"""What the service supports (RFC 7643 sections 5 to 7), and what it does not."""

from functools import cache
from typing import Any

from flask import Response, request

from project.api.scim import requests, route, schemas
from project.api.scim.errors import NotSupported, ResourceNotFound
from project.api.scim.requests import requires
from project.api.scim.responses import list_response, respond
from project.errors import Forbidden

_CORE = "urn:ietf:params:scim:schemas:core:2.0"
_RESOURCE_TYPES: list[dict[str, Any]] = [
    {
        "id": "User",
        "name": "User",
        "description": "A user of the directory.",
        "endpoint": "/Users",
        "schema": schemas.USER,
        "schemaExtensions": [{"schema": schemas.ENTERPRISE_USER, "required": False}],
    },
    {
        "id": "Group",
        "name": "Group",
        "description": "A group of users.",
        "endpoint": "/Groups",
        "schema": schemas.GROUP,
    },
]
_CONFIG = {
    "schemas": [f"{_CORE}:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": requests.MAX_COUNT},
    "changePassword": {"supported": False},
    "sort": {"supported": False},
    "etag": {"supported": True},
    "pagination": {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": requests.DEFAULT_COUNT,
        "maxPageSize": requests.MAX_COUNT,
    },
    "authenticationSchemes": [
        {
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "An API key of this service, or an access token (RFC 6750).",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": True,
        }
    ],
}


@route("/ServiceProviderConfig", "GET")
@requires()
def get_config() -> Response:
    """Return what is supported, and within which limits."""
    _refuse_filter()
    return respond({**_CONFIG, "meta": _meta("ServiceProviderConfig", "/ServiceProviderConfig")})


@route("/ResourceTypes", "GET")
@requires()
def list_resource_types() -> Response:
    """List the types of resources."""
    _refuse_filter()
    return _list([_resource_type(each) for each in _RESOURCE_TYPES])


@route("/ResourceTypes/<name>", "GET")
@requires()
def get_resource_type(name: str) -> Response:
    """Return one type of resources.

    :raises ResourceNotFound: there is no such type (404).
    """
    for each in _RESOURCE_TYPES:
        if each["id"] == name:
            return respond(_resource_type(each))
    raise ResourceNotFound("resource type")


@route("/Schemas", "GET")
@requires()
def list_schemas() -> Response:
    """List the schemas of all resources."""
    _refuse_filter()
    return _list([_schema(urn) for urn in schemas.SCHEMAS])


@route("/Schemas/<urn>", "GET")
@requires()
def get_schema(urn: str) -> Response:
    """Return one schema.

    :raises ResourceNotFound: there is no such schema (404).
    """
    for each in schemas.SCHEMAS:
        if each.lower() == urn.lower():
            return respond(_schema(each))
    raise ResourceNotFound("schema")


@requires()
def refuse() -> Response:
    """Refuse what is declared as not supported.

    :raises NotSupported: always (501).
    """
    raise NotSupported


for _path in ("/Me", "/Bulk", "/.search", "/Users/.search", "/Groups/.search"):
    for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        route(_path, _method)(refuse)


def _refuse_filter() -> None:
    """Refuse a filter, which would be disregarded (RFC 7644 section 4)."""
    if "filter" in request.args:
        raise Forbidden("There is no filter for this.")


def _list(resources: list[dict[str, Any]]) -> Response:
    return respond(list_response(resources, len(resources), startIndex=1))


def _resource_type(values: dict[str, Any]) -> dict[str, Any]:
    meta = _meta("ResourceType", f"/ResourceTypes/{values['id']}")
    return {"schemas": [f"{_CORE}:ResourceType"], **values, "meta": meta}


def _schema(urn: str) -> dict[str, Any]:
    return {**_described(urn), "meta": _meta("Schema", f"/Schemas/{urn}")}


@cache
def _described(urn: str) -> dict[str, Any]:
    from project.api.scim import library

    return library.describe(urn)


def _meta(kind: str, path: str) -> dict[str, Any]:
    return {"resourceType": kind, "location": f"{requests.base_url()}{path}"}

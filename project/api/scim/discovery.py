"""What the service supports (RFC 7643 sections 5 to 7), and what it does not."""

from functools import cache
from typing import Any

from flask import Response, request

from project.api.scim import requests, route, schemas
from project.api.scim.errors import NotSupported, ResourceNotFound
from project.api.scim.requests import requires
from project.api.scim.responses import list_response, respond
from project.errors import Forbidden
from project.web.guard import principal

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
    """Return what is supported, and within which limits.

    RFC 7643 section 5 says what each part means.

    :raises Forbidden: there is a ``filter``, which would be disregarded (403).
    """
    _refuse_filter()
    return respond(config(requests.base_url()))


@route("/ResourceTypes", "GET")
@requires()
def list_resource_types() -> Response:
    """List the types of resources.

    These are users and groups (RFC 7643 section 6).

    :raises Forbidden: there is a ``filter``, which would be disregarded (403).
    """
    _refuse_filter()
    return respond(resource_types(requests.base_url()))


@route("/ResourceTypes/<name>", "GET")
@requires()
def get_resource_type(name: schemas.ResourceTypeName) -> Response:
    """Return one type of resources.

    It names the endpoint and the schemas (RFC 7643 section 6).

    :raises ResourceNotFound: there is no such type (404).
    """
    for each in _RESOURCE_TYPES:
        if each["id"] == name:
            return respond(_resource_type(each, requests.base_url()))
    raise ResourceNotFound("resource type")


@route("/Schemas", "GET")
@requires()
def list_schemas() -> Response:
    """List the schemas of all resources.

    They describe each attribute that is kept (RFC 7643 section 7).

    :raises Forbidden: there is a ``filter``, which would be disregarded (403).
    """
    _refuse_filter()
    return respond(_list([_schema(urn) for urn in schemas.SCHEMAS]))


@route("/Schemas/<urn>", "GET")
@requires()
def get_schema(urn: schemas.Urn) -> Response:
    """Return one schema.

    It describes each attribute that is kept (RFC 7643 section 7).

    :raises ResourceNotFound: there is no such schema (404).
    """
    for each in schemas.SCHEMAS:
        if each.lower() == urn.lower():
            return respond(_schema(each))
    raise ResourceNotFound("schema")


def refuse() -> Response:
    """Refuse what is declared as not supported.

    :raises MissingCredentials: the request has no credentials (401).
    :raises Unauthenticated: its credentials are invalid (401).
    :raises NotSupported: always else (501).
    """
    principal()
    raise NotSupported


for _path in ("/Me", "/Bulk", "/.search", "/Users/.search", "/Groups/.search"):
    for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        route(_path, _method)(refuse)


def config(base_url: str) -> dict[str, Any]:
    """Return what is supported (RFC 7643 section 5)."""
    return {**_CONFIG, "meta": meta("ServiceProviderConfig", f"{base_url}/ServiceProviderConfig")}


def resource_types(base_url: str) -> dict[str, Any]:
    """Return the list of all types of resources (RFC 7643 section 6)."""
    return _list([_resource_type(each, base_url) for each in _RESOURCE_TYPES])


def _refuse_filter() -> None:
    """Refuse a filter, which would be disregarded (RFC 7644 section 4)."""
    if "filter" in request.args:
        raise Forbidden("There is no filter for this.")


def _list(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return list_response(resources, len(resources), startIndex=1)


def _resource_type(values: dict[str, Any], base_url: str) -> dict[str, Any]:
    location = f"{base_url}/ResourceTypes/{values['id']}"
    kind = "ResourceType"
    return {"schemas": [f"{_CORE}:{kind}"], **values, "meta": meta(kind, location)}


def _schema(urn: str) -> dict[str, Any]:
    return {**_described(urn), "meta": meta("Schema", f"{requests.base_url()}/Schemas/{urn}")}


@cache
def _described(urn: str) -> dict[str, Any]:
    from project.api.scim import library

    return library.describe(urn)


def meta(kind: str, location: str) -> dict[str, Any]:
    """Return what each document of this kind has as its ``meta``."""
    return {"resourceType": kind, "location": location}

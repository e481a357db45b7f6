"""Examples of what clients send and get, for the API's description.

What clients send is written down here, with every attribute that is kept. What they get is made of
it by the code that answers.
"""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from project.api.scim import PREFIX, discovery, group_mapping, schemas, user_mapping

Json = dict[str, Any]

_BASE_URL = f"https://users.example.com{PREFIX}"
_AT = datetime(2026, 11, 23, 15, 12, 58)


def _one(value: str, kind: str = "work") -> list[Json]:
    """Return the values of an attribute that may have several."""
    return [{"value": value, "display": value, "type": kind, "primary": True}]


USER: Json = {
    "schemas": [schemas.USER, schemas.ENTERPRISE_USER],
    "userName": "ada@example.com",
    "externalId": "00u1a2b3c4",
    "name": {
        "formatted": "Lady Ada King Lovelace, Countess",
        "honorificPrefix": "Lady",
        "givenName": "Ada",
        "middleName": "King",
        "familyName": "Lovelace",
        "honorificSuffix": "Countess",
    },
    "displayName": "Ada Lovelace",
    "nickName": "Ada",
    "profileUrl": "https://people.example.com/ada",
    "title": "Analyst",
    "userType": "Employee",
    "preferredLanguage": "en-GB",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "active": True,
    "emails": _one("ada@example.com"),
    "phoneNumbers": _one("+44 20 7946 0000"),
    "ims": _one("ada@chat.example.com", "xmpp"),
    "photos": _one("https://people.example.com/ada.jpg", "photo"),
    "addresses": [
        {
            "formatted": "12 St James's Square, London SW1Y 4JH",
            "streetAddress": "12 St James's Square",
            "locality": "London",
            "region": "England",
            "postalCode": "SW1Y 4JH",
            "country": "GB",
            "type": "work",
            "primary": True,
        }
    ],
    "entitlements": _one("engine"),
    "roles": _one("analyst"),
    "x509Certificates": _one("MIIBszCCAVmgAwIBAgIUQ1"),
    schemas.ENTERPRISE_USER: {
        "employeeNumber": "1815",
        "costCenter": "4130",
        "organization": "Analytical Engines",
        "division": "Notes",
        "department": "Engines",
        "manager": {"value": "26", "$ref": "../Users/26", "displayName": "Charles Babbage"},
    },
}
GROUP: Json = {
    "schemas": [schemas.GROUP],
    "displayName": "Research",
    "externalId": "00g1a2b3c4",
    "members": [{"value": "1", "$ref": f"{_BASE_URL}/Users/1", "type": "User"}],
}
SCHEMA: Json = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    "id": schemas.GROUP,
    "name": "Group",
    "description": "Group",
    "attributes": [
        {
            "name": "displayName",
            "type": "string",
            "multiValued": False,
            "description": "A human-readable name for the Group.",
            "required": True,
            "caseExact": False,
            "mutability": "readWrite",
            "returned": "default",
            "uniqueness": "server",
        }
    ],
    "meta": discovery.meta("Schema", f"{_BASE_URL}/Schemas/{schemas.GROUP}"),
}
"""A part of one, since the whole comes from scim2-models."""


def _replace(path: str, value: Any) -> Json:
    operation = {"op": "replace", "path": path, "value": value}
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}


USER_PATCH: Json = _replace("active", False)
GROUP_PATCH: Json = _replace("displayName", "Research")


def config() -> Json:
    """Return what the service supports."""
    return discovery.config(_BASE_URL)


def resource_type() -> Json:
    """Return the type of users."""
    found: Json = discovery.resource_types(_BASE_URL)["Resources"][0]
    return found


def user() -> Json:
    """Return the user, who is in the group."""
    wanted = user_mapping.wanted_of(USER)
    at = _AT.isoformat(sep=" ")
    row: Any = SimpleNamespace(
        **{"id": 7, "username": wanted.username, "email": wanted.email, "active": wanted.active},
        **{"version": 1, "created_at": at, "updated_at": at},
        **user_mapping.columns_of(wanted.kept),
    )
    membership: Any = SimpleNamespace(id=3, display_name=GROUP["displayName"])
    return user_mapping.to_scim(row, [membership], _BASE_URL)


def group() -> Json:
    """Return the group with its member."""
    values = group_mapping.wanted_of(GROUP).values
    row: Any = SimpleNamespace(id=3, version=1, created_at=_AT, updated_at=_AT, **values)
    member: Any = SimpleNamespace(user_id=1)
    return group_mapping.to_scim(row, [member], _BASE_URL)

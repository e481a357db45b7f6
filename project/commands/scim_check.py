"""Does over HTTP what an identity provider does, and says what works."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import orjson
from flask import current_app

from project.api.audit import service as audit
from project.api.scim import PREFIX
from project.api.users import service as users
from project.api.users.errors import UserNotFound
from project.commands.accounts import SERVICE_DOMAIN, add_service_account
from project.database import in_transaction

SECONDS = 30
_CORE = "urn:ietf:params:scim:schemas:core:2.0"
_NAMES = {"Users": "userName", "Groups": "displayName"}
_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Failed(Exception):
    """A step did not do what it should; the text says what came instead."""


class Skipped(Exception):
    """A step that the key may not take, and need not; the text says why."""


@audit.by_command("scim_check")
def check(url: str | None, key: str | None) -> None:
    """Take the steps of an identity provider, on a user and a group; print how each of them ends.

    What it adds is removed again, even after a failure.

    :param url: of the service, or the base URL of SCIM; None: ``PUBLIC_URL``, or port 5000 here.
    :param key: the API key; None: that in ``SCIM_KEY``, or one of a service account that is added
        to the database of the settings, and removed afterwards.
    :raises SystemExit: a step has failed.
    """
    base = (url or current_app.config["PUBLIC_URL"] or "http://127.0.0.1:5000").rstrip("/")
    base = base if base.endswith(PREFIX) else base + PREFIX
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SystemExit(f"{url} is not the address of a service, such as https://users.example.")
    print(base)
    key = key or os.environ.get("SCIM_KEY")
    if key:
        is_well = Check(base, key).run()
    else:
        with _temporary_key() as key:
            is_well = Check(base, key).run()
    if not is_well:
        raise SystemExit(1)


@contextmanager
def _temporary_key() -> Iterator[str]:
    user, key = in_transaction(add_service_account)(f"scim-check-{uuid4().hex}", None, [], 1)
    try:
        yield key.key
    finally:
        with suppress(UserNotFound):
            in_transaction(users.delete_user)(user.id)


class Check:
    """The steps, on a user and a group of their own."""

    def __init__(self, base: str, key: str) -> None:
        self._parts, self._key = urlsplit(base), key
        self._name = f"scim-check-{uuid4().hex}@{SERVICE_DOMAIN}"
        self._paths: dict[str, str] = {}

    def run(self) -> bool:
        """Take the steps up to the first that fails; return whether none did."""
        steps: list[Callable[[], None]] = [
            *(self.discovery, self.create, self.create_again, self.filter, self.patch),
            *(self.groups, self.deactivate, self.read_inactive, self.delete),
        ]
        is_well = True
        for place, step in enumerate(steps):
            name = step.__name__.replace("_", " ")
            try:
                step()
            except Skipped as reason:
                print(f"skipped {name}: {reason}")
                continue
            except Failed as error:
                print(f"FAILED  {name}: {error}")
                for skipped in steps[place + 1 :]:
                    print(f"skipped {skipped.__name__.replace('_', ' ')}")
                is_well = False
                break
            print(f"OK      {name}")
        return self._clean_up() and is_well

    def discovery(self) -> None:
        """Ask what the service can."""
        config = self._send("GET", "/ServiceProviderConfig", 200)
        for feature in ("patch", "filter"):
            _expect(config.get(feature, {}).get("supported"), True, f"{feature}.supported")
        types = self._send("GET", "/ResourceTypes", 200)
        _expect("User" in [each.get("name") for each in _resources(types)], True, "type User")
        schemas = self._send("GET", "/Schemas", 200)
        ids = [each.get("id") for each in _resources(schemas)]
        _expect(f"{_CORE}:User" in ids, True, "schema User")

    def create(self) -> None:
        """Add a user."""
        user = self._send("POST", "/Users", 201, self._user())
        self._paths["Users"] = f"/Users/{user.get('id')}"
        _expect(user.get("userName"), self._name, "userName")
        _expect(user.get("active"), True, "active")

    def create_again(self) -> None:
        """Add the same user, which is refused."""
        error = self._send("POST", "/Users", 409, self._user())
        _expect(error.get("scimType"), "uniqueness", "scimType")

    def filter(self) -> None:
        """Find the user by name, in another letter case."""
        found = self._find("Users")
        _expect(found.get("totalResults"), 1, "totalResults")
        _expect(f"/Users/{_resources(found)[0].get('id')}", self._paths["Users"], "id")

    def patch(self) -> None:
        """Change an attribute."""
        operation = {"op": "replace", "path": "displayName", "value": "SCIM check, changed"}
        user = self._patch("Users", operation)
        _expect(user.get("displayName"), "SCIM check, changed", "displayName")

    def deactivate(self) -> None:
        """Deactivate the user, in Entra's words."""
        user = self._patch("Users", {"op": "Replace", "path": "active", "value": "False"})
        _expect(user.get("active"), False, "active")

    def read_inactive(self) -> None:
        """Read the user, who is still there."""
        _expect(self._send("GET", self._paths["Users"], 200).get("active"), False, "active")

    def delete(self) -> None:
        """Remove the user."""
        self._delete("Users")

    def groups(self) -> None:
        """Add a group with the user, take the user out, and remove the group.

        :raises Skipped: the key may not, as that of a provider that pushes no groups.
        """
        member = {"value": self._paths["Users"].rpartition("/")[2]}
        group = {"schemas": [f"{_CORE}:Group"], "displayName": self._name, "members": [member]}
        added = self._send("POST", "/Groups", 201, group, also=403)
        if "id" not in added:
            raise Skipped(added.get("detail"))
        self._paths["Groups"] = f"/Groups/{added['id']}"
        _expect([each.get("value") for each in added["members"]], [member["value"]], "members")
        operation = {"op": "Remove", "path": "members", "value": [{"$ref": None, **member}]}
        _expect(self._patch("Groups", operation).get("members", []), [], "members")
        self._delete("Groups")

    def _delete(self, endpoint: str) -> None:
        path = self._paths[endpoint]
        self._send("DELETE", path, 204)
        self._send("GET", path, 404)
        del self._paths[endpoint]

    def _clean_up(self) -> bool:
        """Remove what a step has left, also where its id never came back."""
        return all([self._remove("Groups"), self._remove("Users")])

    def _remove(self, endpoint: str) -> bool:
        path = self._paths.get(endpoint)
        try:
            if path is None and (found := _resources(self._find(endpoint))):
                path = f"/{endpoint}/{found[0].get('id')}"
            if path:
                self._send("DELETE", path, 204, also=404)
        except Failed as error:
            if path:
                print(f"{path} ({self._name}) is still there, and must be removed: {error}")
                return False
        return True

    def _user(self) -> dict[str, Any]:
        email = {"value": self._name, "type": "work", "primary": True}
        return {
            "schemas": [f"{_CORE}:User"],
            "userName": self._name,
            "displayName": "SCIM check",
            "emails": [email],
            "active": True,
        }

    def _find(self, endpoint: str) -> dict[str, Any]:
        condition = quote(f'{_NAMES[endpoint]} eq "{self._name.upper()}"')
        return self._send("GET", f"/{endpoint}?filter={condition}", 200)

    def _patch(self, endpoint: str, operation: dict[str, Any]) -> dict[str, Any]:
        body = {"schemas": [_PATCH], "Operations": [operation]}
        return self._send("PATCH", self._paths[endpoint], 200, body)

    def _send(
        self, method: str, path: str, status: int, body: Any = None, also: int | None = None
    ) -> dict[str, Any]:
        """Return the JSON object of a response; empty, if it has no body.

        :param status: the expected one; ``also``: another one.
        :raises Failed: there was no response, or another one.
        """
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/scim+json"}
        content = None
        if body is not None:
            content, headers["Content-Type"] = orjson.dumps(body), "application/scim+json"
        try:
            connection = kind(self._parts.netloc.rpartition("@")[2], timeout=SECONDS)
            connection.request(method, self._parts.path + path, content, headers)
            response = connection.getresponse()
            text = response.read()
            connection.close()
        except (OSError, HTTPException, ValueError) as error:
            raise Failed(f"{method} {path}: no answer ({error}).") from error
        try:
            answer = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            answer = None
        if response.status not in (status, also) or not isinstance(answer, dict):
            said = answer.get("detail") if isinstance(answer, dict) else None
            raise Failed(
                f"{method} {path}: expected {status}, got {response.status} {response.reason}."
                f" {said or text[:200].decode(errors='replace')}".rstrip()
            )
        return answer


def _resources(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.get("Resources") or []
    return found


def _expect(value: Any, expected: Any, name: str) -> None:
    if value != expected:
        raise Failed(f"{name}: expected {expected!r}, got {value!r}.")

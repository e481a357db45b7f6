"""What the tests of SCIM stand on: a client with an API key."""

import json
from typing import Any

from project import db
from project.api.auth import service as auth
from project.database import in_transaction
from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.web.guard import SCOPES_OF_ROLE, Principal

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class SCIMTestCase(BaseTestCase):
    """Requests by an API key of a service account, whose id is 1."""

    account = {"username": "provisioning", "email": "provisioning@example.com", "role": "editor"}
    scopes = ("users:read", "users:write", "groups:read", "groups:write")

    def setUp(self) -> None:
        super().setUp()
        self.key = self.make_key(*self.scopes, **self.account)

    def make_key(self, *scopes: str, **account: Any) -> str:
        """Return the API key of a new user."""
        user = make_user(active=True, **account)
        who = Principal(user.id, user.username, user.role, SCOPES_OF_ROLE[user.role])
        key: str = in_transaction(auth.create_key)(who, "scim", list(scopes), None).key
        db.session.remove()
        return key

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request below ``/scim/v2``.

        :param headers: with underscores for hyphens.
        """
        sent = {"Authorization": f"Bearer {self.key}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {}
        if body is not None:
            sent.setdefault("Content-Type", "application/scim+json")
            options["data"] = json.dumps(body)  # deeper than orjson writes
        return self.client.open(f"/scim/v2{path}", method=method, headers=sent, **options)

    def create(self, **attributes: Any) -> dict[str, Any]:
        """Add a user; return what the service has answered."""
        answer = self.call("POST", "/Users", {"schemas": [USER], **attributes})
        self.assertEqual(answer.status_code, 201, answer.text)
        return answer.json  # type: ignore[no-any-return]

    def find(self, condition: str, path: str = "/Users") -> list[str]:
        """Return the ids of the users, or of others, whom a filter finds."""
        answer = self.client.get(
            f"/scim/v2{path}",
            query_string={"filter": condition},
            headers={"Authorization": f"Bearer {self.key}"},
        )
        self.assertEqual(answer.status_code, 200, answer.text)
        return [each["id"] for each in answer.json["Resources"]]

    def patch(self, user_id: str, *operations: dict[str, Any], status: int = 200) -> dict[str, Any]:
        """Send a PATCH; return what the service has answered."""
        body = {"schemas": [PATCH_OP], "Operations": list(operations)}
        answer = self.call("PATCH", f"/Users/{user_id}", body)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer.json  # type: ignore[no-any-return]

    def create_group(self, *members: Any, **attributes: Any) -> dict[str, Any]:
        """Add a group; return what the service has answered.

        :param members: ids of users.
        """
        body = {"schemas": [GROUP], "members": [{"value": str(each)} for each in members]}
        answer = self.call("POST", "/Groups", {**body, **attributes})
        self.assertEqual(answer.status_code, 201, answer.text)
        return answer.json  # type: ignore[no-any-return]

    def group(self, group_id: str) -> dict[str, Any]:
        """Return a group as it is now."""
        return self.call("GET", f"/Groups/{group_id}").json  # type: ignore[no-any-return]

    def member_ids(self, group_id: str) -> list[str]:
        """Return the ids of the members of a group."""
        return [each["value"] for each in self.group(group_id)["members"]]

    def patch_group(
        self, group_id: str, *operations: dict[str, Any], status: int = 200, **headers: str
    ) -> Any:
        """Send a PATCH of a group; return the answer."""
        body = {"schemas": [PATCH_OP], "Operations": list(operations)}
        answer = self.call("PATCH", f"/Groups/{group_id}", body, **headers)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer

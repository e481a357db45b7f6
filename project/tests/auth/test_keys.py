"""Who looks after whose API keys, and how many there may be."""

import io
from contextlib import redirect_stdout
from typing import Any

from project import db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.models import APIKey
from project.clock import utcnow
from project.commands import accounts
from project.tests.auth.test_views import ADA, AuthTestCase
from project.tests.factories import make_user
from project.tests.users.test_views import together

KEY = {"name": "robot", "scopes": ["users:read"]}


class KeysTestCase(AuthTestCase):
    """Has Ada, who has a key, and an administrator."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        self.set_role("viewer")
        self.key = self.make_key(self.token)
        self.admin = self.register(email="boss@example.com", username="Boss")
        self.set_role("admin", "boss@example.com")

    def make_key(self, token: str, *scopes: str) -> str:
        """Make a key."""
        body = {"name": "robot", "scopes": scopes or ["users:read"]}
        response = self.call("POST", "/auth/keys", token, json=body)
        self.assertEqual(response.status_code, 201, response.text)
        return str(response.json["data"]["key"])

    def fill(self, user_id: int, count: int = auth.KEYS_PER_USER) -> None:
        """Let a user have so many keys, all expired."""
        held = len(auth.list_keys(user_id))
        now = utcnow()
        db.session.add_all(
            APIKey(
                user_id=user_id,
                name="old",
                prefix="x",
                key_hash=f"{user_id} {number}",
                scopes=["users:read"],
                created_at=now,
                expires_at=now,
            )
            for number in range(count - held)
        )
        db.session.commit()


class AdministratorTests(KeysTestCase):
    """An administrator, or a machine that has the scope, and the keys of others."""

    def listed(self, token: str, user: str) -> Any:
        """Ask for the keys of a user."""
        return self.call("GET", f"/auth/keys?user={user}", token)

    def test_administrator_lists_and_revokes_the_keys_of_others(self):
        for name in ["token", "key"]:
            admin = self.admin if name == "token" else self.make_key(self.admin, "admin")
            key = self.key if name == "token" else self.make_key(self.token)
            with self.subTest(name):
                (listed,) = self.listed(admin, "1").json["data"]["keys"]
                self.assertEqual(listed["prefix"], key[:12])
                self.assertIs(listed["suspended"], False)

                response = self.call("DELETE", f"/auth/keys/{listed['id']}", admin)

                self.assertEqual(response.status_code, 200)
                self.assertEqual(self.status(key), 401)
                actor = "user:2" if name == "token" else f"key:{listed['id'] - 1}"
                event = audit.list_events(1, user_id=1, actor=actor)[0]
                self.assertEqual((event.action, event.before["id"]), ("key.removed", listed["id"]))

    def test_nobody_else_does(self):
        self.make_key(self.admin)
        write = self.make_key(self.admin, "users:read", "users:write")

        self.assertEqual(self.listed(self.token, "2").status_code, 403)
        self.assertEqual(self.listed(self.token, "99").status_code, 403)
        self.assertEqual(self.call("DELETE", "/auth/keys/2", self.token).status_code, 404)
        for path in ["/auth/keys", "/auth/keys?user=1", "/auth/keys?user=2"]:
            self.assertEqual(self.call("GET", path, write).status_code, 403)
        self.assertEqual(self.call("DELETE", "/auth/keys/1", write).status_code, 403)
        self.assertEqual(len(auth.list_keys()), 3)

    def test_own_keys_are_listed_by_id_too(self):
        self.assertEqual(len(self.listed(self.token, "1").json["data"]["keys"]), 1)

    def test_user_who_is_not_there_is_not_found(self):
        for user in ["99", "0", "9999999999"]:
            self.assertEqual(self.listed(self.admin, user).status_code, 404)

    def test_wrong_parameter_is_refused_by_name(self):
        for query, field in [("user=x", "user"), ("user=", "user"), ("owner=1", "owner")]:
            with self.subTest(query):
                response = self.call("GET", f"/auth/keys?{query}", self.admin)

                self.assertEqual(response.status_code, 400)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])

    def test_key_that_is_not_there_is_not_found(self):
        for key_id in ["99", "0", "-1", "9" * 40]:
            for method, body in [("DELETE", None), ("PATCH", {"suspended": False})]:
                response = self.call(method, f"/auth/keys/{key_id}", self.admin, json=body)

                self.assertEqual(response.status_code, 404)


class LimitTests(KeysTestCase):
    """50 keys a user."""

    def test_one_more_is_refused_until_one_is_removed(self):
        self.fill(1)

        response = self.call("POST", "/auth/keys", self.token, json=KEY)

        self.assertEqual(response.status_code, 409)
        self.assertEqual(
            response.json["message"],
            "A user can have at most 50 API keys, including expired ones. Remove one first.",
        )
        with self.assertRaisesRegex(SystemExit, "at most 50"):
            accounts.create_key(ADA["email"], "robot", ["users:read"], None)
        self.make_key(self.admin)
        self.call("DELETE", "/auth/keys/1", self.token)
        self.make_key(self.token)

    def test_requests_at_once_do_not_get_past_it(self):
        self.fill(1, 48)
        headers = {"Authorization": f"Bearer {self.token}"}

        answers = together(self.app, [("POST", "/auth/keys", KEY, headers)] * 6)

        self.assertEqual(sorted(answers), [201, 201, 409, 409, 409, 409])
        self.assertEqual(len(auth.list_keys(1)), 50)


class CommandTests(KeysTestCase):
    """list_keys and revoke_key."""

    def printed(self, command: Any, *arguments: Any) -> str:
        """Return what a command prints."""
        with redirect_stdout(io.StringIO()) as output:
            command(*arguments)
        return output.getvalue()

    def test_keys_are_lines(self):
        self.make_key(self.admin, "users:read", "admin")
        self.call("PATCH", "/users/1", self.admin, json={"active": False})
        (ada, boss) = auth.list_keys()
        then = f"{ada.created_at.isoformat()}Z"

        lines = self.printed(accounts.list_keys, None).splitlines()

        self.assertEqual(
            [line.split("\t") for line in lines],
            [
                "id prefix name user scopes created expires used suspended".split(),
                ["1", ada.prefix, "robot", "user:1", "users:read", then, "-", "-", "yes"],
                ["2", boss.prefix, "robot", "user:2", "admin,users:read",
                 f"{boss.created_at.isoformat()}Z", "-", "-", "no"],
            ],
        )  # fmt: skip
        one = self.printed(accounts.list_keys, "ADA@example.com").splitlines()
        self.assertEqual(one, lines[:2])
        with self.assertRaises(SystemExit):
            accounts.list_keys("nobody@example.com")

    def test_name_steers_no_terminal(self):
        user = make_user()
        key = APIKey(user_id=user.id, name="\x1b[2J\t", prefix="x", key_hash="y", scopes=["admin"])
        key.created_at = utcnow()
        db.session.add(key)
        db.session.commit()

        printed = self.printed(accounts.list_keys, user.email)

        self.assertIn(r"\x1b[2J\t", printed)

    def test_key_is_revoked(self):
        printed = self.printed(accounts.revoke_key, 1)

        self.assertEqual(printed, "robot of user:1 was removed.\n")
        self.assertEqual(self.status(self.key), 401)
        (event,) = audit.list_events(1, actor="command:revoke_key")
        self.assertEqual((event.action, event.user_id), ("key.removed", 1))
        with self.assertRaisesRegex(SystemExit, "API key does not exist"):
            accounts.revoke_key(1)

"""What an API key may not do to administrators, and to its own account, through every door."""

from collections.abc import Callable
from typing import Any

from project import db
from project.api.auth import service as auth
from project.api.models import User
from project.api.users import errors
from project.database import in_transaction
from project.tests.auth.test_views import AuthTestCase
from project.tests.factories import all_users, make_user
from project.web.guard import SCOPES_OF_ROLE, Principal

BY_KEY = errors.OnlyByAdministrators.by_key
OWN = errors.KeyOwnAccount.message

Door = Callable[[str, User], Any]


class KeyTestCase(AuthTestCase):
    """Has an administrator, and a machine's account with keys."""

    def setUp(self) -> None:
        super().setUp()
        self.boss = make_user(username="Boss", active=True, role="admin", password_hash="x")
        self.robot = make_user(username="Robot", active=True, role="admin")
        self.app.config["ACCESS"] = "protected"

    def key(self, *scopes: str, user: User | None = None) -> str:
        """Make a key, of the machine's account unless another is named."""
        user = user or self.robot
        who = Principal(user.id, user.username, user.role, SCOPES_OF_ROLE[user.role])
        made = in_transaction(auth.create_key)(who, "key", scopes, None)
        return str(made.key)

    def send(self, method: str, **changes: Any) -> Door:
        """Return what sends a request about one user."""

        def door(key: str, user: User) -> Any:
            body = {"username": user.username, "email": user.email, **changes}
            body = changes if method == "PATCH" else body
            return self.call(method, f"/users/{user.id}", key, json=body)

        return door

    def import_row(self, key: str, user: User, query: str = "", active: str = "false") -> Any:
        """Send a file with one row, which deactivates the user."""
        return self.call(
            "POST",
            f"/users/import{query}",
            key,
            data=f"username,email,active\nNew,{user.email},{active}\n",
            content_type="text/csv",
        )


class AdministratorsTests(KeyTestCase):
    """Administrators are changed and removed by keys with the scope ``admin`` only."""

    def test_every_door_refuses_and_says_what_it_takes(self):
        doors = {
            "PATCH": self.send("PATCH", username="New"),
            "PATCH active": self.send("PATCH", active=False),
            "PUT": self.send("PUT", username="New"),
            "DELETE": self.send("DELETE"),
        }
        key, before = self.key("users:read", "users:write"), all_users()
        for access in ("protected", "open"):
            self.app.config["ACCESS"] = access
            for name, door in doors.items():
                with self.subTest(name, access=access):
                    response = door(key, self.boss)

                    self.assertEqual(response.status_code, 403)
                    self.assertEqual(response.json["message"], BY_KEY)
                    self.assertIn("scope admin", BY_KEY)
        report = self.import_row(key, self.boss).json["data"]
        self.assertEqual((report["updated"], report["failed"]), (0, 1))
        self.call(
            "POST",
            "/users/import?deactivate_missing=true&max_deactivate=9",
            key,
            data="username,email\nNew,new@example.com\n",
            content_type="text/csv",
        )
        self.assertEqual(all_users()[: len(before)], before)

    def test_key_with_the_scope_may(self):
        key = self.key("users:write", "admin")

        for door in [self.send("PATCH", username="New"), self.send("DELETE")]:
            boss = make_user(active=True, role="admin")
            self.assertEqual(door(key, boss).status_code, 200)

    def test_scope_counts_only_while_the_user_is_an_administrator(self):
        key = self.key("users:write", "admin")
        self.robot.role = "editor"
        db.session.commit()

        self.assertEqual(self.send("DELETE")(key, self.boss).json["message"], BY_KEY)


class OwnAccountTests(KeyTestCase):
    """A key neither deactivates nor removes the account that it belongs to."""

    def test_every_door_refuses(self):
        doors = {
            "PATCH": self.send("PATCH", active=False),
            "PUT": self.send("PUT", active=False),
            "DELETE": self.send("DELETE"),
        }
        for scopes, role in [(["users:write"], "editor"), (["users:write", "admin"], "admin")]:
            self.robot.role = role
            db.session.commit()
            key, before = self.key(*scopes), all_users()
            for name, door in doors.items():
                with self.subTest(name, role=role):
                    response = door(key, self.robot)

                    self.assertEqual(response.status_code, 403)
                    self.assertEqual(response.json["message"], OWN)
                    self.assertEqual(all_users(), before)

    def test_import_refuses_the_row(self):
        self.robot.role = "editor"
        db.session.commit()
        key, before = self.key("users:write"), all_users()
        for query in ("", "?dry_run=true"):
            report = self.import_row(key, self.robot, query).json["data"]

            self.assertEqual([row["reason"] for row in report["rows"]], [OWN])
            self.assertEqual(all_users(), before)
        self.assertEqual(self.import_row(key, self.robot, active="true").json["data"]["updated"], 1)

    def test_other_changes_and_other_callers_may(self):
        self.robot.role = "editor"
        db.session.commit()
        key = self.key("users:write")

        change = {"username": "Robby", "active": True}
        self.assertEqual(self.send("PATCH", **change)(key, self.robot).status_code, 200)
        other = self.key("users:write", user=self.boss)
        self.assertEqual(self.send("PATCH", active=False)(other, self.robot).status_code, 200)
        self.assertEqual(self.send("DELETE")(other, self.robot).status_code, 200)

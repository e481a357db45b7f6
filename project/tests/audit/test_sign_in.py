"""What is recorded of sign-ins and API keys."""

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from unittest import mock

from project import db
from project.api.auth import principals
from project.api.models import APIKey
from project.clock import utcnow
from project.commands import accounts
from project.database import thread_connection
from project.tests.audit.base import PASSWORD, AuditTestCase
from project.tests.commands.base import CommandTestCase

KEY = {"name": "robot", "scopes": ["users:read", "users:write"]}


class SignInEventTests(AuditTestCase):
    """Sign-ins, their failures and their ends."""

    def log_in(self, **changes: str) -> Any:
        """Sign in as Ada, or not quite."""
        body = {"email": "ada@example.com", "password": PASSWORD, **changes}
        return self.client.post("/auth/login", json=body)

    def test_registration_is_one_event(self):
        [event] = self.recorded(self.sign_in, "ada")

        self.assertEqual((event.actor, event.action), ("anonymous", "user.created"))
        self.assertEqual(event.user_id, 1)

    def test_sign_in_is_the_users_own(self):
        self.sign_in("ada")

        [event] = self.recorded(self.log_in)

        self.assertEqual((event.actor, event.action), ("user:1", "session.started"))
        self.assertEqual((event.user_id, event.before, event.after), (1, None, None))

    def test_failed_sign_in_names_the_account_and_nothing_that_was_typed(self):
        self.sign_in("ada")
        self.sign_in("inactive")
        self.client.patch("/users/2", json={"active": False})
        typed = "My Secret 1"
        for changes, user_id in [
            ({"password": typed}, 1),
            ({"email": "inactive@example.com"}, 2),
            ({"email": typed}, None),
            ({"email": "nobody@example.com", "password": typed}, None),
        ]:
            with self.subTest(changes):
                [event] = self.recorded(self.log_in, **changes)

                self.assertEqual((event.actor, event.action), ("anonymous", "session.failed"))
                self.assertEqual((event.user_id, event.before, event.after), (user_id, None, None))
        self.assertNotIn(typed, str(self.events()))
        self.assertNotIn("nobody", str(self.events()))

    def test_attempt_that_must_wait_leaves_none(self):
        statuses: dict[int, list[int]] = {}
        for _ in range(9):
            there = len(self.events())
            status = self.log_in(password="wrong").status_code
            statuses.setdefault(status, []).append(len(self.events()) - there)

        self.assertEqual(set(statuses), {401, 429})
        self.assertEqual((set(statuses[401]), set(statuses[429])), ({1}, {0}))

    def test_end_is_recorded_once(self):
        token = self.sign_in("ada")
        for method, status, actions in [("GET", 200, ["session.ended"]), ("POST", 401, [])]:
            there = len(self.events())
            response = self.call(method, "/auth/logout", token)

            self.assertEqual(response.status_code, status)
            events = self.events()[there:]
            self.assertEqual([event.action for event in events], actions)
            self.assertTrue(all(event.actor == "user:1" for event in events))

    def test_signing_out_on_the_page_is_the_users_own(self):
        self.sign_in("ada")
        self.client.post("/sign-in", data={"email": "ada@example.com", "password": PASSWORD})

        [event] = self.recorded(self.client.post, "/sign-out")

        self.assertEqual((event.actor, event.action), ("user:1", "session.ended"))
        self.assertEqual(event.user_id, 1)

    def test_own_new_password_is_a_change_of_the_user(self):
        token = self.sign_in("ada")
        body = {"current_password": PASSWORD, "password": f"{PASSWORD}!"}

        [event] = self.recorded(self.call, "POST", "/auth/password", token, json=body)

        self.assertEqual((event.actor, event.action), ("user:1", "user.updated"))
        self.assertEqual(event.after, {"password": "changed"})


class KeyEventTests(AuditTestCase, CommandTestCase):
    """API keys: made, used, removed."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.sign_in("ada", "editor")

    def make(self) -> str:
        """Make a key."""
        return str(self.call("POST", "/auth/keys", self.token, json=KEY).json["data"]["key"])

    def test_key_is_recorded_by_its_id_and_without_its_secret(self):
        [created] = self.recorded(self.make)
        [removed] = self.recorded(self.call, "DELETE", "/auth/keys/1", self.token)

        self.assertEqual((created.actor, created.action), ("user:1", "key.created"))
        self.assertEqual((created.user_id, created.before), (1, None))
        self.assertEqual(created.after, {"id": 1, **KEY})
        self.assertEqual((removed.actor, removed.action), ("user:1", "key.removed"))
        self.assertEqual((removed.user_id, removed.after), (1, None))
        self.assertEqual(removed.before, {"id": 1, **KEY})
        self.assertNotIn("usk_", str(self.events()))

    def test_use_is_recorded_when_it_is_written(self):
        key, now = self.make(), utcnow()
        for seconds, uses in [(0, 1), (59, 0), (60, 1)]:
            moment = now + timedelta(seconds=seconds)
            with mock.patch.object(principals, "utcnow", return_value=moment):
                events = self.recorded(self.call, "GET", "/auth/status", key)

            found = [(event.actor, event.action, event.user_id) for event in events]
            self.assertEqual(found, [("key:1", "key.used", 1)] * uses)

    def test_use_is_written_on_a_new_connection_when_the_old_one_is_dead(self):
        key = self.make()
        dead: Any = thread_connection(db.engine).connection.driver_connection
        dead.close()

        [event] = self.recorded(self.call, "GET", "/auth/status", key)

        self.assertEqual(event.action, "key.used")

    def test_use_by_many_at_once_is_recorded_once(self):
        key, barrier = self.make(), Barrier(8)
        statuses: list[int] = []

        def use() -> None:
            client = self.app.test_client()
            barrier.wait()
            response = client.get("/auth/status", headers={"Authorization": f"Bearer {key}"})
            statuses.append(response.status_code)

        def use_at_once() -> None:
            threads = [Thread(target=use) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        events = self.recorded(use_at_once)

        self.assertEqual(statuses, [200] * 8)
        self.assertEqual([event.action for event in events], ["key.used"])

    def test_what_a_key_does_is_the_keys(self):
        key = self.make()

        used, updated = self.recorded(
            self.call, "PATCH", "/users/1", key, json={"username": "Ada L."}
        )

        self.assertEqual((used.action, updated.action), ("key.used", "user.updated"))
        self.assertEqual((updated.actor, updated.user_id), ("key:1", 1))

    def test_commands_are_named(self):
        password = self.enterContext(mock.patch("project.commands.accounts._read_password"))
        password.return_value = PASSWORD
        admin, key = ("Bea", "bea@example.com"), ("bea@example.com", "cron", ["users:read"], None)
        for name, arguments, action in [
            ("create_admin", (*admin, False, None), "user.created"),
            ("set_password", (admin[1], False, None), "user.updated"),
            ("create_key", key, "key.created"),
        ]:
            command = getattr(accounts, name)
            [event] = self.recorded(self.printed, command, *arguments)

            self.assertEqual((event.actor, event.action), (f"command:{name}", action))
            self.assertEqual((event.user_id, event.request_id, event.address), (2, None, None))
        self.assertEqual(db.session.query(APIKey).one().user_id, 2)

"""Deactivation of a user: it ends sign-ins for good, and suspends keys until they are resumed."""

import io
from contextlib import redirect_stdout
from threading import Thread
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.auth import tokens
from project.api.models import Session, User
from project.api.transfer.importing import import_users
from project.api.transfer.stream import Row
from project.api.users import service as users
from project.commands import accounts
from project.database import in_transaction
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.base import Protected
from project.tests.factories import make_user
from project.tests.users.test_pages import find

AS_PERSON = {"Accept": "text/html"}
KEY = {"name": "robot", "scopes": ["users:read"]}


class DeactivationTestCase(AuthTestCase):
    """Has Ada with a token, a cookie and a key, and an administrator."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        self.set_role("viewer")
        self.browser = self.app.test_client()
        self.browser.post("/sign-in", data={"email": ADA["email"], "password": PASSWORD})
        self.key = self.call("POST", "/auth/keys", self.token, json=KEY).json["data"]["key"]
        self.admin = self.register(email="boss@example.com", username="Boss")
        self.set_role("admin", "boss@example.com")

    def good(self) -> tuple[int, int, int]:
        """Return what the token, the cookie and the key are answered."""
        page = self.browser.get("/", headers=AS_PERSON)
        return self.status(self.token), page.status_code, self.status(self.key)

    def patch(self, **changes: Any) -> None:
        """Change Ada as the administrator."""
        response = self.call("PATCH", "/users/1", self.admin, json=changes)
        self.assertEqual(response.status_code, 200, response.text)

    def actions(self) -> list[str]:
        """Return what was recorded, the oldest first."""
        return [event.action for event in reversed(audit.list_events(99))]


class EndTests(DeactivationTestCase):
    """What a deactivation ends, whatever the way."""

    def put(self, active: bool) -> None:
        """Replace Ada."""
        body = {"username": "Ada", "email": ADA["email"], "active": active}
        self.assertEqual(self.call("PUT", "/users/1", self.admin, json=body).status_code, 200)

    def edit(self, active: bool) -> None:
        """Edit Ada on the page."""
        browser = self.app.test_client()
        browser.post("/sign-in", data={"email": "boss@example.com", "password": PASSWORD})
        page = browser.get("/user/1").text
        version = find('name="version"[^>]*value="([^"]*)"', page)
        form = {"username": "Ada", "email": ADA["email"], "version": version}
        response = browser.post("/user/1", data={**form, **({"active": "y"} if active else {})})
        self.assertEqual(response.status_code, 303, response.text)

    def import_row(self, *active: bool) -> None:
        """Import Ada."""
        ada = {"username": "Ada", "email": ADA["email"]}
        rows = [Row(line, {**ada, "active": each}) for line, each in enumerate(active)]
        for _ in import_users(rows):
            pass

    def test_what_was_there_before_is_dead_for_good(self):
        ways: dict[str, Any] = {
            "PATCH": lambda active: self.patch(active=active),
            "PUT": self.put,
            "the page": self.edit,
            "import": self.import_row,
        }
        for way, set_active in ways.items():
            with self.subTest(way):
                token = self.log_in().json["auth_token"]
                in_transaction(auth.resume_key)(1)
                self.assertEqual((self.status(token), self.status(self.key)), (200, 200))

                set_active(False)
                self.assertEqual((self.status(token), self.status(self.key)), (401, 401))
                self.assertEqual(db.session.query(Session).filter_by(user_id=1).count(), 0)
                set_active(True)

                self.assertEqual((self.status(token), *self.good()), (401, 401, 303, 401))
                self.assertEqual(self.log_in().status_code, 200)

    def test_import_that_takes_a_deactivation_back_ends_all_too(self):
        self.import_row(False, True)

        self.assertEqual(self.good(), (401, 303, 401))
        self.assertEqual(self.log_in().status_code, 200)

    def test_what_is_left_in_the_database_is_dead_too(self):
        with mock.patch.object(users, "_after_deactivation", []):
            self.patch(active=False)
            self.patch(active=True)

        self.assertEqual(db.session.query(Session).filter_by(user_id=1).count(), 2)
        self.assertEqual(self.good(), (401, 303, 401))

    def test_other_changes_end_nothing(self):
        self.patch(username="Ada L.", active=True)
        self.import_row(True)

        self.assertEqual(self.good(), (200, 200, 200))

    def test_user_who_was_inactive_already_is_not_deactivated_again(self):
        self.patch(active=False)
        self.patch(active=False)
        self.put(False)
        self.import_row(False)

        self.assertEqual(db.session.get_one(User, 1).deactivations, 1)


class MeanwhileTests(DeactivationTestCase):
    """Requests under way when their caller is deactivated, and active again at once."""

    def setUp(self) -> None:
        super().setUp()
        self.threads: list[Thread] = []
        self.addCleanup(self.wait)

    def wait(self) -> None:
        """Wait until all deactivations are done."""
        for thread in self.threads:
            thread.join()

    def deactivated_before(self, work: Any) -> Any:
        """Return a function that does the same when Ada's deactivation has been sent."""

        def run(*arguments: Any, **options: Any) -> Any:
            self.threads.append(Thread(target=self.deactivate))
            self.threads[-1].start()
            self.threads[-1].join(0.3)  # where the user's row is locked, it has to wait
            return work(*arguments, **options)

        return run

    def deactivate(self) -> None:
        """Deactivate Ada, and activate her."""
        self.patch(active=False)
        self.patch(active=True)

    def test_sign_in_is_over(self):
        with mock.patch.object(auth, "_sign_in", self.deactivated_before(auth._sign_in)):
            response = self.log_in()
        self.wait()

        self.assertEqual(response.status_code, 200)
        self.assertEqual(self.status(response.json["auth_token"]), 401)

    def test_key_of_a_sign_in_that_is_over_is_not_made(self):
        with mock.patch.object(auth, "create_key", self.deactivated_before(auth.create_key)):
            response = self.call("POST", "/auth/keys", self.token, json=KEY)

        self.assertEqual(response.status_code, 401)
        self.assertEqual(len(auth.list_keys(1)), 1)

    def test_key_that_is_being_made_is_suspended_then(self):
        with mock.patch.object(tokens, "make_key", self.deactivated_before(tokens.make_key)):
            made = self.call("POST", "/auth/keys", self.token, json=KEY).json["data"]
        self.wait()

        self.assertIs(made["suspended"], False)
        self.assertEqual(self.status(made["key"]), 401)

    def test_write_is_finished_and_the_next_is_refused(self):
        self.set_role("editor")
        key = {"name": "writer", "scopes": ["users:write"]}
        made = self.call("POST", "/auth/keys", self.token, json=key).json["data"]
        for credentials in (self.token, made["key"]):
            in_transaction(auth.resume_key)(made["id"])
            paths = [f"/users/{make_user().id}" for _ in range(2)]

            with mock.patch.object(
                users, "delete_user", self.deactivated_before(users.delete_user)
            ):
                answers = [self.call("DELETE", path, credentials).status_code for path in paths]

            self.assertEqual(answers, [200, 401])


class ResumeTests(DeactivationTestCase):
    """Who may let a key be good again, and how."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(active=False)
        self.patch(active=True)
        self.token = self.log_in().json["auth_token"]

    def resume(self, token: str, key_id: int = 1, body: Any = None) -> Any:
        """Ask for it."""
        sent = {"suspended": False} if body is None else body
        return self.call("PATCH", f"/auth/keys/{key_id}", token, json=sent)

    def listed(self) -> bool:
        """Return whether the key is listed as suspended."""
        (key,) = self.call("GET", "/auth/keys", self.token).json["data"]["keys"]
        return bool(key["suspended"])

    def test_owner_and_administrator_resume_a_key_by_name(self):
        for who in ("token", "admin"):
            with self.subTest(who):
                self.patch(active=False)
                self.patch(active=True)
                self.token = self.log_in().json["auth_token"]
                self.assertEqual((self.listed(), self.status(self.key)), (True, 401))

                response = self.resume(getattr(self, who))

                self.assertEqual(response.status_code, 200)
                self.assertIs(response.json["data"]["suspended"], False)
                self.assertEqual((self.listed(), self.status(self.key)), (False, 200))
        event = audit.list_events(1, user_id=1, actor="user:2")[0]
        self.assertEqual(event.action, "key.resumed")
        self.assertEqual(event.after, {"id": 1, "name": "robot", "scopes": ["users:read"]})

    def test_key_that_is_not_suspended_stays_as_it_is(self):
        self.resume(self.token)

        self.assertEqual(self.resume(self.token).status_code, 200)
        self.assertEqual(self.actions().count("key.resumed"), 1)

    def test_nobody_else_resumes_it(self):
        other = self.register(email="other@example.com", username="Other")
        self.patch(active=True)

        self.assertEqual(self.resume(other).status_code, 404)
        self.assertEqual(self.resume(self.key).status_code, 401)
        self.assertEqual(self.resume(self.token, 99).status_code, 404)
        self.assertEqual(self.status(self.key), 401)

    def test_anything_else_is_refused_by_name(self):
        for body, field in [
            ({}, "suspended"),
            ({"suspended": True}, "suspended"),
            ({"suspended": None}, "suspended"),
            ({"suspended": 0}, "suspended"),
            ({"suspended": False, "name": "x"}, "name"),
        ]:
            with self.subTest(body):
                response = self.resume(self.token, body=body)

                self.assertEqual(response.status_code, 400)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])

    def test_command_resumes_it(self):
        with redirect_stdout(io.StringIO()) as output:
            accounts.resume_key(1)

        self.assertEqual(output.getvalue(), "robot of user:1 is not suspended.\n")
        self.assertEqual(self.status(self.key), 200)
        (event,) = audit.list_events(1, actor="command:resume_key")
        self.assertEqual((event.action, event.user_id), ("key.resumed", 1))
        with self.assertRaises(SystemExit):
            accounts.resume_key(99)

"""Users who change their own email over the API must send their current password."""

from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.auth.throttle import PAIR
from project.api.users import service
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.base import Protected
from project.tests.factories import make_user
from project.web.guard import SCOPES_OF_ROLE, Principal

NEW = "ada@new.example"


class OwnEmailTests(AuthTestCase):
    """PATCH and PUT on one's own record."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()

    def patch(self, body: dict[str, Any], token: str | None = None, user_id: int = 1) -> Any:
        """Send a PATCH."""
        return self.call("PATCH", f"/users/{user_id}", token or self.token, json=body)

    def key(self, user_id: int = 1) -> str:
        """Return an API key that may write."""
        scopes = SCOPES_OF_ROLE["admin"]
        made = auth.create_key(Principal(user_id, "", "admin", scopes), "k", ["users:write"], None)
        db.session.commit()
        return str(made.key)

    def actions(self) -> list[tuple[str, str, int | None]]:
        """Return what was recorded last of refused passwords."""
        return [
            (event.actor, event.action, event.user_id)
            for event in audit.list_events(99)
            if event.action == "password.refused"
        ]

    def test_email_is_changed_with_the_password_only(self):
        for password, message in [
            ({}, "Is required for this change."),
            ({"current_password": ""}, "Is required for this change."),
            ({"current_password": PASSWORD + "."}, "Is incorrect."),
        ]:
            for method, body in [
                ("PATCH", {"email": NEW, **password}),
                ("PUT", {"username": "Ada", "email": NEW, **password}),
            ]:
                with self.subTest(method, password=password):
                    response = self.call(method, "/users/1", self.token, json=body)

                    self.assertEqual(response.status_code, 400)
                    [error] = response.json["errors"]
                    self.assertEqual(error, {"field": "current_password", "message": message})
        self.assertEqual(service.get_user(1).version, 1)

        answer = self.patch({"email": NEW, "current_password": PASSWORD})
        self.assertEqual((answer.status_code, answer.json["data"]["email"]), (200, NEW))
        body = {"username": "Ada", "email": ADA["email"], "current_password": PASSWORD}
        self.assertEqual(self.call("PUT", "/users/1", self.token, json=body).status_code, 200)

    def test_password_that_is_no_text_is_refused_by_name(self):
        for password in [None, 5, ["x"], "x" * 257]:
            response = self.patch({"email": NEW, "current_password": password})

            self.assertEqual(response.status_code, 400)
            [error] = response.json["errors"]
            self.assertEqual(error["field"], "current_password")

    def test_what_does_not_change_the_email_needs_none(self):
        for body in [
            {"username": "Ada L."},
            {"username": "Ada", "email": ADA["email"]},
            {"email": ADA["email"], "current_password": "whatever"},
            {"current_password": "whatever"},
        ]:
            with self.subTest(body):
                self.assertEqual(self.patch(body).status_code, 200)
        self.assertEqual(self.actions(), [])

    def test_email_that_is_the_same_stays_what_another_makes_of_it(self):
        found = service.get_user(1)
        with mock.patch.object(service, "get_user", return_value=found):
            service.update_user(1, {"email": NEW})
            db.session.commit()

            self.assertEqual(self.patch({"email": ADA["email"]}).status_code, 200)

        self.assertEqual(service.get_user(1).email, NEW)

    def test_every_role_is_asked_and_so_are_their_keys(self):
        for role in ["viewer", "editor", "admin"]:
            self.set_role(role)
            with self.subTest(role):
                self.assertEqual(self.patch({"email": NEW}).status_code, 400)
        self.set_role("editor")
        key = self.key()
        self.assertEqual(self.patch({"email": NEW}, key).status_code, 400)
        self.assertEqual(self.patch({"email": NEW, "current_password": "x"}, key).status_code, 400)
        self.assertEqual(self.actions(), [("key:1", "password.refused", 1)])
        right = {"email": NEW, "current_password": PASSWORD}
        self.assertEqual(self.patch(right, key).status_code, 200)

    def test_who_changes_others_is_not_asked(self):
        self.set_role("editor")
        other = make_user(email="other@example.com").id

        self.assertEqual(self.patch({"email": NEW}, user_id=other).status_code, 200)

    def test_who_has_no_password_needs_somebody_else(self):
        robot = make_user(email="robot@example.com", active=True, role="editor").id
        key = self.key(robot)
        for password in ["", "x"]:
            body = {"email": NEW, "current_password": password}
            response = self.patch(body, key, robot)

            self.assertEqual(response.status_code, 400)
            [error] = response.json["errors"]
            self.assertEqual(error["field"], "current_password")
            self.assertIn("You have no password", error["message"])
        self.assertEqual(self.actions(), [])
        self.set_role("editor")
        self.assertEqual(self.patch({"email": NEW}, user_id=robot).status_code, 200)

    def test_guesses_count_as_those_at_sign_in_and_are_recorded(self):
        wrong = {"email": NEW, "current_password": "wrong"}
        for _ in range(PAIR.free):
            self.assertEqual(self.patch(wrong).status_code, 400)

        right = self.patch({"email": NEW, "current_password": PASSWORD})

        self.assertEqual((right.status_code, right.headers["Retry-After"]), (429, "1"))
        self.assertEqual(self.log_in().status_code, 429)
        change = {"current_password": PASSWORD, "password": "another fine and long one"}
        answer = self.call("POST", "/auth/password", self.token, json=change)
        self.assertEqual(answer.status_code, 429)
        self.assertEqual(self.actions(), [("user:1", "password.refused", 1)] * PAIR.free)

    def test_wrong_password_before_a_new_one_is_recorded(self):
        change = {"current_password": "wrong", "password": "another fine and long one"}

        self.call("POST", "/auth/password", self.token, json=change)

        self.assertEqual(self.actions(), [("user:1", "password.refused", 1)])

    def test_open_access_asks_signed_in_users_for_their_password(self):
        self.app.config["ACCESS"] = "open"

        self.assertEqual(self.patch({"email": NEW}).status_code, 400)
        self.assertEqual(self.client.patch("/users/1", json={"email": NEW}).status_code, 200)

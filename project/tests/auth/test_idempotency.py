"""Stored answers belong to their caller."""

from flask import Flask

from project import create_app
from project.api.users import service
from project.tests.auth.test_views import AuthTestCase
from project.tests.base import Protected

NEW = {"username": "New", "email": "new@example.com"}


class CallersKeyTests(AuthTestCase):
    """Idempotency-Key, with protected access."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def post(self, token: str, body: dict[str, str] = NEW) -> int:
        """Send the request with the key."""
        response = self.call("POST", "/users", token, json=body, headers={"Idempotency-Key": "k"})
        return int(response.status_code)

    def test_key_is_the_callers_own(self):
        tokens = [self.register(email=f"editor{number}@example.com") for number in range(2)]
        for number in range(2):
            self.set_role("editor", f"editor{number}@example.com")

        self.assertEqual(self.post(tokens[0]), 201)
        self.assertEqual(self.post(tokens[0]), 201)
        self.assertEqual(self.post(tokens[1]), 400)
        self.assertEqual(self.post(tokens[1], {**NEW, "email": "other@example.com"}), 422)

    def test_access_is_checked_before_a_stored_answer(self):
        token = self.register()
        self.set_role("editor")
        self.assertEqual(self.post(token), 201)

        self.set_role("viewer")

        self.assertEqual(self.post(token), 403)
        self.assertEqual(self.post("x"), 401)
        self.assertEqual(service.count_users(), 2)

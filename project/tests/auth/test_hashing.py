"""Hashing is nothing that a transaction waits for, and who is not served has done nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import bcrypt
from argon2 import PasswordHasher

from project import db
from project.api.audit import service as audit
from project.api.auth.throttle import PAIR
from project.api.models import IdempotencyKey, SignInAttempts
from project.api.users import passwords
from project.api.users.passwords import TooManyPasswords
from project.commands import accounts
from project.database import thread_connection
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.factories import all_users, make_user

OTHER = "another fine and long one"
NEW = {"username": "New", "email": "new@example.com", "password": OTHER}


class HashingTests(AuthTestCase):
    """Every way to a hash."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        self.set_role("admin")

    def ways(self) -> Iterator[tuple[str, Any]]:
        """Give by name what hashes a password."""
        key = {"Idempotency-Key": "k"}
        imported = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        make_user(email="moved@example.com", active=True, password_hash=imported)
        change = {"current_password": PASSWORD, "password": OTHER}
        email = {"email": "ada@new.example", "current_password": PASSWORD}
        call = self.call
        register = {**ADA, "email": "x@example.com"}
        yield "sign in", self.log_in
        yield "sign in, unknown", lambda: self.log_in("nobody@example.com")
        yield "sign in, hash of another service", lambda: self.log_in("moved@example.com")
        yield "register", lambda: self.client.post("/auth/register", json=register)
        yield "create", lambda: call("POST", "/users", self.token, json=NEW)
        again = {**NEW, "email": "again@example.com"}
        yield (
            "create with a key",
            lambda: call("POST", "/users", self.token, json=again, headers=key),
        )
        yield "update", lambda: call("PATCH", "/users/2", self.token, json={"password": OTHER})
        yield "own email", lambda: call("PATCH", "/users/1", self.token, json=email)
        yield "own password", lambda: call("POST", "/auth/password", self.token, json=change)

    def test_no_transaction_is_under_way_while_one_is_made(self):
        looks: list[bool] = []

        def look(original: Any) -> Any:
            def looking(*arguments: Any) -> Any:
                looks.append(thread_connection(db.engine).in_transaction())
                return original(*arguments)

            return looking

        for name in ["hash", "verify"]:
            original = getattr(PasswordHasher, name)
            self.enterContext(mock.patch.object(PasswordHasher, name, look(original)))
        self.enterContext(mock.patch("bcrypt.checkpw", look(bcrypt.checkpw)))
        for name, way in self.ways():
            with self.subTest(name):
                looks.clear()
                answer = way()

                self.assertLess(answer.status_code, 402, answer.text)
                self.assertEqual(set(looks), {False})
        with mock.patch.object(accounts, "_read_password", return_value=PASSWORD):
            looks.clear()
            accounts.create_admin("Boss", "boss@example.com", False, None)
            accounts.set_password("boss@example.com", False, None)
        self.assertEqual(looks, [False, False])

    def test_who_is_not_served_may_try_again_and_has_changed_nothing(self):
        ways = list(self.ways())
        before = self.state()
        for name, way in ways:
            with self.subTest(name), self.busy():
                answer = way()

                self.assertEqual(answer.status_code, 503)
                self.assertEqual(answer.headers["Retry-After"], "2")
                self.assertEqual(answer.json["message"], TooManyPasswords.message)
                self.assertEqual(self.state(), before)
        for name, way in ways:
            with self.subTest(name):
                self.assertIn(way().status_code, {200, 201, 401})

    def test_attempt_that_is_not_served_does_not_count(self):
        with self.busy():
            for _ in range(PAIR.free + 1):
                self.assertEqual(self.log_in(password="wrong").status_code, 503)

        statuses = [self.log_in(password="wrong").status_code for _ in range(PAIR.free + 1)]
        self.assertEqual(statuses, [401] * PAIR.free + [429])

    def test_page_says_that_the_service_is_busy(self):
        form = {"email": ADA["email"], "password": PASSWORD}
        with self.busy():
            page = self.client.post("/sign-in", data=form, headers={"Accept": "text/html"})

        self.assertEqual(page.status_code, 503)
        self.assertIn(TooManyPasswords.message, page.text)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let no more wait."""
        taken = 0
        while passwords._places.acquire(blocking=False):
            taken += 1
        try:
            yield
        finally:
            passwords._places.release(taken)

    def state(self) -> Any:
        """Return the stored users, sign-ins, keys and counts."""
        counted = [row.failures for row in db.session.query(SignInAttempts) if row.failures]
        keys = db.session.query(IdempotencyKey).count()
        db.session.rollback()
        return all_users(), audit.list_events(99), counted, keys

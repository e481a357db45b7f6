"""Accounts, tokens and API keys, over the wire."""

import hmac
import json
import time
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from typing import Any
from unittest import mock

import bcrypt
import jwt

from project import db
from project.api.auth import principals, tokens
from project.api.auth import service as auth
from project.api.models import APIKey, Session, User
from project.api.users import service
from project.clock import utcnow
from project.config import ProductionConfig
from project.database import in_transaction
from project.tests.base import BaseTestCase
from project.tests.factories import make_user

FREE = {"nbf", "aud"}  # we give none, and those that say nothing do no harm
PASSWORD = "grey otters paddle home at dusk"
ADA = {"username": "Ada", "email": "ada@example.com", "password": PASSWORD}


@contextmanager
def normalised_lengths() -> Iterator[list[int]]:
    """Give a list that fills with the lengths of the texts that are normalised."""
    lengths: list[int] = []
    normalize = unicodedata.normalize

    def record(form: Any, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text[:1000])

    with mock.patch("unicodedata.normalize", record):
        yield lengths


class AuthTestCase(BaseTestCase):
    """Base with helpers to sign in and to call as a user."""

    def register(self, **changes: str) -> str:
        """Make an account; return its token."""
        response = self.client.post("/auth/register", json={**ADA, **changes})
        self.assertEqual(response.status_code, 201, response.text)
        return str(response.json["auth_token"])

    def log_in(self, email: str = ADA["email"], password: str = PASSWORD) -> Any:
        """Return the answer to signing in."""
        return self.client.post("/auth/login", json={"email": email, "password": password})

    def call(self, method: str, path: str, token: str, **options: Any) -> Any:
        """Call with a token, or an API key."""
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **options)

    def status(self, token: str) -> int:
        """Return the status of asking who this is."""
        return int(self.call("GET", "/auth/status", token).status_code)

    def set_role(self, role: str | None, email: str = ADA["email"]) -> None:
        """Give a user a role."""
        user = db.session.query(User).filter_by(email=email).one()
        user.role = role
        db.session.commit()

    def at(self, now: Any) -> Any:
        """Let it be this time for sign-ins."""
        stack = mock.patch.multiple(auth, utcnow=lambda: now)
        return stack


class RegisterTests(AuthTestCase):
    """POST /auth/register."""

    def test_account_is_made_and_signed_in(self):
        response = self.client.post("/auth/register", json=ADA)

        self.assertEqual(response.status_code, 201)
        self.assertEqual(response.json["status"], "success")
        self.assertEqual(response.json["message"], "Successfully registered.")
        status = self.call("GET", "/auth/status", response.json["auth_token"])
        self.assertEqual(status.status_code, 200)
        data = status.json["data"]
        self.assertRegex(data.pop("created_at"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(
            data,
            {"id": 1, "username": "Ada", "email": ADA["email"], "active": True, "role": None},
        )

    def test_taken_email_is_refused(self):
        self.register()

        response = self.client.post("/auth/register", json={**ADA, "email": "ADA@example.com"})

        self.assertEqual(response.status_code, 400)
        self.assertEqual(response.json["message"], "Sorry. That user already exists.")

    def test_bad_payload_is_refused_by_name(self):
        for body, fields in [
            ({}, ["username", "email", "password"]),
            ({**ADA, "password": "too short"}, ["password"]),
            ({**ADA, "password": "ada@example.com is me"}, ["password"]),
            ({**ADA, "password": 123456789012345}, ["password"]),
            ({**ADA, "email": "ada"}, ["email"]),
            ([], ["body"]),
        ]:
            with self.subTest(body):
                response = self.client.post("/auth/register", json=body)

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json["message"], "Invalid payload.")
                self.assertEqual([each["field"] for each in response.json["errors"]], fields)
        self.assertEqual(service.list_users(9), [])

    def test_registration_may_be_switched_off(self):
        self.app.config["REGISTRATION"] = False

        response = self.client.post("/auth/register", json=ADA)

        self.assertEqual(response.status_code, 403)
        self.assertEqual(service.list_users(9), [])

    def test_role_is_not_for_the_asking(self):
        token = self.register(role="admin", active="true")

        self.assertIsNone(self.call("GET", "/auth/status", token).json["data"]["role"])


class LoginTests(AuthTestCase):
    """POST /auth/login."""

    def test_user_signs_in_with_any_spelling_of_the_mailbox(self):
        self.register()

        response = self.log_in("ADA@Example.com")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json["message"], "Successfully logged in.")
        self.assertEqual(self.status(response.json["auth_token"]), 200)

    def test_whatever_is_wrong_gets_one_answer(self):
        self.register()
        make_user(email="nopassword@example.com", active=True)
        self.register(email="inactive@example.com")
        self.client.patch("/users/3", json={"active": False})

        answers = {
            (response.status_code, response.data, response.headers["WWW-Authenticate"])
            for response in [
                self.log_in(password=PASSWORD + "."),
                self.log_in("nobody@example.com"),
                self.log_in("no address"),
                self.log_in("nopassword@example.com"),
                self.log_in("inactive@example.com"),
                self.log_in(password="x" * 256),
            ]
        }

        self.assertEqual(len(answers), 1)
        status, body, _header = answers.pop()
        self.assertEqual(status, 401)
        self.assertIn(b'"Email or password is wrong."', body)

    def test_unknown_email_costs_the_hash_that_a_wrong_password_costs(self):
        self.register()
        with mock.patch("argon2.PasswordHasher.verify", return_value=False) as verify:
            for email in [ADA["email"], "nobody@example.com", "no address", f"{ADA['email']} "]:
                verify.reset_mock()
                self.log_in(email)

                with self.subTest(email):
                    self.assertEqual(verify.call_count, 1)

    def test_whatever_is_wrong_takes_the_same_time(self):
        for name in ["ARGON2_PASSES", "ARGON2_MEMORY_KIB"]:
            self.app.config[name] = getattr(ProductionConfig, name)
        self.enterContext(mock.patch("project.api.auth.throttle.commit_attempt"))
        self.register()
        make_user(email="nopassword@example.com", active=True)
        emails = [ADA["email"], "nobody@example.com", "nopassword@example.com", "no address"]
        seconds: dict[str, list[float]] = {email: [] for email in emails}

        for number in range(12):
            for email in emails:
                start = time.thread_time()  # others on the machine do not count
                self.log_in(email, "a wrong password")
                if number > 1:  # by then all is loaded
                    seconds[email].append(time.thread_time() - start)

        for email in emails[1:]:
            with self.subTest(email):
                ratio = median(seconds[email]) / median(seconds[ADA["email"]])
                self.assertTrue(0.5 < ratio < 2, ratio)

    def test_bad_payload_is_refused_by_name(self):
        for body in [{}, {"email": 1, "password": ""}, {"email": None, "password": ["x"]}]:
            response = self.client.post("/auth/login", json=body)

            self.assertEqual(response.status_code, 400)
            fields = [each["field"] for each in response.json["errors"]]
            self.assertEqual(fields, ["email", "password"])

    def test_overlong_text_is_refused_before_it_is_normalised(self):
        self.register()
        long = "a" + "\u0315" * 10_000
        for path, body, field in [
            ("/auth/login", {"email": long, "password": PASSWORD}, "email"),
            ("/auth/login", {"email": ADA["email"], "password": long}, "password"),
            ("/auth/register", {**ADA, "username": long}, "username"),
            ("/auth/register", {**ADA, "email": f"{long}@example.com"}, "email"),
            ("/auth/register", {**ADA, "password": long}, "password"),
        ]:
            with self.subTest(path, field=field), normalised_lengths() as lengths:
                response = self.client.post(path, json=body)

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json["message"], "Invalid payload.")
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])
                self.assertLessEqual(max(lengths, default=0), 256)

    def test_hash_of_another_service_is_replaced_at_sign_in(self):
        stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        user = make_user(email=ADA["email"], active=True, password_hash=stored)
        etag = self.client.get(f"/users/{user.id}").headers["ETag"]

        token = self.log_in().json["auth_token"]

        db.session.refresh(user)
        self.assertIn("$argon2id$", str(user.password_hash))
        self.assertEqual(self.client.get(f"/users/{user.id}").headers["ETag"], etag)
        self.assertEqual(self.status(token), 200)
        self.assertEqual(self.log_in().status_code, 200)

    def test_old_sign_ins_are_removed(self):
        self.register()
        with self.at(utcnow() + timedelta(hours=12)):
            self.log_in()
        with self.at(utcnow() + timedelta(hours=24)):
            self.assertEqual(in_transaction(auth.remove_expired)(9), 1)

        self.assertEqual(db.session.query(Session).count(), 1)


class TokenTests(AuthTestCase):
    """What the Authorization header may hold."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        self.claims = jwt.decode(self.token, options={"verify_signature": False})

    def forged(self, key: str = "secret", algorithm: str = "HS256", **changes: Any) -> str:
        """Return a token with other claims, key or algorithm; a claim that is None is left out."""
        claims = {k: v for k, v in {**self.claims, **changes}.items() if v is not None}
        return jwt.encode(claims, key, algorithm)

    def ask(self, header: str) -> Any:
        """Ask who this is, with this header."""
        return self.client.get("/auth/status", headers={"Authorization": header})

    def test_without_credentials_one_is_asked_for_them(self):
        for headers in [{}, {"Authorization": ""}]:
            response = self.client.get("/auth/status", headers=headers)

            self.assertEqual(response.status_code, 403)
            self.assertEqual(response.json["message"], "Provide a valid auth token.")
            self.assertEqual(response.headers["WWW-Authenticate"], 'Bearer realm="users"')

    def test_token_is_made_of_what_it_says(self):
        now = int(time.time())

        self.assertEqual(self.claims["sub"], "1")
        self.assertEqual(self.claims["iss"], "users-service")
        self.assertEqual(self.claims["exp"] - self.claims["iat"], 24 * 3600)
        self.assertLessEqual(abs(self.claims["iat"] - now), 5)
        self.assertEqual(jwt.get_unverified_header(self.token)["alg"], "HS256")

    def test_scheme_is_written_in_any_case(self):
        for scheme in ["bearer", "BEARER"]:
            self.assertEqual(self.ask(f"{scheme} {self.token}").status_code, 200)

    def test_expired_token_says_so(self):
        response = self.ask(f"Bearer {self.forged(exp=int(time.time()) - 1)}")

        self.assertEqual(response.status_code, 401)
        self.assertEqual(response.json["message"], "Signature expired. Please log in again.")
        self.assertIn('error="invalid_token"', response.headers["WWW-Authenticate"])

    def test_forged_tokens_are_worth_nothing(self):
        head, claims, signature = self.token.split(".")
        unsigned = jwt.encode(self.claims, "", "none")
        now = int(time.time())
        for name, header in {
            "no scheme": self.token,
            "x": "x",
            "another scheme": f"Basic {self.token}",
            "nothing": "Bearer ",
            "two": f"Bearer {self.token} {self.token}",
            "garbage": "Bearer x.y.z",
            "alg none": f"Bearer {unsigned}",
            "alg none with a signature": f"Bearer {unsigned}{signature}",
            "another key": f"Bearer {self.forged('x' * 32)}",
            "another algorithm": f"Bearer {self.forged(algorithm='HS512')}",
            "an expired one of another key": f"Bearer {self.forged('x' * 32, exp=1)}",
            "edited claims": f"Bearer {head}.{self.forged(sub='2').split('.')[1]}.{signature}",
            "another user": f"Bearer {self.forged(sub='2')}",
            "a user that is a number": f"Bearer {self.forged(sub=1)}",
            "another session": f"Bearer {self.forged(jti='0' * 32)}",
            "another issuer": f"Bearer {self.forged(iss='x')}",
            "from the future": f"Bearer {self.forged(iat=now + 3600)}",
            "no end": f"Bearer {self.forged(exp=None)}",
            "no session": f"Bearer {self.forged(jti=None)}",
            "no signature": f"Bearer {head}.{claims}.",
            "huge": f"Bearer {'x' * 100_000}",
            "huge claims": f"Bearer {self.forged(x='x' * 7000)}",
            "not ASCII": "Bearer \xe9",
            "a key that is none": "Bearer usk_x",
        }.items():  # fmt: skip
            with self.subTest(name):
                response = self.ask(header)

                self.assertEqual(response.status_code, 401)
                self.assertEqual(response.json["message"], "Invalid token. Please log in again.")
                self.assertIn('error="invalid_token"', response.headers["WWW-Authenticate"])

    def test_signed_claims_of_any_form_are_refused(self):
        odd: list[Any] = [
            "\ud800", "\x00", "\x00" * 32, "", " ", f"{self.claims['jti']} ", "A" * 32, "é" * 32,
            "0" * 31, "0" * 33, "0" * 600, 0, 1.5, True, [], ["x"], {}, {"x": 1},
        ]  # fmt: skip
        times = ["\ud800", "x", "", [], {}, [1], True, -1, 10**300, float("inf"), float("nan")]
        for claim, values in {
            "jti": odd,
            "sub": [*odd, "01", "1 ", "\uff11"],
            "iss": odd,
            "exp": [*times[:8], *times[9:], 1e999],
            "iat": [*times[:6], 10**300, float("inf"), float("nan")],
            "nbf": [*times[:6], 10**300, float("inf"), float("nan")],
            "aud": odd,
        }.items():
            for value in values:
                with self.subTest(claim, value=value):
                    response = self.ask(f"Bearer {self.signed(**{claim: value})}")

                    self.assertIn(response.status_code, {200, 401} if claim in FREE else {401})
                    self.assertNotIn("request_id", response.json)

    def signed(self, **changes: Any) -> str:
        """Return a token with these claims, whatever they are, signed by us."""
        claims = json.dumps({**self.claims, **changes}).encode()
        return jwt.api_jws.encode(claims, "secret", "HS256")

    def test_what_is_signed_and_no_object_of_claims_is_refused(self):
        for payload in [
            b"",
            b"x",
            b"5",
            b"[]",
            b'"x"',
            b"null",
            b"\xff",
            b"[" * 500,
            b'{"a":' * 90,
        ]:
            with self.subTest(payload):
                token = jwt.api_jws.encode(payload, "secret", "HS256")

                self.assertEqual(self.ask(f"Bearer {token}").status_code, 401)

    def test_odd_headers_are_refused(self):
        _, claims, signature = self.token.split(".")
        for header in [
            b"", b"x", b"5", b"[]", b'"HS256"', b"null", b"\xff", b"[" * 700, b"{}",
            b'{"alg":[]}', b'{"alg":{}}', b'{"alg":5}', b'{"alg":null}', b'{"alg":"\\ud800"}',
            b'{"alg":"HS256","kid":5}', b'{"alg":"HS256","b64":false}', b'{"alg":"HS256","crit":5}',
            b'{"alg":"HS256","crit":["x"]}', b'{"alg":"HS256","typ":[]}', b"1" * 700,
        ]:  # fmt: skip
            with self.subTest(header):
                head = urlsafe_b64encode(header).rstrip(b"=").decode()

                self.assertEqual(self.ask(f"Bearer {head}.{claims}.{signature}").status_code, 401)
                self.assertEqual(self.ask(f"Bearer {head}.e30.{signature}").status_code, 401)
                self.assertEqual(self.ask(f"Bearer {head}..").status_code, 401)

    def test_odd_bytes_in_the_header_are_refused(self):
        for text in ["\xff", "\x80\xfe", "usk_\xff", "a.b.\xc3\xa9", "\x7f", "usk_" + "x" * 5000]:
            for scheme in ["Bearer ", "bearer   ", "", "Basic "]:
                with self.subTest(scheme + text):
                    self.assertEqual(self.ask(scheme + text).status_code, 401)

    def test_public_key_is_no_secret(self):
        # RS256 against HS256: what says that it is signed otherwise is not even looked at.
        head = urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').rstrip(b"=").decode()
        signed = f"{head}.{self.token.split('.')[1]}"
        digest = hmac.digest(b"secret", signed.encode(), "sha256")
        signature = urlsafe_b64encode(digest).rstrip(b"=").decode()

        self.assertEqual(self.ask(f"Bearer {signed}.{signature}").status_code, 401)

    def test_secret_key_can_be_rotated(self):
        self.app.config.update(SECRET_KEY="n" * 32, SECRET_KEY_FALLBACKS=["other", "secret"])

        self.assertEqual(self.status(self.token), 200)
        fresh = self.log_in().json["auth_token"]
        jwt.decode(fresh, "n" * 32, algorithms=["HS256"], issuer=tokens.ISSUER)

        self.app.config["SECRET_KEY_FALLBACKS"] = None
        self.assertEqual(self.status(self.token), 401)
        self.assertEqual(self.status(fresh), 200)

    def test_token_is_dead_after_signing_out(self):
        other = self.log_in().json["auth_token"]
        for method, token in [("GET", self.token), ("POST", other)]:
            response = self.call(method, "/auth/logout", token)

            self.assertEqual(response.status_code, 200)
            self.assertEqual(response.json["message"], "Successfully logged out.")
            self.assertEqual(self.status(token), 401)
            self.assertEqual(self.call(method, "/auth/logout", token).status_code, 401)

    def test_token_goes_with_its_user(self):
        self.client.delete("/users/1")

        self.assertEqual(self.status(self.token), 401)
        self.assertEqual(db.session.query(Session).count(), 0)

    def test_session_ends_in_the_database_too(self):
        db.session.query(Session).update({"expires_at": utcnow()})
        db.session.commit()

        self.assertEqual(self.status(self.token), 401)


class PasswordTests(AuthTestCase):
    """POST /auth/password."""

    new = "another fine and long one"

    def change(self, token: str, **changes: Any) -> Any:
        """Ask for a change."""
        body = {"current_password": PASSWORD, "password": self.new, **changes}
        return self.call("POST", "/auth/password", token, json=body)

    def test_change_ends_all_other_sign_ins(self):
        mine, other = self.register(), self.log_in().json["auth_token"]

        response = self.change(mine)

        self.assertEqual(response.status_code, 200)
        self.assertEqual((self.status(mine), self.status(other)), (200, 401))
        self.assertEqual(self.log_in().status_code, 401)
        self.assertEqual(self.log_in(password=self.new).status_code, 200)
        self.assertEqual(self.status(mine), 200)

    def test_wrong_change_is_refused_by_name_and_changes_nothing(self):
        mine, other = self.register(), self.log_in().json["auth_token"]
        cases: list[tuple[dict[str, Any], str]] = [
            ({"current_password": "wrong"}, "current_password"),
            ({"password": "short"}, "password"),
            ({"password": "Ada@example.com is me"}, "password"),
            ({"password": None}, "password"),
            ({"more": 1}, "more"),
            ({"current_password": "a" + "\u0315" * 10_000}, "current_password"),
            ({"password": "a" + "\u0315" * 10_000}, "password"),
        ]
        for changes, field in cases:
            with self.subTest(str(changes)[:40]), normalised_lengths() as lengths:
                response = self.change(mine, **changes)

                self.assertEqual(response.status_code, 400)
                self.assertLessEqual(max(lengths, default=0), 256)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])
        self.assertEqual((self.status(mine), self.status(other)), (200, 200))
        self.assertEqual(self.log_in().status_code, 200)

    def test_administrator_sets_a_password_and_ends_all_sign_ins(self):
        mine = self.register()
        admin = self.register(email="admin@example.com")
        self.set_role("admin", "admin@example.com")

        response = self.call("PATCH", "/users/1", admin, json={"password": self.new})

        self.assertEqual(response.status_code, 200)
        self.assertNotIn("password", response.text)
        self.assertEqual((self.status(mine), self.status(admin)), (401, 200))
        self.assertEqual(self.log_in(password=self.new).status_code, 200)


class CreateUserTests(AuthTestCase):
    """POST /users by an administrator, and by others."""

    body = {"username": "New", "email": "new@example.com"}

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()

    def create(self, **more: Any) -> Any:
        """Create a user as Ada."""
        return self.call("POST", "/users", self.token, json={**self.body, **more})

    def test_user_of_an_administrator_is_active_if_they_say_so(self):
        self.set_role("admin")
        for number, active in enumerate([True, False]):
            for access in ("open", "protected"):
                email = f"{access}{number}@example.com"
                with self.subTest(email):
                    self.app.config["ACCESS"] = access
                    made = self.create(email=email, password=PASSWORD, active=active)

                    self.assertEqual(made.status_code, 201, made.text)
                    self.assertIs(made.json["data"]["active"], active)
                    self.assertEqual(self.log_in(email).status_code, 200 if active else 401)

    def test_user_of_an_administrator_who_does_not_say_is_not_active(self):
        self.set_role("admin")

        self.assertIs(self.create(password=PASSWORD).json["data"]["active"], False)

    def test_administrator_must_say_it_right(self):
        self.set_role("admin")
        for active in ["true", 1, None]:
            response = self.create(active=active)

            self.assertEqual(response.status_code, 400)
            self.assertEqual([each["field"] for each in response.json["errors"]], ["active"])

    def test_from_anybody_else_it_is_an_unknown_key(self):
        self.set_role("editor")
        for number, active in enumerate([True, "true", None, [1]]):
            body = {"username": "New", "active": active}
            for name, token in [("editor", self.token), ("forged", "x")]:
                with self.subTest(name, active=active):
                    body["email"] = f"{name}{number}@example.com"
                    response = self.call("POST", "/users", token, json=body)

                    self.assertEqual(response.status_code, 201, response.text)
                    self.assertIs(response.json["data"]["active"], False)


class APIKeyTests(AuthTestCase):
    """/auth/keys."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        self.set_role("editor")

    def make(self, *scopes: str, **more: Any) -> str:
        """Make a key with these scopes."""
        body = {"name": "robot", "scopes": list(scopes), **more}
        response = self.call("POST", "/auth/keys", self.token, json=body)
        self.assertEqual(response.status_code, 201, response.text)
        return str(response.json["data"]["key"])

    def test_key_is_shown_once_and_stored_as_a_hash(self):
        body = {"name": "robot", "scopes": ["users:write", "users:read"], "expires_in_days": 7}
        response = self.call("POST", "/auth/keys", self.token, json=body)

        made = response.json["data"]
        key = made.pop("key")
        self.assertTrue(key.startswith("usk_"))
        self.assertEqual(response.headers["Location"], f"/auth/keys/{made['id']}")
        self.assertEqual(made["prefix"], key[:12])
        self.assertEqual(made["scopes"], ["users:read", "users:write"])
        self.assertIsNone(made["last_used_at"])
        listed = self.call("GET", "/auth/keys", self.token)
        self.assertEqual(listed.json["data"]["keys"], [made])
        self.assertNotIn(key, listed.text)
        self.assertNotIn(key, str(db.session.query(APIKey).one().__dict__))

    def test_whole_number_of_days_may_have_a_fraction_of_nothing(self):
        self.make("users:read", expires_in_days=7.0)

        (key,) = db.session.query(APIKey)
        self.assertEqual(key.expires_at, key.created_at + timedelta(days=7))

    def test_key_acts_for_its_user(self):
        data = self.call("GET", "/auth/status", self.make("users:read")).json["data"]

        self.assertEqual(data["email"], ADA["email"])

    def test_key_never_has_more_than_its_maker(self):
        body = {"name": "robot", "scopes": ["users:read", "admin"]}
        response = self.call("POST", "/auth/keys", self.token, json=body)
        self.assertEqual(response.status_code, 403)

        key = self.make("users:read", "users:write")
        self.app.config["ACCESS"] = "protected"
        self.assertEqual(self.call("GET", "/users", key).status_code, 200)
        self.set_role(None)
        self.assertEqual(self.call("GET", "/users", key).status_code, 403)
        self.assertEqual(self.call("GET", "/users/1", key).status_code, 403)

    def test_key_dies_with_its_time_its_maker_or_by_hand(self):
        key = self.make("users:read", expires_in_days=1)
        self.assertEqual(self.status(key), 200)
        with mock.patch.object(principals, "utcnow", lambda: utcnow() + timedelta(days=1)):
            self.assertEqual(self.status(key), 401)
        self.assertEqual(self.call("DELETE", "/auth/keys/1", self.token).status_code, 200)
        self.assertEqual(self.status(key), 401)
        self.assertEqual(self.call("DELETE", "/auth/keys/1", self.token).status_code, 404)

        key = self.make("users:read")
        self.client.delete("/users/1")
        self.assertEqual(self.status(key), 401)
        self.assertEqual(db.session.query(APIKey).count(), 0)

    def test_last_use_is_written_at_most_once_a_minute(self):
        key = self.make("users:read")
        now = utcnow()

        def used_at(moment: Any) -> Any:
            with mock.patch.object(principals, "utcnow", lambda: moment):
                self.call("GET", "/auth/status", key)
            return auth.list_keys(1)[0].last_used_at

        self.assertEqual(used_at(now), now)
        self.assertEqual(used_at(now + timedelta(seconds=59)), now)
        later = now + timedelta(seconds=60)
        self.assertEqual(used_at(later), later)

    def test_keys_of_others_are_not_there(self):
        self.make("users:read")
        other = self.register(email="other@example.com")

        self.assertEqual(self.call("GET", "/auth/keys", other).json["data"]["keys"], [])
        self.assertEqual(self.call("DELETE", "/auth/keys/1", other).status_code, 404)

    def test_key_makes_no_keys(self):
        key = self.make("users:write")
        for method, path in [
            ("GET", "/auth/keys"),
            ("POST", "/auth/keys"),
            ("DELETE", "/auth/keys/1"),
            ("POST", "/auth/logout"),
            ("POST", "/auth/password"),
        ]:
            with self.subTest(method, path=path):
                self.assertEqual(self.call(method, path, key).status_code, 403)

    def test_bad_payload_is_refused_by_name(self):
        good = {"name": "robot", "scopes": ["users:read"]}
        cases: list[tuple[dict[str, Any], str]] = [
            ({"name": ""}, "name"),
            ({"name": "x" * 129}, "name"),
            ({"name": "robot\u2066"}, "name"),
            ({"scopes": []}, "scopes"),
            ({"scopes": "users:read"}, "scopes"),
            ({"scopes": ["x"]}, "scopes"),
            ({"scopes": [["users:read"]]}, "scopes"),
            ({"expires_in_days": 0}, "expires_in_days"),
            ({"expires_in_days": 1.5}, "expires_in_days"),
            ({"expires_in_days": 10**9}, "expires_in_days"),
            ({"more": 1}, "more"),
            ({"current_password": "a" + "\u0315" * 10_000}, "current_password"),
            ({"password": "a" + "\u0315" * 10_000}, "password"),
        ]
        for changes, field in cases:
            with self.subTest(changes):
                response = self.call("POST", "/auth/keys", self.token, json={**good, **changes})

                self.assertEqual(response.status_code, 400)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])
        self.assertEqual(db.session.query(APIKey).count(), 0)

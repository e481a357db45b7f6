"""A user's role and last sign-in, as clients see, find and set them."""

from datetime import datetime, timedelta
from unittest import mock

import bcrypt
from sqlalchemy import select

from project import db
from project.api.auth import service as auth
from project.api.models import User
from project.api.users import service
from project.api.users.passwords import hash_password
from project.tests.audit.base import PASSWORD, AuditTestCase
from project.tests.factories import make_user

NOW = datetime(2026, 11, 26, 12, 0, 0)


class RoleFilterTests(AuditTestCase):
    """GET /users?role=."""

    def emails(self, query: str) -> list[str]:
        response = self.client.get(f"/users?{query}")
        self.assertEqual(response.status_code, 200, response.text)
        return [user["email"][0] for user in response.json["data"]["users"]]

    def setUp(self) -> None:
        super().setUp()
        for name, role, active in [
            ("a", "admin", True),
            ("b", None, True),
            ("c", "viewer", False),
            ("d", "admin", False),
            ("e", None, False),
        ]:
            make_user(username=name, email=f"{name}@example.com", role=role, active=active)

    def test_users_with_a_role_or_without_one_are_found(self):
        for query, expected in [
            ("role=admin", "ad"),
            ("role=editor", ""),
            ("role=viewer", "c"),
            ("role=none", "be"),
            ("role=none&sort=-username", "eb"),
            ("role=admin&active=true", "a"),
            ("role=none&active=false&sort=-email", "e"),
            ("role=none&q=e@e", "e"),
            ("role=admin&q=e@e", ""),
            ("role=admin&q=example", "ad"),
            ("role=none&email=b@example.com", "b"),
            ("role=admin&email=b@example.com", ""),
        ]:
            with self.subTest(query):
                self.assertEqual(self.emails(query), [*expected])

    def test_pages_and_total_are_of_those_who_are_wanted(self):
        for role, expected in [("admin", "ad"), ("none", "be")]:
            with self.subTest(role):
                first = self.client.get(f"/users?role={role}&limit=1&total=true").json["data"]
                rest = self.emails(f"role={role}&limit=1&cursor={first['next']}")

                self.assertEqual(first["total"], 2)
                self.assertEqual([first["users"][0]["email"][0], *rest], [*expected])
                self.assertEqual(
                    self.client.get(f"/users?role=viewer&cursor={first['next']}").status_code, 400
                )

    def test_wrong_role_is_named(self):
        for role in ("", "Admin", "null", "none,admin"):
            with self.subTest(role):
                response = self.client.get(f"/users?role={role}")

                self.assertEqual(response.status_code, 400)
                self.assertEqual(
                    response.json["errors"],
                    [{"field": "role", "message": "Must be one of viewer, editor, admin, none."}],
                )


class LastSignInTests(AuditTestCase):
    """When a user has last signed in."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = self.enterContext(mock.patch.object(auth, "utcnow", return_value=NOW))

    def shown(self) -> tuple[object, object]:
        response = self.client.get("/users/1")
        return response.json["data"]["last_sign_in_at"], response.headers["ETag"]

    def log_in(self) -> None:
        account = {"email": "ada@example.com", "password": PASSWORD}
        self.assertEqual(self.client.post("/auth/login", json=account).status_code, 200)

    def test_sign_in_is_noted_once_a_minute_without_a_new_version(self):
        self.sign_in("ada")
        self.assertEqual(self.shown(), ("2026-11-26T12:00:00Z", '"1"'))
        updated_at = service.get_user(1).updated_at
        for seconds, shown in [(59, "12:00:00"), (60, "12:01:00"), (100, "12:01:00")]:
            self.clock.return_value = NOW + timedelta(seconds=seconds)
            with self.subTest(seconds):
                self.log_in()

                self.assertEqual(self.shown(), (f"2026-11-26T{shown}Z", '"1"'))
        self.assertEqual(service.get_user(1).updated_at, updated_at)

    def test_refused_sign_in_is_not_noted(self):
        make_user(username="ada", email="ada@example.com")
        account = {"email": "ada@example.com", "password": "x" * 15}

        self.assertEqual(self.client.post("/auth/login", json=account).status_code, 401)

        self.assertEqual(self.shown(), (None, '"1"'))

    def test_user_who_has_never_signed_in_has_null(self):
        self.client.post("/users", json={"username": "b", "email": "b@example.com"})

        user = self.client.get("/users/1").json["data"]
        self.assertEqual((user["role"], user["last_sign_in_at"]), (None, None))


class ImportedRoleTests(AuditTestCase):
    """Who may give roles by a file."""

    def test_roles_are_taken_from_administrators_only(self):
        tokens = {role: self.sign_in(role, role) for role in ("editor", "admin")}
        for number, (access, caller, taken) in enumerate(
            [
                ("open", None, False),
                ("open", "editor", False),
                ("open", "admin", True),
                ("protected", "editor", False),
                ("protected", "admin", True),
            ]
        ):
            self.app.config["ACCESS"] = access
            email = f"u{number}@example.com"
            forms = {
                "text/csv": f"username,email,role\nAda,{email},viewer\n",
                "application/x-ndjson": f'{{"username":"Ada","email":"n{email}","role":"viewer"}}',
            }
            for content_type, data in forms.items():
                with self.subTest(access=access, caller=caller, content_type=content_type):
                    response = self.call(
                        "POST",
                        "/users/import",
                        tokens.get(caller or ""),
                        data=data,
                        content_type=content_type,
                    )

                    self.assertEqual(response.json["data"]["created"], 1)
                    self.assertEqual(response.json["data"]["ignored"], [] if taken else ["role"])
        roles = db.session.execute(select(User.email, User.role).where(User.username == "Ada"))
        self.assertEqual(
            {email for email, role in roles if role == "viewer"},
            {f"{form}u{number}@example.com" for form in ("", "n") for number in (2, 4)},
        )

    def test_password_hashes_are_taken_from_administrators_only(self):
        tokens = {role: self.sign_in(role, role) for role in ("editor", "admin")}
        self.app.config["ACCESS"] = "protected"
        password = "x7#mQ9!vB2$kL5 not from here"
        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        for role, status in [("editor", 401), ("admin", 200)]:
            with self.subTest(role):
                email = f"new-{role}@example.com"
                response = self.call(
                    "POST",
                    "/users/import",
                    tokens[role],
                    data=f"name,mail,active,encrypted_password\nAda,{email},1,{digest}\n",
                    content_type="text/csv",
                )
                signed_in = self.client.post(
                    "/auth/login", json={"email": email, "password": password}
                )

                self.assertEqual(response.json["data"]["created"], 1)
                self.assertEqual(
                    response.json["data"]["ignored"],
                    ["encrypted_password"] if role == "editor" else [],
                )
                self.assertEqual(signed_in.status_code, status, signed_in.text)
        stored = select(User.password_hash).where(User.email == "new-admin@example.com")
        self.assertRegex(db.session.scalar(stored), r"^\$argon2id\$")

    def test_password_of_a_user_stays_with_another_hash_in_the_file(self):
        token = self.sign_in("admin", "admin")
        user = make_user(
            username="Ada",
            email="ada@example.com",
            password_hash=hash_password(PASSWORD),
            active=True,
        )
        digest = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()

        response = self.call(
            "POST",
            "/users/import",
            token,
            data=f"username,email,password_hash\nAda,ada@example.com,{digest}\n",
            content_type="text/csv",
        )

        self.assertEqual(response.json["data"]["skipped"], 1)
        self.assertEqual(
            response.json["data"]["rows"][0]["reason"],
            "Nothing to change. password_hash: The value was left out. The user has a password,"
            " which stays.",
        )
        signed_in = self.client.post(
            "/auth/login", json={"email": user.email, "password": PASSWORD}
        )
        self.assertEqual(signed_in.status_code, 200, signed_in.text)

    def test_user_without_a_password_gets_the_one_of_the_file(self):
        token = self.sign_in("admin", "admin")
        make_user(username="Ada", email="ada@example.com", active=True)
        digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        for dry_run in ("true", "false"):
            response = self.call(
                "POST",
                f"/users/import?dry_run={dry_run}",
                token,
                data=f"username,email,password_hash\nAda,ada@example.com,{digest}\n",
                content_type="text/csv",
            )
            self.assertEqual(
                response.json["data"]["rows"],
                [{"line": 2, "result": "updated", "reason": "Changed: password_hash."}],
            )
        signed_in = self.client.post(
            "/auth/login", json={"email": "ada@example.com", "password": PASSWORD}
        )
        self.assertEqual(signed_in.status_code, 200, signed_in.text)

    def test_wrong_role_is_left_out_with_a_warning(self):
        token = self.sign_in("admin", "admin")

        response = self.call(
            "POST",
            "/users/import",
            token,
            data="username,email,role\nAda,a@example.com,boss\nBo,b@example.com,\n",
            content_type="text/csv",
        )

        report = response.json["data"]
        self.assertEqual((report["created"], report["failed"]), (2, 0))
        self.assertEqual(
            report["rows"][0]["reason"],
            "role: “boss” was left out. Must be one of viewer, editor, admin, or null.",
        )

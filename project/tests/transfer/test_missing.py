"""Users who are not in a file, and are deactivated where an import asks for it."""

from typing import Any
from unittest import mock

from project import db
from project.api.models import User
from project.api.transfer import importing
from project.tests.audit.base import AuditTestCase
from project.tests.factories import all_users, make_user

HEADER = "username,email\n"


class MissingTests(AuditTestCase):
    """POST /users/import?deactivate_missing=true."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(30):
            make_user(username="u", email=f"u{number}@example.com", active=True)

    def send(self, numbers: range, query: str = "", more: str = "", **options: Any) -> Any:
        """Import a file with some of the users; return the answer."""
        rows = "".join(f"u,u{number}@example.com\n" for number in numbers)
        response = self.call(
            "POST",
            f"/users/import?deactivate_missing=true{query}",
            data=f"{HEADER}{rows}{more}",
            content_type="text/csv",
            **options,
        )
        self.assertEqual(response.status_code, 200, response.text)
        return response.json

    def active(self) -> list[str]:
        return [user.email for user in all_users() if user.active]

    def test_tenth_of_the_active_users_are_deactivated(self):
        make_user(email="inactive@example.com", active=False)
        dry = self.send(range(3, 30), "&dry_run=true", "New,new@example.com\n")
        self.assertEqual(len(self.active()), 30)

        done = self.send(range(3, 30), more="New,new@example.com\n")

        for answer in (dry, done):
            self.assertIsNone(answer["data"]["refusal"])
            self.assertEqual((answer["data"]["missing"], answer["data"]["deactivated"]), (3, 3))
            self.assertEqual((answer["data"]["created"], answer["data"]["skipped"]), (1, 27))
        self.assertEqual(self.active(), [f"u{number}@example.com" for number in range(3, 30)])
        user = all_users()[0]
        self.assertEqual((user.version, user.deactivations), (2, 1))
        self.assertEqual(self.events()[-1].action, "users.deactivated")
        self.assertEqual(self.events()[-1].after, {"count": 3})

    def test_nobody_is_deactivated_if_more_are_missing(self):
        for query, limit in [("", "10 %"), ("&max_deactivate=3", "3")]:
            for dry_run in ("true", "false"):
                with self.subTest(query, dry_run=dry_run):
                    answer = self.send(range(4, 30), f"{query}&dry_run={dry_run}")

                    self.assertEqual(answer["data"]["missing"], 4)
                    self.assertEqual(answer["data"]["deactivated"], 0)
                    self.assertEqual(
                        answer["data"]["refusal"],
                        "Nobody was deactivated: 4 of 30 active users are not in the file, and at"
                        f" most {limit} may be deactivated. If that is right, set max_deactivate"
                        " to 4.",
                    )
        self.assertEqual(len(self.active()), 30)

    def test_caller_may_allow_more(self):
        answer = self.send(range(15), "&max_deactivate=15")

        self.assertEqual(answer["data"]["deactivated"], 15)
        self.assertEqual(len(self.active()), 15)

    def test_nobody_is_deactivated_if_a_row_has_failed(self):
        answer = self.send(range(1, 30), more="Cy,nobody\n")

        self.assertEqual((answer["data"]["missing"], answer["data"]["deactivated"]), (1, 0))
        self.assertEqual(
            answer["data"]["refusal"], "Nobody was deactivated, since rows have failed."
        )
        self.assertEqual(len(self.active()), 30)

    def test_administrators_and_the_caller_stay_active(self):
        self.sign_in("boss", "admin")
        token = self.sign_in("editor", "editor")

        answer = self.send(range(1, 30), headers={"Authorization": f"Bearer {token}"})

        self.assertEqual(answer["data"]["deactivated"], 1)
        self.assertEqual(self.active()[-2:], ["boss@example.com", "editor@example.com"])
        self.assertEqual(self.call("GET", "/auth/status", token).status_code, 200)

    def test_sign_ins_end_and_keys_are_suspended(self):
        token = self.sign_in("viewer", "viewer")
        key = self.call("POST", "/auth/keys", token, json={"name": "k", "scopes": ["users:read"]})
        self.assertEqual(key.status_code, 201, key.text)

        answer = self.send(range(30), "&max_deactivate=1")

        self.assertEqual(answer["data"]["deactivated"], 1)
        self.app.config["ACCESS"] = "protected"
        for credentials in (token, key.json["data"]["key"]):
            self.assertEqual(self.call("GET", "/users", credentials).status_code, 401)

    def test_users_met_by_id_are_in_the_file(self):
        users = all_users()
        rows = "".join(f"{user.id},u,new-{user.email}\n" for user in users[1:])

        response = self.call(
            "POST",
            "/users/import?deactivate_missing=true&match=id",
            data=f"id,{HEADER}{rows}",
            content_type="text/csv",
        )

        self.assertEqual(response.json["data"]["updated"], 29)
        self.assertEqual(response.json["data"]["deactivated"], 1)

    def test_user_who_is_added_meanwhile_stays_active(self):
        def rows_and_user(rows: Any, *rest: Any) -> Any:
            make_user(email="meanwhile@example.com", active=True)
            return work(rows, *rest)

        work = importing._write
        with mock.patch.object(importing, "_write", rows_and_user):
            answer = self.send(range(30))

        self.assertEqual(answer["data"]["missing"], 0)

    def test_limit_without_the_wish_is_refused(self):
        for query, reason in [
            ("max_deactivate=3", "Is for deactivate_missing=true only."),
            ("deactivate_missing=true&max_deactivate=-1", "Must be an integer, 0 or more."),
        ]:
            response = self.call(
                "POST", f"/users/import?{query}", data=HEADER, content_type="text/csv"
            )

            self.assertEqual(response.status_code, 400)
            self.assertEqual(
                response.json["errors"], [{"field": "max_deactivate", "message": reason}]
            )

    def test_directory_without_users_misses_nobody(self):
        db.session.query(User).delete()
        db.session.commit()

        answer = self.send(range(0))

        self.assertEqual((answer["data"]["missing"], answer["data"]["deactivated"]), (0, 0))

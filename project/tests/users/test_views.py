"""The JSON endpoints of users, row by row of the contract."""

import gzip
from datetime import datetime
from itertools import combinations_with_replacement
from threading import Barrier, Event, Thread
from typing import Any
from unittest import mock

from flask import Flask

from project import db
from project.api.models import User
from project.api.users import queries, service
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user, make_users
from project.tests.wire import recorded_commands

CREATED_AT = datetime(2026, 11, 23, 15, 12, 58)


class ListUsersTests(BaseTestCase):
    """GET /users."""

    def test_list_users_when_there_are_none(self):
        response = self.client.get("/users")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json, {"status": "success", "data": {"users": [], "next": None}})
        self.assertNotIn("Link", response.headers)

    def test_list_users_shows_each_in_order_of_id(self):
        one = make_user(username="b", email="B@example.com", created_at=CREATED_AT)
        two = make_user(username="a", email="a@example.com", created_at=CREATED_AT, active=True)

        response = self.client.get("/users")

        rest: dict[str, Any] = {
            "role": None,
            "last_sign_in_at": None,
            "created_at": "2026-11-23T15:12:58Z",
            "updated_at": "2026-11-23T15:12:58Z",
        }
        self.assertEqual(
            response.json["data"],
            {
                "users": [
                    {
                        "id": one.id,
                        "username": "b",
                        "email": "B@example.com",
                        "active": False,
                        **rest,
                    },
                    {
                        "id": two.id,
                        "username": "a",
                        "email": "a@example.com",
                        "active": True,
                        **rest,
                    },
                ],
                "next": None,
            },
        )

    def test_list_users_without_limit_shows_up_to_1000(self):
        make_users(1000)
        self.assertIsNone(self.client.get("/users").json["data"]["next"])
        last = make_user()

        response = self.client.get("/users")

        data = response.json["data"]
        self.assertEqual(len(data["users"]), 1000)
        link = f'<http://localhost/users?cursor={data["next"]}>; rel="next"'
        self.assertEqual(response.headers["Link"], link)
        rest = self.client.get("/users", query_string={"cursor": data["next"]}).json["data"]
        self.assertEqual([user["id"] for user in rest["users"]], [last.id])
        self.assertIsNone(rest["next"])

    def test_list_users_follows_the_link_to_the_last_page(self):
        ids = [make_user().id for _ in range(5)]
        seen, path = [], "/users?limit=2"
        while path:
            response = self.client.get(path)
            seen += [user["id"] for user in response.json["data"]["users"]]
            path = response.headers.get("Link", "<>").split(">")[0][1:]

        self.assertEqual(seen, ids)

    def test_list_users_with_wrong_parameter_is_refused_by_name(self):
        make_users(60)
        of_the_page = self.client.get("/").text.split("cursor=")[1].split('"')[0]
        good = self.client.get("/users?limit=1").json["data"]["next"]
        for query, name in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("limit=", "limit"),
            ("limit=1.0", "limit"),
            ("limit=1_0", "limit"),
            ("limit=%D9%A1", "limit"),
            ("limit=" + "9" * 5000, "limit"),
            ("limit=1&limit=2", "limit"),
            ("cursor=", "cursor"),
            ("cursor=x", "cursor"),
            (f"cursor={good}x", "cursor"),
            (f"cursor=x{good}", "cursor"),
            (f"cursor={of_the_page}", "cursor"),
            ("cursor=%00", "cursor"),
            ("cursor=%ff", "cursor"),
            ("colour=blue", "colour"),
        ]:
            with self.subTest(query[:40]):
                response = self.client.get(f"/users?{query}")

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json["status"], "fail")
                self.assertEqual(response.json["message"], f"Invalid parameter: {name}.")
                self.assertEqual([e["field"] for e in response.json["errors"]], [name])


class CreateUserTests(BaseTestCase):
    """POST /users."""

    def assert_refused(self, response: Any, *fields: str) -> None:
        """Assert the answer to a bad payload, and that nothing was added."""
        self.assertEqual(response.status_code, 400, response.text)
        self.assertEqual(response.json["status"], "fail")
        self.assertEqual(response.json["message"], "Invalid payload.")
        self.assertEqual([error["field"] for error in response.json["errors"]], list(fields))
        self.assertEqual(service.list_users(1), [])

    def test_create_user_answers_with_the_user(self):
        response = self.client.post(
            "/users", json={"username": "cnych", "email": "Qikqiak@Gmail.com", "id": 7, "x": [1]}
        )

        self.assertEqual(response.status_code, 201)
        user = response.json["data"]
        self.assertEqual(response.json["status"], "success")
        self.assertEqual(response.json["message"], "Qikqiak@Gmail.com was added!")
        self.assertEqual(response.headers["Location"], f"/users/{user['id']}")
        self.assertEqual((user["username"], user["email"]), ("cnych", "Qikqiak@Gmail.com"))
        self.assertIs(user["active"], False)
        self.assertRegex(user["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(self.client.get(response.headers["Location"]).json["data"], user)

    def test_create_user_takes_any_json_media_type(self):
        body = b'{"username": "a", "email": "a@example.com"}'
        for number, media_type in enumerate(
            ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
        ):
            with self.subTest(media_type):
                response = self.client.post(
                    "/users",
                    data=body.replace(b"a@", b"a%d@" % number),
                    content_type=media_type,
                )
                self.assertEqual(response.status_code, 201)

    def test_create_user_message_is_not_a_format_string(self):
        email = "{0.id}{x}@example.com"

        response = self.client.post("/users", json={"username": "{0}", "email": email})

        self.assertEqual(response.json["message"], f"{email} was added!")

    def test_create_user_with_wrong_body_is_refused(self):
        for body in [
            b"",
            b"{",
            b"username=a&email=a@example.com",
            b"\xff\xfe",
            b'{"username": "\xff", "email": "a@example.com"}',
            b'{"username": "\\ud800", "email": "a@example.com"}',
            b'{"username": "\x00", "email": "a@example.com"}',
            b'\xef\xbb\xbf{"username": "a", "email": "a@example.com"}',
            '{"username": "a", "email": "a@example.com"}'.encode("utf-16"),
            b'{"username": "a", "email": "a@example.com"} {}',
            b'{"username": NaN, "email": "a@example.com"}',
            b"[" * 60_000,
            b'{"a":' * 10_000,
            b"null",
            b"[]",
            b'"text"',
            b"7",
            b"9" * 10_000,
        ]:
            with self.subTest(body[:40]):
                response = self.client.post("/users", data=body, content_type="application/json")

                self.assert_refused(response, "body")

    def test_create_user_with_other_content_type_is_refused(self):
        body = b'{"username": "a", "email": "a@example.com"}'
        for media_type in [None, "", "text/plain", "application/xml", "json", "\xff", "a/b; c"]:
            with self.subTest(media_type):
                response = self.client.post("/users", data=body, content_type=media_type)

                self.assert_refused(response, "Content-Type")
        form = self.client.post("/users", data={"username": "a", "email": "a@example.com"})
        self.assert_refused(form, "Content-Type")

    def test_create_user_with_wrong_field_is_refused_by_name(self):
        good = {"username": "a", "email": "a@example.com"}
        wrong: list[Any] = [None, "", "  ", "\u3000", "x" * 129, 7, 1.5, True, [], ["x"], {}]
        wrong += [{"x": "y"}, "a\x00b", "a\nb", "\x1b", "\x7f", "\x85"]
        for value in wrong:
            for field in good:
                with self.subTest(field=field, value=value):
                    response = self.client.post("/users", json={**good, field: value})

                    self.assert_refused(response, field)
        for field in good:
            with self.subTest(missing=field):
                rest = {name: value for name, value in good.items() if name != field}
                self.assert_refused(self.client.post("/users", json=rest), field)
        self.assert_refused(self.client.post("/users", json={}), "username", "email")

    def test_create_user_with_what_is_no_email_is_refused(self):
        for email in ["a", "a@b", "@", "a@", "@example.com", "a b@example.com", "a@example.com,b"]:
            with self.subTest(email):
                response = self.client.post("/users", json={"username": "a", "email": email})

                self.assert_refused(response, "email")

    def test_create_user_with_body_over_the_limit_is_refused(self):
        body = b'{"username": "' + b"x" * 2_000_000 + b'", "email": "a@example.com"}'

        response = self.client.post("/users", data=body, content_type="application/json")

        self.assertEqual(response.status_code, 413)
        message = "The body is larger than 65,536 bytes."
        self.assertEqual(response.json, {"status": "fail", "message": message})

    def test_create_user_with_taken_email_is_refused_in_any_spelling(self):
        make_user(email="Bü@bücher.example")
        for email in ["Bü@bücher.example", "BÜ@BÜCHER.example", "bu\u0308@xn--bcher-kva.example"]:
            with self.subTest(email):
                response = self.client.post("/users", json={"username": "b", "email": email})

                message = "Sorry. That email already exists."
                self.assertEqual(response.status_code, 400)
                self.assertEqual(
                    response.json,
                    {
                        "status": "fail",
                        "message": message,
                        "errors": [{"field": "email", "message": message}],
                    },
                )
        self.assertEqual(len(service.list_users(9)), 1)

    def test_create_user_with_taken_username_is_accepted(self):
        make_user(username="cnych")

        response = self.client.post(
            "/users", json={"username": "cnych", "email": "another@example.com"}
        )

        self.assertEqual(response.status_code, 201)

    def test_thirty_writers_of_one_email_make_one_user(self):
        emails = ["race@example.com", "RACE@Example.COM"] * 15

        answers = together(
            self.app,
            [("POST", "/users", {"username": "u", "email": email}, {}) for email in emails],
        )

        self.assertEqual(sorted(answers), [201] + [400] * 29)
        self.assertEqual(len(service.list_users(9)), 1)


class GetUserTests(BaseTestCase):
    """GET /users/<id>."""

    def test_get_user_shows_the_user(self):
        user = make_user(
            username="cnych", email="qikqiak@gmail.com", active=True, created_at=CREATED_AT
        )

        response = self.client.get(f"/users/{user.id}")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.json,
            {
                "status": "success",
                "data": {
                    "id": user.id,
                    "username": "cnych",
                    "email": "qikqiak@gmail.com",
                    "active": True,
                    "created_at": "2026-11-23T15:12:58Z",
                    "updated_at": "2026-11-23T15:12:58Z",
                    "role": None,
                    "last_sign_in_at": None,
                },
            },
        )

    def test_get_user_with_what_is_no_id_is_refused(self):
        for text in ["xxx", "1.5", "0x1", "1_0", "%20", "%D9%A1", "+1", "1e3", "--1", "-", "1%0A"]:
            with self.subTest(text):
                response = self.client.get(f"/users/{text}")

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json, {"status": "fail", "message": "Param id error"})

    def test_get_user_that_does_not_exist_is_not_found(self):
        make_user()
        for text in [
            *["-1", "0", "-0", "999", "9" * 40, "-" + "9" * 40, "9" * 5000, "2147483648"],
            *["0" * 5000, "-" + "0" * 5000, "0" * 5000 + "9", "-" + "0" * 5000 + "1"],
        ]:
            with self.subTest(text[:40]):
                response = self.client.get(f"/users/{text}")

                self.assertEqual(response.status_code, 404)
                self.assertEqual(
                    response.json, {"status": "fail", "message": "User does not exist"}
                )

    def test_get_user_reads_leading_zeros(self):
        user = make_user()

        for zeros in ["0" * 50, "0" * 5000]:
            with self.subTest(len(zeros)):
                response = self.client.get(f"/users/{zeros}{user.id}")

                self.assertEqual(response.json["data"]["id"], user.id)


class UpdateUserTests(BaseTestCase):
    """PATCH /users/<id>."""

    def setUp(self) -> None:
        super().setUp()
        self.user = make_user(username="cnych", email="A@example.com", created_at=CREATED_AT)
        self.path = f"/users/{self.user.id}"

    def test_update_user_changes_what_is_sent_and_nothing_else(self):
        before = self.client.get(self.path).json["data"]
        cases: list[dict[str, Any]] = [
            {"username": "new"},
            {"email": "B@example.com"},
            {"active": True},
            {"username": "n", "email": "c@example.com", "active": False},
        ]
        for changes in cases:
            with self.subTest(changes):
                response = self.client.patch(self.path, json=changes)

                after = response.json["data"]
                self.assertEqual(response.status_code, 200)
                self.assertGreater(after["updated_at"], before["created_at"])
                before = {**before, **changes, "updated_at": after["updated_at"]}
                self.assertEqual(after, before)
                self.assertEqual(self.client.get(self.path).json["data"], after)

    def test_update_user_takes_a_merge_patch(self):
        response = self.client.patch(
            self.path, data=b'{"username": "n"}', content_type="application/merge-patch+json"
        )

        self.assertEqual(response.json["data"]["username"], "n")

    def test_update_user_without_a_change_leaves_everything_as_it_was(self):
        before = self.client.get(self.path)
        for changes in [{}, {"username": "cnych"}, {"email": "A@example.com", "active": False}]:
            with self.subTest(changes):
                response = self.client.patch(self.path, json=changes)

                self.assertEqual(response.status_code, 200)
                self.assertEqual(response.json, before.json)
                self.assertEqual(response.headers["ETag"], before.headers["ETag"])

    def test_update_user_may_respell_the_own_email(self):
        response = self.client.patch(self.path, json={"email": "a@EXAMPLE.com"})

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json["data"]["email"], "a@EXAMPLE.com")

    def test_update_user_with_taken_email_is_refused(self):
        make_user(email="taken@example.com")
        before = self.client.get(self.path).json

        response = self.client.patch(self.path, json={"email": "TAKEN@example.com"})

        self.assertEqual(response.status_code, 400)
        self.assertEqual(response.json["message"], "Sorry. That email already exists.")
        self.assertEqual(self.client.get(self.path).json, before)

    def test_name_of_before_the_rules_is_shown_and_may_stay(self):
        user = make_user(username="Ada\u202enimda")
        path = f"/users/{user.id}"

        self.assertEqual(self.client.get(path).json["data"]["username"], "Ada\u202enimda")
        self.assertEqual(self.client.patch(path, json={"active": True}).status_code, 200)
        self.assertEqual(self.client.get("/").status_code, 200)
        response = self.client.patch(path, json={"username": "Ada\u202enimda"})
        self.assertEqual(response.status_code, 400)

    def test_update_user_with_wrong_field_is_refused_by_name(self):
        before = self.client.get(self.path).json
        for changes, field in [
            ({"username": None}, "username"),
            ({"email": None}, "email"),
            ({"active": None}, "active"),
            ({"username": ""}, "username"),
            ({"username": 7}, "username"),
            ({"email": "x"}, "email"),
            ({"active": "true"}, "active"),
            ({"active": 1}, "active"),
            ({"id": 9}, "id"),
            ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
            ({"username": "ok", "colour": "blue"}, "colour"),
        ]:
            with self.subTest(changes):
                response = self.client.patch(self.path, json=changes)

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json["message"], "Invalid payload.")
                self.assertEqual([e["field"] for e in response.json["errors"]], [field])
        self.assertEqual(self.client.get(self.path).json, before)

    def test_update_user_with_what_is_not_json(self):
        for media_type in ["text/plain", "application/x-www-form-urlencoded", ""]:
            with self.subTest(media_type):
                response = self.client.patch(self.path, data=b"{}", content_type=media_type)

                self.assertEqual(response.status_code, 415)
                self.assertEqual(response.json["status"], "fail")
        for body in [b"", b"[]", b"null", b"{", b"\xff"]:
            with self.subTest(body):
                response = self.client.patch(self.path, data=body, content_type="application/json")

                self.assertEqual(response.status_code, 400)

    def test_changes_of_a_user_that_does_not_exist_are_not_found(self):
        for text, status in [
            ("999", 404),
            ("-1", 404),
            ("9" * 40, 404),
            ("0" * 5000 + "999", 404),
            ("x", 400),
        ]:
            for method, body in [
                ("PATCH", {"username": "n"}),
                ("PUT", {"username": "n", "email": "n@example.com"}),
                ("DELETE", None),
            ]:
                with self.subTest(text[:9], method=method):
                    response = self.client.open(f"/users/{text}", method=method, json=body)

                    self.assertEqual(response.status_code, status)

    def test_thirty_writers_of_one_email_change_one_user(self):
        users = [make_user() for _ in range(10)]

        answers = together(
            self.app,
            [("PATCH", f"/users/{user.id}", {"email": "race@example.com"}, {}) for user in users],
        )

        self.assertEqual(sorted(answers), [200] + [400] * 9)


class UnreadableBodyTests(BaseTestCase):
    """Bodies that are no JSON, by what is wrong with them."""

    def test_encoding_of_a_body_is_named(self):
        body = gzip.compress(b'{"username": "a", "email": "a@example.com"}')
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

        response = self.client.post("/users", data=body, headers=headers)

        self.assertEqual(response.status_code, 415)
        self.assertEqual(response.json["errors"][0]["field"], "Content-Encoding")

    def test_text_that_is_not_utf_8_is_named(self):
        body = '{"username": "é", "email": "a@example.com"}'.encode("latin-1")

        response = self.client.post("/users", data=body, content_type="application/json")

        self.assertEqual(response.status_code, 400)
        self.assertEqual(
            response.json["errors"], [{"field": "body", "message": "Is not valid UTF-8."}]
        )


class ReplaceUserTests(BaseTestCase):
    """PUT /users/<id>."""

    def test_what_a_get_gave_may_be_sent_back(self):
        user = make_user(username="a", email="a@example.com", role="editor")
        shown = self.client.get(f"/users/{user.id}").json["data"]

        response = self.client.put(f"/users/{user.id}", json=shown | {"username": "b"})

        self.assertEqual(response.status_code, 200, response.text)
        changed = response.json["data"]
        self.assertEqual(changed["role"], "editor")
        self.assertEqual(changed | {"updated_at": 0}, shown | {"username": "b", "updated_at": 0})

    def test_replace_user_keeps_active_when_it_is_not_sent(self):
        user = make_user(active=True)
        path = f"/users/{user.id}"

        response = self.client.put(path, json={"username": "n", "email": "n@example.com"})

        self.assertEqual(response.status_code, 200)
        data = response.json["data"]
        self.assertEqual((data["username"], data["email"]), ("n", "n@example.com"))
        self.assertIs(data["active"], True)
        body = {"username": "n", "email": "n@example.com", "active": False}
        self.assertIs(self.client.put(path, json=body).json["data"]["active"], False)

    def test_replace_user_without_a_required_field_is_refused_by_name(self):
        user = make_user()
        for body, field in [
            ({"username": "n"}, "email"),
            ({"email": "n@example.com"}, "username"),
            ({"username": "n", "email": "n@example.com", "version": 1}, "version"),
            ({"username": "n", "email": "n@example.com", "active": None}, "active"),
        ]:
            with self.subTest(body):
                response = self.client.put(f"/users/{user.id}", json=body)

                self.assertEqual(response.status_code, 400)
                self.assertEqual([e["field"] for e in response.json["errors"]], [field])


class DeleteUserTests(BaseTestCase):
    """DELETE /users/<id>."""

    def test_delete_user_frees_the_email_and_not_the_id(self):
        user = make_user(email="A@example.com")
        user_id = user.id
        path = f"/users/{user_id}"

        response = self.client.delete(path)

        self.assertEqual(response.status_code, 200)
        message = "A@example.com was removed!"
        self.assertEqual(response.json, {"status": "success", "message": message})
        self.assertEqual(self.client.get(path).status_code, 404)
        self.assertEqual(self.client.delete(path).status_code, 404)
        again = self.client.post("/users", json={"username": "b", "email": "a@example.com"})
        self.assertEqual(again.status_code, 201)
        self.assertGreater(again.json["data"]["id"], user_id)


class ConditionalTests(BaseTestCase):
    """ETag, If-None-Match and If-Match on one user."""

    def setUp(self) -> None:
        super().setUp()
        self.path = f"/users/{make_user().id}"
        self.tag = self.client.get(self.path).headers["ETag"]

    def with_empty_elements(self) -> list[str]:
        """Return lists that name the tag, with elements between commas that are empty."""
        tag = self.tag
        return [f"{tag},", f",{tag}", f'"x", , {tag}', f',, {tag} ,\t, "a,b",', f'"a,",, {tag}']

    def test_tag_is_strong_and_changes_with_the_user(self):
        self.assertRegex(self.tag, '^"[^"]+"$')
        changed = self.client.patch(self.path, json={"username": "n"}).headers["ETag"]
        self.assertNotEqual(changed, self.tag)
        self.assertEqual(self.client.get(self.path).headers["ETag"], changed)
        made = self.client.post("/users", json={"username": "n", "email": "n@example.com"})
        path = made.headers["Location"]
        self.assertEqual(self.client.get(path).headers["ETag"], made.headers["ETag"])

    def test_known_user_is_not_sent_again(self):
        for value in [
            *[self.tag, f"W/{self.tag}", "*", f'"x", {self.tag}', f'W/"y",{self.tag}'],
            *self.with_empty_elements(),
        ]:
            for method in ["GET", "HEAD"]:
                with self.subTest(value, method=method):
                    headers = {"If-None-Match": value}
                    response = self.client.open(self.path, method=method, headers=headers)

                    self.assertEqual(response.status_code, 304)
                    self.assertEqual(response.data, b"")
                    self.assertEqual(response.headers["ETag"], self.tag)

    def test_other_user_is_sent(self):
        for value in ['"x"', 'W/"x"', '""', '"x", "y"']:
            with self.subTest(value):
                response = self.client.get(self.path, headers={"If-None-Match": value})

                self.assertEqual(response.status_code, 200)

    def test_change_with_the_present_tag_is_made(self):
        for value in [self.tag, "*", f'"x", {self.tag}', *self.with_empty_elements()]:
            with self.subTest(value):
                response = self.client.patch(self.path, json={}, headers={"If-Match": value})

                self.assertEqual(response.status_code, 200)

    def test_change_with_another_tag_is_refused_and_changes_nothing(self):
        before = self.client.get(self.path).json
        body = {"username": "n", "email": "n@example.com"}
        for value in ['"x"', f"W/{self.tag}", '""', '"x", "y"']:
            for method in ["PATCH", "PUT", "DELETE"]:
                with self.subTest(value, method=method):
                    response = self.client.open(
                        self.path, method=method, json=body, headers={"If-Match": value}
                    )

                    self.assertEqual(response.status_code, 412)
                    self.assertEqual(response.json["status"], "fail")
        self.assertEqual(self.client.get(self.path).json, before)

    def test_header_that_is_no_list_of_tags_is_refused_by_name(self):
        for value in [
            *[
                "",
                "x",
                "3",
                '"',
                '"a" "b"',
                "*, *",
                'w/"x"',
                ",",
                " , ",
                "*,",
                ', "a" "b"',
                '"a",b',
            ],
            *['"a"' + "," * 50_000 + "x", '"a" ' * 20_000, '"a",' * 20_000 + '"'],
        ]:
            for name, method in [("If-Match", "PATCH"), ("If-None-Match", "GET")]:
                with self.subTest(value[:20], name=name):
                    response = self.client.open(
                        self.path, method=method, json={}, headers={name: value}
                    )

                    self.assertEqual(response.status_code, 400)
                    self.assertEqual(response.json["message"], f"Invalid header: {name}.")

    def test_of_writers_with_the_same_tag_exactly_one_wins(self):
        answers = together(
            self.app,
            [
                ("PATCH", self.path, {"username": f"w{number}"}, {"If-Match": self.tag})
                for number in range(20)
            ],
        )

        self.assertEqual(sorted(answers), [200] + [412] * 19)

    def test_options_tell_what_can_be_done(self):
        allowed = self.client.options(self.path).headers["Allow"]

        self.assertEqual(
            set(allowed.split(", ")), {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}
        )


class AdministratorTests(BaseTestCase):
    """Who has a role, and the last who can give one."""

    def admin(self, **values: Any) -> Any:
        """Add an active administrator."""
        return make_user(role="admin", active=True, **values)

    def test_last_administrator_stays_one(self):
        user = self.admin()
        make_user(role="admin", active=False)
        make_user(role="editor", active=True)
        path = f"/users/{user.id}"

        for method, body in [
            ("DELETE", None),
            ("PATCH", {"active": False}),
            ("PUT", {"username": "x", "email": "x@example.com", "active": False}),
        ]:
            with self.subTest(method):
                response = self.client.open(path, method=method, json=body)

                self.assertEqual(response.status_code, 409)
                self.assertEqual(
                    response.json["message"],
                    "The last administrator cannot be removed, demoted or deactivated.",
                )
        self.assertEqual(self.client.patch(path, json={"username": "x"}).status_code, 200)
        self.assertIs(service.get_user(user.id).active, True)

    def test_administrator_who_is_not_the_last_may_go(self):
        users = [self.admin(), self.admin()]

        self.assertEqual(self.client.delete(f"/users/{users[0].id}").status_code, 200)
        self.assertEqual(self.client.delete(f"/users/{users[1].id}").status_code, 409)

    def test_last_administrator_who_can_sign_in_stays_one(self):
        self.enterContext(mock.patch("project.api.users.views.require_admin"))
        user = self.admin(password_hash="x")
        other = self.admin()
        make_user(role="admin", password_hash="x")
        make_user(role="editor", active=True, password_hash="x")
        path = f"/users/{user.id}"
        losses: list[tuple[str, Any]] = [
            ("DELETE", None),
            ("PATCH", {"active": False}),
            ("PATCH", {"role": "editor"}),
            ("PATCH", {"role": None}),
            ("PUT", {"username": "x", "email": "x@example.com", "active": False}),
        ]
        for method, body in losses:
            with self.subTest(method, body=body):
                response = self.client.open(path, method=method, json=body)

                self.assertEqual(response.status_code, 409)
        for method, body in losses:
            with self.subTest(method, body=body, who="another who has no password"):
                other = self.admin()
                path = f"/users/{other.id}"

                self.assertEqual(self.client.open(path, method=method, json=body).status_code, 200)

    def test_two_requests_at_once_do_not_lose_the_last_two_who_can_sign_in(self):
        self.admin()
        for body in [None, {"active": False}]:
            with self.subTest(body):
                paths = [f"/users/{self.admin(password_hash='x').id}" for _ in range(2)]
                method = "PATCH" if body else "DELETE"

                answers = together(self.app, [(method, path, body, {}) for path in paths])

                self.assertEqual(sorted(answers), [200, 409])
            with db.engine.begin() as connection:
                with_password = User.__table__.c.password_hash.is_not(None)
                connection.execute(User.__table__.delete().where(with_password))

    def test_two_requests_at_once_do_not_lose_the_last_two(self):
        # Who has been demoted meanwhile would be refused for that.
        self.enterContext(mock.patch("project.api.users.views.require_admin"))
        losses: dict[str, tuple[str, Any]] = {
            "removed": ("DELETE", None),
            "deactivated": ("PATCH", {"active": False}),
            "demoted": ("PATCH", {"role": "editor"}),
            "made ordinary": ("PATCH", {"role": None}),
        }
        for names in combinations_with_replacement(losses, 2):
            with self.subTest(names):
                paths = [f"/users/{self.admin().id}" for _ in names]

                answers = together(
                    self.app,
                    [
                        (losses[name][0], path, losses[name][1], {})
                        for name, path in zip(names, paths, strict=True)
                    ],
                )

                self.assertEqual(sorted(answers), [200, 409])
                left = [row for row in all_users() if row.role == "admin" and row.active]
                self.assertEqual(len(left), 1)
            with db.engine.begin() as connection:
                connection.execute(User.__table__.delete())

    def test_password_and_role_are_for_administrators_to_give(self):
        user = make_user()
        for method, path, body in [
            ("POST", "/users", {"username": "a", "email": "a@example.com"}),
            ("PATCH", f"/users/{user.id}", {}),
        ]:
            for more in [{"role": "admin"}, {"password": "grey otters paddle home at dusk"}]:
                with self.subTest(method, more=more):
                    response = self.client.open(path, method=method, json={**body, **more})

                    self.assertEqual(response.status_code, 403)
        self.assertEqual(service.count_users(), 1)
        db.session.refresh(user)
        self.assertIsNone(user.role)


def together(app: Flask, requests: list[tuple[str, str, Any, dict[str, str]]]) -> list[int]:
    """Send requests (method, path, JSON, headers) at the same moment; return their statuses."""
    barrier = Barrier(len(requests))
    statuses: list[int] = []

    def send(method: str, path: str, body: Any, headers: dict[str, str]) -> None:
        client = app.test_client()
        barrier.wait()
        response = client.open(path, method=method, json=body, headers=headers)
        statuses.append(response.status_code)

    threads = [Thread(target=send, args=request) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


class FindUsersTests(BaseTestCase):
    """GET /users with sort, q, email, active, ids and total."""

    def found(self, **query: Any) -> list[str]:
        """Return the names that a query finds, page by page; each page is as small as can be."""
        names: list[str] = []
        while True:
            response = self.client.get("/users", query_string={"limit": 1, **query})
            self.assertEqual(response.status_code, 200, response.text)
            data = response.json["data"]
            names += [user["username"] for user in data["users"]]
            if not data["next"]:
                return names
            query["cursor"] = data["next"]

    def refused(self, query: str) -> list[str]:
        """Return the parameters that an answer names as wrong."""
        response = self.client.get(f"/users?{query}")
        self.assertEqual(response.status_code, 400, response.text)
        fields = [error["field"] for error in response.json["errors"]]
        self.assertEqual(response.json["message"], f"Invalid parameter: {', '.join(fields)}.")
        return fields

    def test_empty_search_is_none(self):
        users = [make_user().id for _ in range(3)]

        found = self.client.get("/users?q=&sort=-id").json["data"]["users"]

        self.assertEqual([user["id"] for user in found], users[::-1])

    def test_each_sort_pages_through_all(self):
        for name, day in [("b", 2), ("A", 3), ("c", 1), ("C", 1)]:
            time = datetime(2026, 1, day)
            make_user(username=name, created_at=time, last_sign_in_at=time if day > 1 else None)
        for sort, expected in [
            ("id", "bAcC"),
            ("-id", "CcAb"),
            ("created_at", "cCbA"),
            ("-created_at", "AbCc"),
            ("username", "AbcC"),
            ("-username", "CcbA"),
            ("email", "bAcC"),
            ("-email", "CcAb"),
            ("last_sign_in_at", "cCbA"),
            ("-last_sign_in_at", "AbCc"),
        ]:
            with self.subTest(sort):
                self.assertEqual("".join(self.found(sort=sort)), expected)

    def test_search_finds_beginnings_of_words_in_their_order(self):
        for name, email in [
            ("Annika", "z@example.com"),
            ("anna", "y@example.com"),
            ("Bo", "ann@example.com"),
            ("Cy", "ANNE@example.com"),
            ("Joann", "x@example.com"),
            ("Annæ", "annae@example.com"),
            ("Jo Ann", "w@example.com"),
            ("ann annabel", "v@example.com"),
        ]:
            make_user(username=name, email=email)

        for q in ["ann", "ANN", "Änn", "ａｎｎ"]:
            with self.subTest(q):
                expected = ["Jo Ann", "Bo", "anna", "ann annabel", "Annæ", "Cy", "Annika"]
                self.assertEqual(self.found(q=q), expected)
        for q, expected in [
            ("anna", ["anna", "ann annabel", "Annæ"]),
            ("nobody", []),
            ("ann jo", ["Jo Ann"]),
            ("jo example ann", ["Jo Ann"]),
            ("ann bo com", ["Bo"]),
            ("anna bo", []),
            (", ;", []),
        ]:
            with self.subTest(q):
                self.assertEqual(self.found(q=q), expected)
                limited = self.client.get("/users", query_string={"q": q, "total": "true"})
                self.assertEqual(limited.json["data"]["total"], len(expected))

    def test_search_finds_exact_address_and_names_first(self):
        for name, email in [
            ("Ada", "a@example.com"),
            ("Ada Lovelace", "b@example.com"),
            ("ada@example.com", "c@example.com"),
            ("X", "ADA@example.com"),
            ("Y", "ada@example.com.au"),
            ("ADA", "d@example.com"),
            ("Z", "ada.ada@example.com"),
        ]:
            make_user(username=name, email=email)

        for q, expected in [
            ("ada", ["Ada", "ADA", "Ada Lovelace", "Z", "ada@example.com", "X", "Y"]),
            ("ada@example.com", ["X", "ada@example.com", "Y"]),
            (" Lovelace  ADA ", ["Ada Lovelace"]),
            ("ada lovelace", ["Ada Lovelace"]),
        ]:
            for limit in (1, 2, 1000):
                with self.subTest(q, limit=limit):
                    self.assertEqual(self.found(q=q, limit=limit), expected)

    def test_search_pages_by_the_same_word_to_the_end(self):
        for number in range(30):
            make_user(username=f"Ada {number}", email=f"love.{number}@example.com")
        for number in range(20):
            make_user(username="Love Other", email=f"x{number}@example.org")

        with recorded_commands() as commands:
            names = self.found(q="love example.com", limit=7)

        self.assertEqual(len(names), 30)
        self.assertEqual(len(set(names)), 30)
        selects = [each for each in commands if "user_words" in each]
        self.assertEqual(len(selects), 5)

    def test_search_with_a_filter_is_the_same_whichever_is_rare(self):
        for number in range(12):
            make_user(
                username=f"Ada {'Bo' if number % 2 else 'Cy'}",
                email=f"{'adam' if number % 3 else 'zoe'}.{number}@example.com",
                active=number % 4 == 0,
                role="editor" if number % 5 == 0 else None,
            )
        for query in [
            f"q={words}&{filters}"
            for words in ("ada", "com%20ada", "bo%20ad", "adam", "nobody")
            for filters in ("active=true", "role=editor", "role=none&active=false", "role=admin")
        ]:
            found = {}
            for search in (queries.search_among, queries.search):
                for cached in (queries.match_counts, queries.search):
                    cached.cache_clear()
                    self.addCleanup(cached.cache_clear)
                with (
                    self.subTest(query, search=search),
                    mock.patch.multiple(queries, COUNTED=3, NEAR=2),  # so the words are common
                    mock.patch.object(queries, "search_among", wraps=search) as among,
                ):
                    found[search] = self.paged(f"{query}&limit=2")
                    if "role=admin" in query and "nobody" not in query:
                        among.assert_called()
            one, other = found.values()
            self.assertEqual(one, other)

    def paged(self, query: str) -> list[int]:
        """Return the ids of all pages."""
        ids, cursor = [], ""
        while True:
            data = self.client.get(f"/users?{query}{cursor}").json["data"]
            ids += [user["id"] for user in data["users"]]
            if data["next"] is None:
                return ids
            cursor = f"&cursor={data['next']}"

    def test_search_finds_addresses_of_any_script(self):
        make_user(username="whole", email="Bü.x@BÜCHER.example")
        make_user(username="ASCII", email="x@books.example")
        for q, expected in [
            ("bü.x@bücher.example", ["whole"]),
            ("BÜ.X@Bücher.EXAMPLE", ["whole"]),
            ("bü.x@xn--bcher-kva.example ", ["whole"]),
            ("bü.x@xn--bch", ["whole"]),
            ("BÜ.", ["whole"]),
            ("bü.x@bücher.example.com", []),
            ("x@books.exa", ["ASCII"]),
            ("x@books.example  ", ["ASCII"]),
        ]:
            with self.subTest(q):
                self.assertEqual(self.found(q=q), expected)
                limited = self.client.get("/users", query_string={"q": q, "total": "true"})
                self.assertEqual(limited.json["data"]["total"], len(expected))

    def test_search_takes_wildcards_as_they_are(self):
        for name in ["100%", "1000", "a_b", "axb", "a\\b", "\U0010ffff"]:
            make_user(username=name)
        for q, expected in [
            ("100%", ["100%"]),
            ("a_", ["a_b"]),
            ("a\\", ["a\\b"]),
            ("%", []),
            ("_", []),
            ("a'", []),
        ]:
            with self.subTest(q):
                self.assertEqual(self.found(q=q), expected)

    def test_filters_go_together(self):
        make_user(username="ann1", email="a1@example.com", active=True)
        make_user(username="ann2", email="a2@example.com", active=False)
        make_user(username="bo", email="ann@example.com", active=True)
        for query, expected in [
            ({"active": "true"}, ["ann1", "bo"]),
            ({"active": "false"}, ["ann2"]),
            ({"email": "A1@EXAMPLE.com"}, ["ann1"]),
            ({"email": "nobody@example.com"}, []),
            ({"email": "a1@example.com", "active": "false"}, []),
            ({"q": "ann", "active": "true"}, ["ann1", "bo"]),
            ({"q": "ann", "email": "ann@example.com"}, ["bo"]),
            ({"q": "ann", "email": "ann@example.com", "active": "false"}, []),
            ({"sort": "-username", "active": "true"}, ["bo", "ann1"]),
        ]:
            with self.subTest(query):
                self.assertEqual(self.found(**query), expected)
                limited = self.client.get("/users", query_string={**query, "total": "true"})
                self.assertEqual(limited.json["data"]["total"], len(expected))

    def test_ids_are_answered_in_one_read(self):
        users = [make_user() for _ in range(3)]
        ids = f"{users[2].id},{users[0].id},-1,0,{10**30},{users[0].id}"

        self.client.get("/users")  # so that the connection is there
        with recorded_commands() as commands:
            response = self.client.get(f"/users?ids={ids}")

        found = [user["id"] for user in response.json["data"]["users"]]
        self.assertEqual(found, [users[0].id, users[2].id])
        self.assertIsNone(response.json["data"]["next"])
        self.assertEqual(len(commands), 1)
        repeated = self.client.get(f"/users?ids={ids.replace(',', '&ids=')}")
        self.assertEqual(repeated.json, response.json)
        self.assertEqual(self.client.get("/users?ids=-1").json["data"]["users"], [])
        zeros = self.client.get(f"/users?ids={'0' * 5000}{users[1].id}")
        self.assertEqual([user["id"] for user in zeros.json["data"]["users"]], [users[1].id])
        many = ",".join(map(str, range(1, 501)))
        self.assertEqual(len(self.client.get(f"/users?ids={many}").json["data"]["users"]), 3)

    def test_wrong_parameters_are_refused_by_name(self):
        for query, fields in [
            ("sort=colour", ["sort"]),
            ("sort=--id", ["sort"]),
            ("sort=", ["sort"]),
            ("sort=ID", ["sort"]),
            ("q=%20", ["q"]),
            ("q=%00", ["q"]),
            ("q=" + "x" * 129, ["q"]),
            ("q=a&sort=id", ["sort"]),
            ("email=x", ["email"]),
            ("active=1", ["active"]),
            ("active=True", ["active"]),
            ("total=yes", ["total"]),
            ("ids=", ["ids"]),
            ("ids=1,", ["ids"]),
            ("ids=1;2", ["ids"]),
            ("ids=1&ids=", ["ids"]),
            ("ids=" + "&ids=".join(["1"] * 501), ["ids"]),
            ("ids=x", ["ids"]),
            ("ids=" + ",".join(["1"] * 501), ["ids"]),
            ("ids=1&limit=1", ["ids"]),
            ("ids=1&total=true", ["ids"]),
            ("sort=x&active=x", ["sort", "active"]),
        ]:
            with self.subTest(query[:30]):
                self.assertEqual(self.refused(query), fields)

    def test_cursor_is_good_for_its_own_list_only(self):
        for number in range(3):
            make_user(username=f"u{number}", active=True)
        queries = ["sort=id", "sort=-id", "sort=username", "q=u", "q=u0", "active=true", "q=user"]
        cursors = {
            query: self.client.get(f"/users?limit=1&{query}").json["data"]["next"]
            for query in queries
        }
        for query, cursor in cursors.items():
            for other in queries:
                if cursor and other != query:
                    with self.subTest(query, other=other):
                        self.assertEqual(self.refused(f"{other}&cursor={cursor}"), ["cursor"])

    def test_paging_sees_each_user_once_while_others_come_and_go(self):
        make_users(300)
        begun, stop = Event(), Event()
        written: list[tuple[int, int]] = []

        def write() -> None:
            client = self.app.test_client()
            while not stop.is_set():
                number = len(written)
                user = {"username": f"new{number}", "email": f"new{number}@example.com"}
                added = client.post("/users", json=user)
                removed = client.delete(added.headers.get("Location", "/users/0"))
                written.append((added.status_code, removed.status_code))
                begun.set()

        writer = Thread(target=write)
        writer.start()
        try:
            self.assertTrue(begun.wait(10))
            for sort in ["id", "-created_at", "username"]:
                with self.subTest(sort):
                    names = self.found(sort=sort, limit=20)
                    kept = [name for name in names if name.startswith("user")]
                    self.assertEqual(len(kept), 300)
                    self.assertEqual(len(set(kept)), 300)
        finally:
            stop.set()
            writer.join()
        self.assertGreater(len(written), 1)
        self.assertEqual(set(written), {(201, 200)})

"""The JSON endpoints of users, row by row of the contract."""

from datetime import datetime
from threading import Barrier, Thread
from typing import Any

from project.api.users import service
from project.api.users.views import parse_id
from project.errors import Invalid
from project.tests.base import BaseTestCase
from project.tests.factories import make_user, make_users

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

        times = {"created_at": "2026-11-23T15:12:58Z", "updated_at": "2026-11-23T15:12:58Z"}
        self.assertEqual(
            response.json["data"],
            {
                "users": [
                    {
                        "id": one.id,
                        "username": "b",
                        "email": "B@example.com",
                        "active": False,
                        **times,
                    },
                    {
                        "id": two.id,
                        "username": "a",
                        "email": "a@example.com",
                        "active": True,
                        **times,
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
        link = f'</users?cursor={data["next"]}>; rel="next"'
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
            b"[" * 100_000,
            b'{"a":' * 100_000,
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
        message = "The body is larger than 1,048,576 bytes."
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
        barrier = Barrier(30)
        answers: list[tuple[int, str]] = []

        def write(number: int) -> None:
            client = self.app.test_client()
            email = "race@example.com" if number % 2 else "RACE@Example.COM"
            barrier.wait()
            response = client.post("/users", json={"username": f"u{number}", "email": email})
            answers.append((response.status_code, response.json["status"]))

        threads = [Thread(target=write, args=[number]) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(answers), [(201, "success")] + [(400, "fail")] * 29)
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
        for text in ["-1", "0", "-0", "999", "9" * 40, "-" + "9" * 40, "9" * 5000, "2147483648"]:
            with self.subTest(text[:40]):
                response = self.client.get(f"/users/{text}")

                self.assertEqual(response.status_code, 404)
                self.assertEqual(
                    response.json, {"status": "fail", "message": "User does not exist"}
                )

    def test_get_user_reads_leading_zeros(self):
        user = make_user()

        response = self.client.get(f"/users/{'0' * 50}{user.id}")

        self.assertEqual(response.json["data"]["id"], user.id)

    def test_parse_id_reads_ascii_decimal_integers_only(self):
        for text, number in [("7", 7), ("-7", -7), ("007", 7), ("9999999999", 9999999999)]:
            with self.subTest(text):
                self.assertEqual(parse_id(text), number)
        with self.assertRaises(Invalid):
            parse_id("٧")

"""Errors in SCIM's form, from any depth."""

from typing import Any
from unittest import mock

from sqlalchemy.exc import OperationalError

from project.api.scim import user_queries
from project.tests.factories import make_user
from project.tests.scim.base import ERROR, PATCH_OP, SCIMTestCase


class ErrorTests(SCIMTestCase):
    """What clients are told."""

    def assert_error(self, answer, status, scim_type, detail):
        self.assertEqual(answer.status_code, status, answer.text)
        self.assertEqual(answer.content_type, "application/scim+json")
        self.assertEqual(answer.json["schemas"], [ERROR])
        self.assertEqual(answer.json["status"], str(status))
        self.assertEqual(answer.json.get("scimType"), scim_type)
        self.assertRegex(answer.json["detail"], detail)

    def test_without_credentials(self):
        for path in ("/Users", "/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/Me"):
            with self.subTest(path):
                answer = self.client.get(f"/scim/v2{path}")

                self.assert_error(answer, 401, None, "valid auth token")
                self.assertEqual(answer.headers["WWW-Authenticate"], 'Bearer realm="users"')

    def test_without_credentials_even_if_access_is_open(self):
        self.app.config["ACCESS"] = "open"

        self.assertEqual(self.client.get("/scim/v2/Users").status_code, 401)

    def test_with_a_wrong_key(self):
        answer = self.client.get("/scim/v2/Users", headers={"Authorization": "Bearer usk_wrong"})

        self.assert_error(answer, 401, None, "Invalid token")
        self.assertIn("invalid_token", answer.headers["WWW-Authenticate"])

    def test_without_the_scope(self):
        self.key = self.make_key("users:read", role="editor")

        self.assertEqual(self.call("GET", "/Users/1").status_code, 200)
        answer = self.call("POST", "/Users", {"userName": "a@example.com"})

        self.assert_error(answer, 403, None, "users:write")

    def test_unknown_addresses(self):
        for path in ("/Nothing", "/Users/1/2", "/Schemas/urn:x", "/ResourceTypes/Robot"):
            with self.subTest(path):
                self.assert_error(self.call("GET", path), 404, None, ".")
        self.assert_error(self.client.get("/scim"), 404, None, ".")

    def test_ids_that_no_user_has(self):
        for user_id in ("007", "01", "0", "-1", "1.0", "x", "99", "9" * 40, "2147483648", "%20"):
            for method in ("GET", "PUT", "PATCH", "DELETE"):
                with self.subTest(user_id, method=method):
                    body = {"userName": "a@example.com", "Operations": [{"op": "add", "value": {}}]}

                    answer = self.call(method, f"/Users/{user_id}", body)

                    self.assert_error(answer, 404, None, "User does not exist")

    def test_wrong_method(self):
        answer = self.call("DELETE", "/Users")

        self.assert_error(answer, 405, None, ".")
        self.assertIn("POST", answer.headers["Allow"])

    def test_bodies_that_are_no_resources(self):
        for body, kind, status, scim_type in [
            (b"{", "application/scim+json", 400, "invalidSyntax"),
            (b"[]", "application/json", 400, "invalidSyntax"),
            (b"", "application/scim+json", 400, "invalidSyntax"),
            (b"\xff", "application/scim+json", 400, "invalidSyntax"),
            (b"{}", "text/plain", 415, None),
            (b"{}", "application/x-www-form-urlencoded", 415, None),
            (b"{}", "application/scim+json", 400, "invalidValue"),
        ]:
            with self.subTest(body, kind=kind):
                answer = self.client.post(
                    "/scim/v2/Users",
                    data=body,
                    content_type=kind,
                    headers={"Authorization": f"Bearer {self.key}"},
                )

                self.assert_error(answer, status, scim_type, ".")

    def test_body_that_is_too_large(self):
        answer = self.client.post(
            "/scim/v2/Users",
            data=b" " * 10_000_001,
            content_type="application/scim+json",
            headers={"Authorization": f"Bearer {self.key}"},
        )

        self.assert_error(answer, 413, None, "10,000,000 bytes")

    def test_attributes_that_are_too_large(self):
        body = {"userName": "a@example.com", "title": "x" * 70_000}

        answer = self.call("POST", "/Users", body)

        self.assert_error(answer, 413, None, "attributes")
        self.assertEqual(self.find('userName eq "a@example.com"'), [])

    def test_wrong_attributes_are_named(self):
        for body, detail in [
            ({"emails": [{"value": "a@example.com"}]}, "userName"),
            ({"userName": ""}, "userName"),
            ({"userName": None}, "userName"),
            ({"userName": "ada"}, "emails"),
            ({"userName": "ada", "emails": []}, "emails"),
            ({"userName": "ada", "emails": [{"value": "none"}]}, "emails"),
            ({"userName": "ada", "emails": [{"type": "work"}]}, "emails"),
            ({"userName": "a@example.com", "active": "perhaps"}, "active"),
            ({"userName": "a@example.com", "name": "Ada"}, "name"),
            ({"userName": "a@example.com", "displayName": "a\nb"}, "displayName"),
            ({"userName": "a@example.com", "displayName": "x" * 129}, "displayName"),
            ({"userName": "x" * 120 + "@example.com"}, "userName"),
            ({"userName": "a@example.com", "externalId": "x" * 129}, "externalId"),
            ({"userName": {"a": 1}}, "user_?[nN]ame"),
            (
                {"userName": "a", "emails": [{"value": "a@b.cc", "primary": True}] * 2},
                "rimary",
            ),
        ]:
            with self.subTest(body):
                self.assert_error(self.call("POST", "/Users", body), 400, "invalidValue", detail)

    def test_values_that_are_nested_deeply(self):
        user_id = self.create(userName="ada@example.com")["id"]
        for depth in (4, 900):
            for name in ("name", "manager", "emails", "x", "roles"):
                values: list[Any] = ["x", [], {}]
                for value in values:
                    nested: Any = value
                    for _ in range(depth):
                        nested = {name: nested} if value == {} else [nested]
                    body = {"userName": "b@example.com", name: nested}
                    whole = {"Operations": [{"op": "replace", "value": body}]}
                    by_path = {"Operations": [{"op": "replace", "path": name, "value": nested}]}
                    with self.subTest(name, depth=depth, value=value):
                        statuses = {
                            self.call("PUT", f"/Users/{user_id}", body).status_code,
                            self.call("PATCH", f"/Users/{user_id}", whole).status_code,
                            self.call("PATCH", f"/Users/{user_id}", by_path).status_code,
                        }

                        self.assertLessEqual(statuses, {200, 400})

    def test_more_values_than_anybody_has(self):
        user_id = self.create(userName="ada@example.com")["id"]
        many = [{"value": f"{number}@example.com"} for number in range(1001)]
        body = {"userName": "b@example.com", "emails": many}
        operations = [{"op": "add", "path": "title", "value": "x"}] * 1001

        self.assert_error(self.call("POST", "/Users", body), 413, None, "attributes")
        answer = self.call("PATCH", f"/Users/{user_id}", {"Operations": operations})
        self.assert_error(answer, 400, "invalidValue", "1000")

    def test_wrong_operations(self):
        user_id = self.create(userName="ada@example.com")["id"]
        for operations, scim_type in [
            (None, "invalidSyntax"),
            ([], "invalidSyntax"),
            (["add"], "invalidSyntax"),
            ([{"path": "title"}], "invalidSyntax"),
            ([{"op": "move", "path": "title", "value": "x"}], "invalidValue"),
            ([{"op": "remove"}], "noTarget"),
            ([{"op": "replace", "path": "title"}], "invalidValue"),
            ([{"op": "replace", "path": "title[", "value": "x"}], "invalidPath"),
            ([{"op": "replace", "path": "active", "value": "perhaps"}], "invalidValue"),
            ([{"op": "remove", "path": "userName"}], "mutability"),
            ([{"op": "replace", "path": "id", "value": "9"}], "mutability"),
            ([{"op": "add", "path": "groups", "value": [{"value": "1"}]}], "mutability"),
            ([{"op": "replace", "value": "x"}], "invalidValue"),
            (
                [
                    {"op": "replace", "path": "title", "value": "x"},
                    {"op": "replace", "path": "active", "value": "perhaps"},
                ],
                "invalidValue",
            ),
        ]:
            with self.subTest(operations):
                body = {"schemas": [PATCH_OP], "Operations": operations}

                answer = self.call("PATCH", f"/Users/{user_id}", body)

                self.assert_error(answer, 400, scim_type, ".")
        self.assertEqual(self.call("GET", f"/Users/{user_id}").headers["ETag"], 'W/"1"')

    def test_what_is_taken_is_named(self):
        self.create(userName="Ada", emails=[{"value": "ada@example.com"}])
        make_user(email="bob@example.com")
        for body, detail in [
            ({"userName": "ADA", "emails": [{"value": "a@example.com"}]}, "userName.*ADA"),
            ({"userName": "eve", "emails": [{"value": "ADA@example.com"}]}, "emails.*ADA@"),
            ({"userName": "Bob@example.com", "emails": [{"value": "b@example.com"}]}, "userName"),
        ]:
            with self.subTest(body):
                answer = self.call("POST", "/Users", body)

                self.assert_error(answer, 409, "uniqueness", detail)

    def test_filters_that_are_not_supported(self):
        for condition in [
            'title eq "x"',
            "active eq true",
            "userName pr",
            'userName ne "x"',
            'userName ew "x"',
            'not (userName eq "x")',
            'externalId sw "x"',
            'emails co "x"',
            'emails[type eq "work"]',
            'emails[type ne "work" and value eq "x"]',
            'emails.type eq "work"',
            'userName sw ""',
            'displayName co " "',
            "userName eq x",
            "userName eq 7",
            "userName eq null",
            'meta.created gt "2020-01-01T00:00:00Z"',
            'urn:x:userName eq "x"',
            "",
            "(" * 2000,
            " or ".join(['id eq "1"'] * 21),
        ]:
            with self.subTest(condition[:60]):
                answer = self.client.get(
                    "/scim/v2/Users",
                    query_string={"filter": condition},
                    headers={"Authorization": f"Bearer {self.key}"},
                )

                self.assert_error(answer, 400, "invalidFilter", ".")

    def test_parameters_of_lists(self):
        for query, status, scim_type in [
            ("startIndex=x", 400, "invalidValue"),
            ("count=1.5", 400, "invalidValue"),
            ("cursor=x", 400, "invalidCursor"),
            ("sortBy=userName", 501, None),
        ]:
            with self.subTest(query):
                self.assert_error(self.call("GET", f"/Users?{query}"), status, scim_type, ".")

    def test_what_is_declared_unsupported(self):
        for method, path in [
            ("GET", "/Me"),
            ("POST", "/Bulk"),
            ("POST", "/.search"),
            ("POST", "/Users/.search"),
        ]:
            with self.subTest(path):
                answer = self.call(method, path, {} if method == "POST" else None)

                self.assert_error(answer, 501, None, "not supported")

    def test_database_that_is_away(self):
        away = OperationalError("SELECT", {}, Exception(2003, "no server"))
        with mock.patch.object(user_queries, "read_presuming", side_effect=away):
            answer = self.call("GET", "/Users/1")

        self.assert_error(answer, 503, None, "not available")
        self.assertEqual(answer.headers["Retry-After"], "2")

    def test_unexpected_error_says_nothing_about_itself(self):
        with mock.patch.object(user_queries, "read_presuming", side_effect=RuntimeError("secret")):
            answer = self.call("GET", "/Users/1")

        self.assert_error(answer, 500, None, "request")
        self.assertNotIn("secret", answer.text)

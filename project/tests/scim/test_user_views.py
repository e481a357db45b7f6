"""The endpoints of users in SCIM, over the wire."""

from project.tests.factories import make_user
from project.tests.scim.base import ENTERPRISE, USER, SCIMTestCase


class CreateUserTests(SCIMTestCase):
    """POST /Users."""

    def test_create_user_returns_it(self):
        sent = {
            "schemas": [USER, ENTERPRISE],
            "userName": "ada@corp.example",
            "externalId": "00u1",
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
            "emails": [{"value": "Ada@Example.com", "type": "work", "primary": True}],
            "title": "Countess",
            "password": "not kept",
            "groups": [],
            ENTERPRISE: {"department": "Engines", "manager": {"value": "26"}},
        }

        answer = self.call("POST", "/Users", sent)

        self.assertEqual(answer.status_code, 201, answer.text)
        self.assertEqual(answer.content_type, "application/scim+json")
        user = answer.json
        times = {name: user["meta"].pop(name) for name in ("created", "lastModified")}
        self.assertRegex(times["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(
            user,
            {
                "schemas": [USER, ENTERPRISE],
                "id": "2",
                "userName": "ada@corp.example",
                "externalId": "00u1",
                "name": {"givenName": "Ada", "familyName": "Lovelace"},
                "displayName": "Ada Lovelace",
                "active": True,
                "title": "Countess",
                "emails": [{"value": "Ada@Example.com", "type": "work", "primary": True}],
                ENTERPRISE: {"department": "Engines", "manager": {"value": "26"}},
                "meta": {
                    "resourceType": "User",
                    "location": "http://localhost/scim/v2/Users/2",
                    "version": 'W/"1"',
                },
            },
        )
        self.assertEqual(answer.headers["Location"], user["meta"]["location"])
        self.assertEqual(answer.headers["ETag"], 'W/"1"')
        self.assertEqual(self.call("GET", "/Users/2").json["title"], "Countess")

    def test_user_is_one_of_the_directory(self):
        self.create(userName="ada", displayName="Ada", emails=[{"value": "ada@example.com"}])

        found = self.client.get("/users/2").json["data"]

        self.assertEqual(
            {name: found[name] for name in ("username", "email", "active", "role")},
            {"username": "Ada", "email": "ada@example.com", "active": True, "role": None},
        )


class ListUsersTests(SCIMTestCase):
    """GET /Users."""

    def test_list_users_by_start_index(self):
        for number in range(5):
            make_user(username=f"u{number}", email=f"u{number}@example.com")

        pages = [
            self.call("GET", f"/Users?startIndex={start}&count=2").json for start in (1, 3, 5, 7, 6)
        ]

        self.assertEqual([page["totalResults"] for page in pages], [6] * 5)
        self.assertEqual(
            [[each["id"] for each in page["Resources"]] for page in pages],
            [["1", "2"], ["3", "4"], ["5", "6"], [], ["6"]],
        )
        self.assertEqual([page["startIndex"] for page in pages], [1, 3, 5, 7, 6])


class FindUsersTests(SCIMTestCase):
    """GET /Users?filter=."""

    def test_users_are_found_by_each_attribute_in_any_letter_case(self):
        self.create(
            userName="Ada@corp.example",
            externalId="X1",
            emails=[{"value": "ada@example.com", "type": "work"}],
        )
        make_user(username="Bob", email="bob@example.com")

        for condition, ids in {
            'userName eq "ADA@corp.example"': ["2"],
            'userName eq "ada@example.com"': [],
            'username Eq "BOB@example.com"': ["3"],
            'externalId eq "X1"': ["2"],
            'externalId eq "x1"': [],
            'id eq "2"': ["2"],
            'id eq "02"': [],
            'emails eq "ADA@example.com"': ["2"],
            'emails.value eq "bob@example.com"': ["3"],
            'emails[type eq "work"].value eq "ada@example.com"': ["2"],
            'emails[type eq "home"].value eq "ada@example.com"': [],
            f'{USER}:userName eq "ada@corp.example"': ["2"],
            'userName eq "ada@corp.example" or id eq "3"': ["2", "3"],
            'userName eq "ada@corp.example" and id eq "3"': [],
            'userName sw "ada@c"': ["2"],
            'userName sw "bo"': ["3"],
            'displayName co "bo"': ["3"],
            'displayName sw "ob"': [],
        }.items():
            with self.subTest(condition):
                self.assertEqual(self.find(condition), ids)

"""Users as SCIM sees them: who is who, and the rules and the trail of the directory."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from project.api.audit import service as audit
from project.tests.factories import make_group, make_user
from project.tests.scim.base import ENTERPRISE, SCIMTestCase
from project.tests.wire import recorded_commands


class WhoIsWhoTests(SCIMTestCase):
    """userName, emails and displayName."""

    def test_user_without_a_row_answers_to_its_email(self):
        user = make_user(username="Ada", email="Ada@example.com", active=True)

        found = self.call("GET", f"/Users/{user.id}").json

        self.assertEqual(found["userName"], "Ada@example.com")
        self.assertEqual(found["displayName"], "Ada")
        emails = [{"value": "Ada@example.com", "type": "work", "primary": True}]
        self.assertEqual(found["emails"], emails)
        self.assertEqual(self.find('userName eq "ada@EXAMPLE.com"'), ["2"])

    def test_first_sync_links_those_who_are_there(self):
        make_user(username="Ada", email="ada@example.com")
        [user_id] = self.find('userName eq "ada@example.com"')

        user = self.patch(
            user_id,
            {"op": "Replace", "path": "userName", "value": "ada@corp.example"},
            {"op": "Add", "path": "externalId", "value": "X"},
        )

        self.assertEqual(user["emails"][0]["value"], "ada@example.com")
        self.assertEqual(user["meta"]["version"], 'W/"2"')
        self.assertEqual(self.find('userName eq "ada@example.com"'), [])
        self.assertEqual(self.find('userName eq "ada@corp.example" and externalId eq "X"'), ["2"])

    def test_user_name_of_a_row_comes_before_an_equal_email(self):
        first = self.create(userName="ada@example.com", emails=[{"value": "a@example.com"}])
        other = make_user(email="ada@example.com")

        self.assertEqual(self.find('userName eq "ada@example.com"'), [first["id"]])
        answer = self.patch(
            str(other.id), {"op": "add", "path": "externalId", "value": "X"}, status=409
        )
        self.assertEqual(answer["scimType"], "uniqueness")

    def test_email_is_the_primary_else_for_work_else_the_first(self):
        cases: list[tuple[Any, str, str]] = [
            ([("a", "home", None), ("b", "work", None), ("c", "x", True)], "c", "x"),
            ([("a", "home", None), ("b", "Work", None)], "b", "work"),
            ([("a", "home", False), ("b", None, None)], "a", "home"),
            ([("a", "work", None), ("b", None, True)], "b", "work"),
        ]
        for number, (emails, email, shown) in enumerate(cases):
            sent = [
                {
                    name: value
                    for name, value in {
                        "value": f"{local}{number}@example.com",
                        "type": kind,
                        "primary": primary,
                    }.items()
                    if value is not None
                }
                for local, kind, primary in emails
            ]
            with self.subTest(sent):
                user = self.create(userName=f"u{number}", emails=sent)

                found = self.client.get(f"/users/{user['id']}").json["data"]["email"]
                self.assertEqual(found, f"{email}{number}@example.com")
                values = [each["value"] for each in user["emails"]]
                self.assertEqual(values, [each["value"] for each in sent])
                main = user["emails"][values.index(found)]
                self.assertEqual(main["type"], shown)

    def test_untyped_primary_email_counts_as_that_for_work(self):
        self.create(userName="u", emails=[{"value": "a@example.com", "primary": True}])

        self.assertEqual(self.find('emails[type eq "work"].value eq "A@example.com"'), ["2"])
        user = self.patch(
            "2", {"op": "replace", "path": 'emails[type eq "work"].value', "value": "b@example.com"}
        )

        emails = [{"value": "b@example.com", "type": "work", "primary": True}]
        self.assertEqual(user["emails"], emails)

    def test_other_emails_find_the_user_too(self):
        self.create(
            userName="u",
            emails=[
                {"value": "a@example.com", "primary": True, "type": "home"},
                {"value": "W@example.com", "type": "work"},
                {"value": "W@example.com", "type": "other"},
                {"value": "no address", "type": "x"},
            ],
        )

        for condition in (
            'emails eq "w@example.com"',
            'emails[type eq "work"].value eq "W@EXAMPLE.com"',
        ):
            self.assertEqual(self.find(condition), ["2"])
        self.assertEqual(self.find('emails[type eq "work"].value eq "a@example.com"'), [])
        self.patch("2", {"op": "remove", "path": 'emails[type eq "work"]'})
        self.assertEqual(self.find('emails[type eq "work"].value eq "w@example.com"'), [])
        self.assertEqual(self.find('emails.value eq "w@example.com"'), ["2"])
        self.call("DELETE", "/Users/2")
        self.assertEqual(self.find('emails.value eq "w@example.com"'), [])

    def test_user_name_stands_for_a_missing_email(self):
        user = self.create(userName="Ada@example.com")

        self.assertEqual(user["emails"][0]["value"], "Ada@example.com")

    def test_display_name_is_derived(self):
        cases: list[tuple[dict[str, Any], str]] = [
            ({"displayName": "D", "name": {"formatted": "F"}}, "D"),
            ({"name": {"formatted": "F", "givenName": "G"}}, "F"),
            ({"name": {"givenName": "G", "familyName": "H"}}, "G H"),
            ({"name": {"familyName": "H"}, "displayName": ""}, "H"),
            ({"name": {"middleName": "M"}}, "u4@example.com"),
        ]
        for number, (attributes, name) in enumerate(cases):
            with self.subTest(attributes):
                user = self.create(userName=f"u{number}@example.com", **attributes)

                self.assertEqual(user["displayName"], name)
                found = self.client.get(f"/users/{user['id']}").json["data"]
                self.assertEqual(found["username"], name)

    def test_derived_name_follows_what_it_is_derived_from(self):
        derived = self.create(userName="a@example.com", name={"givenName": "Ada"})
        given = self.create(userName="b@example.com", displayName="Bob", name={"givenName": "Bob"})
        change = {"op": "replace", "path": "name.givenName", "value": "New"}

        names = [self.patch(each["id"], change)["displayName"] for each in (derived, given)]

        self.assertEqual(names, ["New", "Bob"])

    def test_change_in_the_directory_is_seen(self):
        user = self.create(
            userName="ada",
            name={"givenName": "Ada"},
            emails=[{"value": "a@example.com", "type": "work"}, {"value": "h@example.com"}],
        )
        headers = {"Authorization": f"Bearer {self.key}"}
        changes = {"username": "Countess", "email": "new@example.com"}
        self.client.patch(f"/users/{user['id']}", json=changes, headers=headers)

        found = self.call("GET", f"/Users/{user['id']}").json

        self.assertEqual((found["userName"], found["displayName"]), ("ada", "Countess"))
        self.assertEqual(found["emails"][0]["value"], "new@example.com")
        self.assertEqual(found["meta"]["version"], 'W/"2"')
        same = self.patch(user["id"], {"op": "replace", "path": "active", "value": True})
        self.assertEqual(same, found)

    def test_external_id_need_not_be_unique(self):
        for number in range(2):
            self.create(userName=f"u{number}@example.com", externalId="X")

        self.assertEqual(self.find('externalId eq "X"'), ["2", "3"])

    def test_other_attributes_are_kept(self):
        attributes = {
            "name": {"honorificPrefix": "Lady", "middleName": "King"},
            "title": "Countess",
            "nickName": "Ada",
            "profileUrl": "https://example.com/ada",
            "userType": "Employee",
            "locale": "en-GB",
            "timezone": "Europe/London",
            "preferredLanguage": "en",
            "phoneNumbers": [{"value": "tel:+44-20", "type": "work"}],
            "addresses": [{"streetAddress": "12 St James's Square", "country": "GB"}],
            "roles": [{"value": "admin"}],
            ENTERPRISE: {"employeeNumber": "1815", "manager": {"value": "1"}},
        }

        user = self.create(userName="ada@example.com", **attributes)

        found = self.call("GET", f"/Users/{user['id']}").json
        self.assertEqual({name: found[name] for name in attributes}, attributes)
        self.assertIsNone(self.client.get(f"/users/{user['id']}").json["data"]["role"])


class GroupsOfUsersTests(SCIMTestCase):
    """The read-only attribute groups."""

    def setUp(self) -> None:
        super().setUp()
        self.ada, self.bob = make_user(), make_user()
        make_group("Research", self.ada, self.bob)
        make_group("Design", self.ada)

    def test_groups_are_shown(self):
        group = {
            "value": "1",
            "$ref": "http://localhost/scim/v2/Groups/1",
            "display": "Research",
            "type": "direct",
        }

        self.assertEqual(self.call("GET", "/Users/3").json["groups"], [group])
        user = self.patch("2", {"op": "replace", "path": "title", "value": "x"})
        self.assertEqual([each["value"] for each in user["groups"]], ["1", "2"])
        self.assertNotIn("groups", self.call("GET", "/Users/1").json)

    def test_groups_of_a_page_are_one_select(self):
        with recorded_commands() as commands:
            page = self.call("GET", "/Users").json["Resources"]

        self.assertEqual([len(each.get("groups", ())) for each in page], [0, 2, 1])
        self.assertEqual(len([each for each in commands if "group_members" in each]), 1)

    def test_groups_that_are_not_wanted_are_not_read(self):
        for query in ("excludedAttributes=groups", "attributes=userName"):
            for path in ("/Users", "/Users/2"):
                with self.subTest(query, path=path), recorded_commands() as commands:
                    answer = self.call("GET", f"{path}?{query}")

                    self.assertEqual(answer.status_code, 200)
                    self.assertNotIn("groups", str(answer.json))
                    self.assertEqual([each for each in commands if "group_members" in each], [])
        user = self.call("GET", "/Users/3?attributes=groups.display").json
        self.assertEqual(user["groups"], [{"display": "Research"}])

    def test_groups_need_their_scope(self):
        self.key = self.make_key("users:read", role="viewer")

        self.assertNotIn("groups", self.call("GET", "/Users/2").json)

    def test_groups_cannot_be_changed_by_the_user(self):
        user = self.call("GET", "/Users/2").json

        answer = self.call("PUT", "/Users/2", {**user, "title": "x", "groups": []})

        self.assertEqual(answer.json["groups"], user["groups"])


class RuleTests(SCIMTestCase):
    """The rules of the directory hold through SCIM, too."""

    def test_administrator_is_changed_by_administrators_only(self):
        other = make_user(role="admin", active=True, password_hash="x")
        for method, body in [
            ("DELETE", None),
            ("PUT", {"userName": "a@example.com"}),
            ("PATCH", {"Operations": [{"op": "replace", "path": "active", "value": False}]}),
        ]:
            with self.subTest(method):
                answer = self.call(method, f"/Users/{other.id}", body)

                self.assertEqual(answer.status_code, 403)
                self.assertIn("scope admin", answer.json["detail"])

    def test_administrator_is_not_changed_even_if_access_is_open(self):
        self.app.config["ACCESS"] = "open"
        other = make_user(role="admin", active=True)

        self.assertEqual(self.call("DELETE", f"/Users/{other.id}").status_code, 403)

    def test_last_administrator_stays(self):
        last = make_user(role="admin", active=True, password_hash="x")
        self.key = self.make_key("admin", "users:write", role="admin")

        for method, body in [
            ("DELETE", None),
            ("PATCH", {"Operations": [{"op": "replace", "path": "active", "value": False}]}),
        ]:
            with self.subTest(method):
                self.assertEqual(self.call(method, f"/Users/{last.id}", body).status_code, 409)

    def test_own_account_is_neither_deactivated_nor_removed(self):
        for method, body in [
            ("DELETE", None),
            ("PUT", {"userName": "provisioning@example.com", "active": False}),
            ("PATCH", {"Operations": [{"op": "replace", "path": "active", "value": False}]}),
        ]:
            with self.subTest(method):
                answer = self.call(method, "/Users/1", body)

                self.assertEqual(answer.status_code, 403)
                self.assertIn("account that it belongs to", answer.json["detail"])

    def test_removed_user_is_free_again(self):
        user = self.create(userName="ada@example.com")

        self.assertEqual(self.call("DELETE", f"/Users/{user['id']}").status_code, 204)

        self.assertEqual(self.call("GET", f"/Users/{user['id']}").status_code, 404)
        self.assertEqual(self.find('userName eq "ada@example.com"'), [])
        self.assertNotEqual(self.create(userName="ada@example.com")["id"], user["id"])

    def test_if_match_prevents_a_lost_update(self):
        user = self.create(userName="ada@example.com")
        body = {"Operations": [{"op": "replace", "path": "title", "value": "x"}]}
        path = f"/Users/{user['id']}"

        for tag, status in [('W/"1"', 200), ('W/"1"', 412), ('"2"', 200), ("*", 200), ("x", 400)]:
            with self.subTest(tag):
                self.assertEqual(self.call("PATCH", path, body, If_Match=tag).status_code, status)
                body["Operations"][0]["value"] += "x"
        self.assertEqual(self.call("DELETE", path, If_Match='W/"1"').status_code, 412)

    def test_known_version_is_not_sent_again(self):
        user = self.create(userName="ada@example.com")

        path = f"/Users/{user['id']}"
        answer = self.call("GET", f"{path}?excludedAttributes=groups", If_None_Match='W/"1"')

        self.assertEqual((answer.status_code, answer.data), (304, b""))
        # Who is in which group is no part of the version.
        self.assertEqual(self.call("GET", path, If_None_Match='W/"1"').status_code, 200)
        self.assertEqual(self.call("GET", path, If_None_Match="x").status_code, 400)

    def test_user_is_found_by_the_search_of_the_directory(self):
        self.create(userName="ada@example.com", displayName="Ada Lovelace")
        self.patch("2", {"op": "replace", "path": "displayName", "value": "Augusta King"})

        found = [
            self.client.get(f"/users?q={word}").json["data"]["users"] for word in ("love", "king")
        ]

        self.assertEqual([len(users) for users in found], [0, 1])

    def test_of_many_at_once_one_gets_the_user_name(self):
        count = 8

        def create(number):
            body = {"userName": "Ada", "emails": [{"value": f"a{number}@example.com"}]}
            with self.app.app_context():
                answer = self.app.test_client().post(
                    "/scim/v2/Users", json=body, headers={"Authorization": f"Bearer {self.key}"}
                )
            return answer.status_code

        with ThreadPoolExecutor(count) as pool:
            statuses = sorted(pool.map(create, range(count)))

        self.assertEqual(statuses, [201] + [409] * (count - 1))


class TrailTests(SCIMTestCase):
    """What is recorded."""

    def events(self):
        """Return the events since the key was used first, oldest first."""
        found = [each for each in audit.list_events(50) if each.action.split(".")[0] != "key"]
        return [
            (each.action, each.actor, each.user_id, each.before, each.after)
            for each in sorted(found, key=lambda each: each.id)
        ]

    def test_what_was_done_is_in_the_trail(self):
        self.create(
            userName="ada@corp.example",
            displayName="Ada",
            emails=[{"value": "ada@example.com"}],
            title="Countess",
        )
        self.patch("2", {"op": "replace", "value": {"active": False, "title": "Lady"}})
        self.patch("2", {"op": "replace", "value": {"active": False, "title": "Lady"}})
        self.patch("2", {"op": "replace", "path": "displayName", "value": "Augusta"})
        self.call("DELETE", "/Users/2")

        actor = "key:1"
        state = {"username": "Ada", "email": "ada@example.com", "active": True, "role": None}
        kept = {"userName": "ada@corp.example", "title": "Countess"}
        removed = {**state, "username": "Augusta", "active": False}
        self.assertEqual(
            self.events(),
            [
                ("user.created", actor, 2, None, state),
                ("attributes.changed", actor, 2, None, kept),
                ("attributes.changed", actor, 2, {"title": "Countess"}, {"title": "Lady"}),
                ("user.updated", actor, 2, {"active": True}, {"active": False}),
                ("user.updated", actor, 2, {"username": "Ada"}, {"username": "Augusta"}),
                ("user.removed", actor, 2, removed, None),
            ],
        )

"""Requests as identity providers document them, beyond what the RFCs say."""

from typing import Any

from project.tests.scim.base import ENTERPRISE, PATCH_OP, USER, SCIMTestCase


class ProviderTestCase(SCIMTestCase):
    """A user who was provisioned before."""

    def setUp(self) -> None:
        super().setUp()
        self.user = self.create(
            schemas=[USER, ENTERPRISE],
            userName="ada@corp.example",
            externalId="00u1",
            name={"givenName": "Ada", "familyName": "Lovelace"},
            displayName="Ada Lovelace",
            emails=[
                {"value": "ada@example.com", "type": "work", "primary": True},
                {"value": "ada@home.example", "type": "home"},
            ],
            **{ENTERPRISE: {"department": "Engines", "manager": {"value": "8"}}},
        )
        self.id = self.user["id"]

    def stored(self) -> dict[str, Any]:
        """Return the user as it is now."""
        return self.call("GET", f"/Users/{self.id}").json  # type: ignore[no-any-return]

    def assert_stays(self, *operations: dict[str, Any]) -> None:
        """Check that operations change nothing, not even the version."""
        self.assertEqual(self.patch(self.id, *operations), self.user)


class OktaTests(ProviderTestCase):
    """Requests of Okta.

    https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20/
    """

    def test_create_with_groups_and_password(self):
        user = self.create(
            userName="test.user@okta.local",
            name={"givenName": "Test", "familyName": "User"},
            emails=[{"primary": True, "value": "test.user@okta.local", "type": "work"}],
            displayName="Test User",
            locale="en-US",
            externalId="00ujl29u0le5T6Aj10h7",
            groups=[],
            password="1mz050nq",
            active=True,
        )

        self.assertEqual(user["locale"], "en-US")
        self.assertNotIn("password", user)
        self.assertEqual(self.find('userName eq "test.user@okta.local"'), [user["id"]])

    def test_first_page_of_a_filter(self):
        answer = self.call(
            "GET", "/Users?filter=userName%20eq%20%22nobody%40okta.local%22&startIndex=1&count=100"
        )

        self.assertEqual(answer.status_code, 200)
        self.assertEqual((answer.json["totalResults"], answer.json["Resources"]), (0, []))

    def test_deactivate_without_a_path(self):
        user = self.patch(self.id, {"op": "replace", "value": {"active": False}})

        self.assertIs(user["active"], False)
        self.assertEqual(self.find('userName eq "ada@corp.example"'), [self.id])

    def test_patch_with_the_whole_user(self):
        changed = {**self.user, "nickName": "Countess", "groups": [{"value": "1"}]}

        user = self.patch(self.id, {"op": "replace", "value": changed})

        self.assertEqual(user["nickName"], "Countess")
        self.assertEqual(user["meta"]["version"], 'W/"2"')

    def test_put_with_the_whole_user(self):
        changed = {**self.user, "name": {"givenName": "Augusta", "familyName": "King"}}

        answer = self.call("PUT", f"/Users/{self.id}", changed)

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(answer.json["name"], {"givenName": "Augusta", "familyName": "King"})
        self.assertEqual(answer.json["displayName"], "Ada Lovelace")


class EntraTests(ProviderTestCase):
    """Requests of Entra.

    https://learn.microsoft.com/en-us/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups
    """

    def test_flag_in_the_address(self):
        answer = self.call("GET", "/Users?aadOptscim062020")

        self.assertEqual(answer.status_code, 200)

    def test_create_with_roles_and_meta(self):
        user = self.create(
            schemas=[USER, ENTERPRISE],
            externalId="0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
            userName="Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1",
            active=True,
            emails=[{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@testuser.com"}],
            meta={"resourceType": "User"},
            name={
                "formatted": "givenName familyName",
                "familyName": "familyName",
                "givenName": "givenName",
            },
            roles=[],
        )

        self.assertEqual(user["displayName"], "givenName familyName")

    def test_replace_in_capitals_with_false_as_text(self):
        user = self.patch(self.id, {"op": "Replace", "path": "active", "value": "False"})

        self.assertIs(user["active"], False)

    def test_replace_the_email_for_work(self):
        user = self.patch(
            self.id,
            {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "King@example.com"},
            {"op": "Replace", "path": "name.familyName", "value": "King"},
        )

        self.assertEqual(user["emails"][0]["value"], "King@example.com")
        self.assertEqual(user["name"]["familyName"], "King")
        self.assertEqual(self.client.get("/users/2").json["data"]["email"], "King@example.com")

    def test_add_a_value_that_no_entry_has(self):
        user = self.patch(
            self.id,
            {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+44 20 1"},
            {"op": "Add", "path": 'addresses[type eq "work"].locality', "value": "London"},
        )

        self.assertEqual(user["phoneNumbers"], [{"value": "+44 20 1", "type": "mobile"}])
        self.assertEqual(user["addresses"], [{"locality": "London", "type": "work"}])

    def test_keys_that_are_paths(self):
        user = self.patch(
            self.id,
            {
                "op": "replace",
                "value": {
                    "name.givenName": "Augusta",
                    f"{ENTERPRISE}:department": "Numbers",
                    f"{USER}:title": "Countess",
                    'emails[type eq "work"].value': "augusta@example.com",
                },
            },
        )

        self.assertEqual(user["name"], {"givenName": "Augusta", "familyName": "Lovelace"})
        self.assertEqual(user[ENTERPRISE]["department"], "Numbers")
        self.assertEqual(user["title"], "Countess")
        self.assertEqual(user["emails"][0]["value"], "augusta@example.com")

    def test_manager_in_each_form(self):
        path = f"{ENTERPRISE}:manager"
        for number, value in enumerate(
            [
                "10",
                {"value": "11"},
                {"value": "12", "$ref": None},
                [{"$ref": "http://localhost/scim/v2/Users/13", "value": "13"}],
                [{"$ref": None, "value": "14"}],
            ],
            10,
        ):
            for op, use in [("Add", path), ("Replace", path), ("replace", None)]:
                with self.subTest(value=value, op=op):
                    operation = {"op": op, "path": use, "value": value if use else {path: value}}

                    user = self.patch(self.id, operation)

                    self.assertEqual(user[ENTERPRISE]["manager"]["value"], str(number))

    def test_remove_the_manager(self):
        user = self.patch(
            self.id,
            {
                "op": "Remove",
                "path": f"{ENTERPRISE}:manager",
                "value": [{"$ref": None, "value": "8"}],
            },
        )

        self.assertEqual(user[ENTERPRISE], {"department": "Engines"})

    def test_remove_entries_by_value(self):
        self.patch(self.id, {"op": "Add", "path": "roles", "value": [{"value": "8"}, "9"]})

        user = self.patch(
            self.id, {"op": "Remove", "path": "roles", "value": [{"$ref": None, "value": "8"}]}
        )

        self.assertEqual(user["roles"], [{"value": "9"}])

    def test_primary_as_text(self):
        path = 'roles[primary eq "True"].value'

        user = self.patch(self.id, {"op": "Add", "path": path, "value": "reader"})

        self.assertEqual(user["roles"], [{"value": "reader", "primary": True}])

    def test_unknown_attributes_are_left_out(self):
        extension = "urn:ietf:params:scim:schemas:extension:custom:2.0:User"
        self.assert_stays(
            {"op": "Add", "path": f"{extension}:badge", "value": "7"},
            {"op": "Replace", "path": "badge", "value": "7"},
            {"op": "Add", "value": {extension: {"badge": "7"}, "badge": 7}},
        )

    def test_what_is_the_same_changes_nothing(self):
        self.assert_stays(
            {"op": "Replace", "path": "active", "value": "True"},
            {"op": "Replace", "path": "userName", "value": "ada@corp.example"},
            {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "ada@example.com"},
            {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Engines"},
            {"op": "Add", "path": "title", "value": None},
            {"op": "Replace", "path": "title", "value": None},
            {"op": "Replace", "path": "password", "value": "secret"},
        )


class GoogleTests(ProviderTestCase):
    """https://support.google.com/a/topic/6400789: JSON without SCIM's media type, several paths."""

    def test_replace_paths_with_plain_json(self):
        body = {
            "schemas": [PATCH_OP],
            "Operations": [
                {"op": "replace", "path": "name", "value": {"givenName": "A", "familyName": "L"}},
                {"op": "replace", "path": "emails", "value": [{"value": "a@example.com"}]},
                {"op": "replace", "path": "active", "value": False},
            ],
        }

        answer = self.call("PATCH", f"/Users/{self.id}", body, Content_Type="application/json")

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(answer.json["name"], {"givenName": "A", "familyName": "L"})
        self.assertEqual(answer.json["emails"], [{"value": "a@example.com"}])
        self.assertIs(answer.json["active"], False)


class OneLoginTests(ProviderTestCase):
    """Requests of OneLogin.

    https://developers.onelogin.com/scim/define-user-schema
    """

    def test_slash_at_the_end_of_the_base_url(self):
        for path in ("//Users", "/Users/", "//Users/", f"//Users/{self.id}", f"/Users/{self.id}/"):
            with self.subTest(path):
                self.assertEqual(self.call("GET", path).status_code, 200)

    def test_custom_extension_and_numbers_as_values(self):
        user = self.patch(
            self.id,
            {"op": "replace", "value": {ENTERPRISE: {"employeeNumber": 7}, "urn:x:y": {"a": 1}}},
        )

        self.assertEqual(user[ENTERPRISE]["employeeNumber"], "7")
        self.assertEqual(user[ENTERPRISE]["department"], "Engines")


class JumpCloudTests(ProviderTestCase):
    """https://jumpcloud.com/support: users are replaced by PUT."""

    def test_put_without_active_keeps_it(self):
        self.patch(self.id, {"op": "replace", "path": "active", "value": False})

        answer = self.call(
            "PUT",
            f"/Users/{self.id}",
            {
                "schemas": [USER],
                "userName": "ada@corp.example",
                "name": {"givenName": "Ada", "familyName": "King"},
                "emails": [{"value": "ada@example.com", "type": "work", "primary": True}],
                "phoneNumbers": [{"value": "+44", "type": "mobile", "primary": "false"}],
            },
        )

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertIs(answer.json["active"], False)
        self.assertEqual(answer.json["displayName"], "Ada King")
        self.assertNotIn("externalId", answer.json)
        self.assertNotIn(ENTERPRISE, answer.json)
        phone = {"value": "+44", "type": "mobile", "primary": False}
        self.assertEqual(answer.json["phoneNumbers"], [phone])

    def test_put_activates(self):
        sent = {"userName": "ada@corp.example", "emails": "ada@example.com", "active": "true"}

        answer = self.call("PUT", f"/Users/{self.id}", sent)

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertIs(answer.json["active"], True)
        self.assertEqual(answer.json["emails"], [{"value": "ada@example.com"}])

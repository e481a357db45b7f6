"""Requests for groups as identity providers document them."""

from typing import Any

from project.tests.factories import make_users
from project.tests.scim.base import GROUP, PATCH_OP, SCIMTestCase


class ProviderTestCase(SCIMTestCase):
    """A group of the users 2 and 3 that was provisioned before."""

    def setUp(self) -> None:
        super().setUp()
        make_users(5)
        self.id = self.create_group(2, 3, displayName="Research", externalId="8aa1a0c0")["id"]

    def members_after(self, *operations: dict[str, Any]) -> list[str]:
        """Send a PATCH; return the ids of the members."""
        self.patch_group(self.id, *operations)
        return self.member_ids(self.id)


class OktaTests(ProviderTestCase):
    """Requests of Okta.

    https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20/
    """

    def test_group_that_is_pushed(self):
        answer = self.call("GET", "/Groups?filter=displayName%20eq%20%22Test%20SCIMv2%22")
        self.assertEqual((answer.json["totalResults"], answer.json["Resources"]), (0, []))
        group = self.create_group(displayName="Test SCIMv2")

        self.patch_group(
            group["id"],
            {"op": "replace", "value": {"id": group["id"], "displayName": "Test SCIM v2"}},
            {
                "op": "add",
                "path": "members",
                "value": [{"value": "4", "display": "test.user@okta.local"}, {"value": "5"}],
            },
        )
        self.patch_group(group["id"], {"op": "remove", "path": 'members[value eq "4"]'})

        group = self.group(group["id"])
        self.assertEqual(group["displayName"], "Test SCIM v2")
        self.assertEqual([each["value"] for each in group["members"]], ["5"])
        self.assertEqual(self.call("DELETE", f"/Groups/{group['id']}").status_code, 204)

    def test_members_are_replaced(self):
        found = self.members_after(
            {"op": "remove", "path": "members"},
            {"op": "add", "path": "members", "value": [{"value": "3"}, {"value": "4"}]},
        )
        self.assertEqual(found, ["3", "4"])

        operation = {"op": "replace", "path": "members", "value": [{"value": "5"}]}
        self.assertEqual(self.members_after(operation), ["5"])

    def test_put_with_the_whole_group(self):
        group = self.group(self.id)
        changed = {**group, "displayName": "R", "members": [{"value": "2", "display": "a@b.cc"}]}

        answer = self.call("PUT", f"/Groups/{self.id}", changed)

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(self.member_ids(self.id), ["2"])

    def test_first_import(self):
        page = self.call("GET", "/Groups?startIndex=1&count=100").json

        self.assertEqual((page["totalResults"], page["startIndex"]), (1, 1))


class EntraTests(ProviderTestCase):
    """Requests of Entra.

    https://learn.microsoft.com/en-us/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups
    """

    def test_create_with_meta(self):
        answer = self.call(
            "POST",
            "/Groups",
            {
                "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/Group"],
                "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
                "displayName": "displayName",
                "meta": {"resourceType": "Group"},
            },
        )

        self.assertEqual(answer.status_code, 201, answer.text)
        self.assertEqual(answer.json["members"], [])

    def test_group_is_looked_up_without_members(self):
        query = "excludedAttributes=members&filter=displayName+eq+%22research%22"

        [group] = self.call("GET", f"/Groups?{query}").json["Resources"]
        same = self.call("GET", f"/Groups/{self.id}?excludedAttributes=members").json

        self.assertEqual(group["id"], self.id)
        self.assertEqual(same, group)
        self.assertNotIn("members", group)

    def test_membership_is_looked_up(self):
        for user_id, found in (("2", [self.id]), ("4", [])):
            condition = f'id eq "{self.id}" and members eq "{user_id}"'
            self.assertEqual(self.find(condition, "/Groups"), found)

    def test_name_is_replaced(self):
        operation = {"op": "Replace", "path": "displayName", "value": "1879db59-3bdf"}

        self.patch_group(self.id, operation)

        self.assertEqual(self.group(self.id)["displayName"], "1879db59-3bdf")

    def test_members_are_added_and_removed(self):
        add = {"op": "Add", "path": "members", "value": [{"$ref": None, "value": "4"}]}
        remove = {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "3"}]}

        self.assertEqual(self.members_after(add), ["2", "3", "4"])
        self.assertEqual(self.members_after(remove), ["2", "4"])

    def test_members_are_removed_by_a_path(self):
        found = self.members_after({"op": "Remove", "path": 'members[value eq "3"]'})

        self.assertEqual(found, ["2"])

    def test_an_operation_for_each_of_hundreds(self):
        make_users(300)
        operations = [
            {"op": "Add", "path": "members", "value": [{"$ref": None, "value": str(user_id)}]}
            for user_id in range(7, 307)
        ]

        self.assertEqual(len(self.members_after(*operations)), 302)

    def test_members_who_are_not_there_yet_are_passed_over(self):
        add = {"op": "Add", "path": "members", "value": [{"value": "4"}, {"value": "f648f8d5"}]}

        self.assertEqual(self.members_after(add), ["2", "3", "4"])


class GoogleTests(ProviderTestCase):
    """https://support.google.com/a/topic/6400789: JSON without SCIM's media type."""

    def test_members_with_plain_json(self):
        body = {
            "schemas": [PATCH_OP],
            "Operations": [
                {"op": "add", "path": "members", "value": [{"value": "4", "type": "User"}]},
                {"op": "remove", "path": 'members[value eq "2"]'},
                {"op": "replace", "path": "displayName", "value": "R"},
            ],
        }

        path = f"/Groups/{self.id}"
        answer = self.call("PATCH", path, body, Content_Type="application/json")

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual([each["value"] for each in answer.json["members"]], ["3", "4"])


class OneLoginTests(ProviderTestCase):
    """Requests of OneLogin.

    https://developers.onelogin.com/scim
    """

    def test_slash_at_the_end_of_the_base_url(self):
        for path in ("//Groups", "/Groups/", f"//Groups/{self.id}", f"/Groups/{self.id}/"):
            with self.subTest(path):
                self.assertEqual(self.call("GET", path).status_code, 200)

    def test_members_without_a_path(self):
        operation = {"op": "add", "value": {"members": [{"value": "4"}]}}
        self.assertEqual(self.members_after(operation), ["2", "3", "4"])

        operation = {"op": "replace", "value": {"members": [{"value": "5"}]}}
        self.assertEqual(self.members_after(operation), ["5"])


class JumpCloudTests(ProviderTestCase):
    """https://jumpcloud.com/support: groups are replaced by PUT with all members."""

    def test_put_with_all_members(self):
        body = {
            "schemas": [GROUP],
            "displayName": "Research",
            "members": [{"value": str(user_id)} for user_id in (3, 4, 5)],
        }

        answer = self.call("PUT", f"/Groups/{self.id}", body)

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(self.member_ids(self.id), ["3", "4", "5"])
        version = answer.json["meta"]["version"]
        again = self.call("PUT", f"/Groups/{self.id}", body)
        self.assertEqual(again.json["meta"]["version"], version)

    def test_put_with_the_last_member_gone(self):
        self.call("PUT", f"/Groups/{self.id}", {"displayName": "Research", "members": []})

        self.assertEqual(self.member_ids(self.id), [])

"""The endpoints of groups in SCIM, over the wire."""

from unittest import mock

from project.api.scim import group_views
from project.tests.factories import make_group, make_user, make_users
from project.tests.scim.base import ERROR, GROUP, PATCH_OP, SCIMTestCase
from project.tests.wire import recorded_commands


class CreateGroupTests(SCIMTestCase):
    """POST /Groups."""

    def test_create_group_returns_it(self):
        user = make_user(username="Ada")

        answer = self.call(
            "POST",
            "/Groups",
            {
                "schemas": [GROUP],
                "displayName": "Research",
                "externalId": "00g1",
                "members": [{"value": str(user.id), "display": "of the client", "$ref": None}],
            },
        )

        self.assertEqual(answer.status_code, 201, answer.text)
        self.assertEqual(answer.content_type, "application/scim+json")
        group = answer.json
        times = {name: group["meta"].pop(name) for name in ("created", "lastModified")}
        self.assertRegex(times["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(
            group,
            {
                "schemas": [GROUP],
                "id": "1",
                "displayName": "Research",
                "externalId": "00g1",
                "members": [
                    {
                        "value": "2",
                        "$ref": "http://localhost/scim/v2/Users/2",
                        "type": "User",
                    }
                ],
                "meta": {
                    "resourceType": "Group",
                    "location": "http://localhost/scim/v2/Groups/1",
                    "version": 'W/"1"',
                },
            },
        )
        self.assertEqual(answer.headers["Location"], group["meta"]["location"])
        self.assertEqual(answer.headers["ETag"], 'W/"1"')
        self.assertEqual(self.call("GET", "/Groups/1").json["members"], group["members"])

    def test_group_is_one_of_the_directory(self):
        self.create_group(1, displayName="Research", externalId="X")

        found = self.client.get("/groups/1").json["data"]
        members = self.client.get("/groups/1/members").json["data"]["users"]

        self.assertEqual((found["display_name"], found["external_id"]), ("Research", "X"))
        self.assertEqual([each["id"] for each in members], [1])

    def test_members_who_are_no_users_are_passed_over(self):
        group = self.create_group(1, 99, "x", "007", "9" * 40, displayName="Research")

        self.assertEqual([each["value"] for each in group["members"]], ["1"])

    def test_taken_name_is_named(self):
        make_group("Research")

        answer = self.call("POST", "/Groups", {"displayName": "RESEARCH"})

        self.assertEqual(answer.status_code, 409)
        self.assertEqual(answer.json["scimType"], "uniqueness")
        self.assertEqual(answer.json["detail"], "displayName: Another group has 'RESEARCH'.")


class ReadGroupsTests(SCIMTestCase):
    """GET /Groups and /Groups/<id>."""

    def setUp(self) -> None:
        super().setUp()
        self.ada, self.bob = make_user(username="Ada"), make_user(username="Bob")
        make_group("Research", self.ada, self.bob, external_id="X1")
        make_group("Design", self.bob, external_id="X1")
        make_group("Empty")

    def test_list_groups_by_start_index_and_cursor(self):
        pages = [
            self.call("GET", f"/Groups?startIndex={start}&count=2").json for start in (1, 3, 5, 2)
        ]

        self.assertEqual([page["totalResults"] for page in pages], [3] * 4)
        self.assertEqual(
            [[each["id"] for each in page["Resources"]] for page in pages],
            [["1", "2"], ["3"], [], ["2", "3"]],
        )
        ids = [each["value"] for each in pages[0]["Resources"][0]["members"]]
        self.assertEqual(ids, ["2", "3"])
        self.assertEqual(pages[1]["Resources"][0]["members"], [])
        first = self.call("GET", "/Groups?cursor&count=2").json
        second = self.call("GET", f"/Groups?count=2&cursor={first['nextCursor']}").json
        self.assertEqual([each["id"] for each in second["Resources"]], ["3"])

    def test_groups_are_found_by_each_attribute(self):
        for condition, ids in {
            'displayName eq "RESEARCH"': ["1"],
            'displayName eq "Resear"': [],
            f'{GROUP}:displayName eq "Design"': ["2"],
            'displayName sw "re"': ["1"],
            'displayName sw "esearch"': [],
            'externalId eq "X1"': ["1", "2"],
            'externalId eq "x1"': [],
            'externalId eq "X1 "': [],
            'id eq "2"': ["2"],
            'id eq "02"': [],
            'members eq "3"': ["1", "2"],
            'members.value eq "2"': ["1"],
            'members[value eq "2"]': ["1"],
            'members[value eq "2" and type eq "User"]': ["1"],
            'members[value eq "2" and type eq "Group"]': [],
            'members eq "x"': [],
            'members eq "99"': [],
            'id eq "2" and members eq "3"': ["2"],
            'id eq "2" and members eq "2"': [],
            'id eq "3" or displayName eq "design"': ["2", "3"],
        }.items():
            with self.subTest(condition):
                self.assertEqual(self.find(condition, "/Groups"), ids)

    def test_filters_that_are_not_supported(self):
        for condition in [
            'displayName co "search"',
            'displayName ew "x"',
            'displayName sw " "',
            "displayName pr",
            'userName eq "x"',
            'members co "2"',
            'members.display eq "Ada"',
            'members[display eq "Ada"]',
            'meta.lastModified gt "2020-01-01T00:00:00Z"',
        ]:
            with self.subTest(condition):
                answer = self.client.get(
                    "/scim/v2/Groups",
                    query_string={"filter": condition},
                    headers={"Authorization": f"Bearer {self.key}"},
                )

                self.assertEqual(answer.status_code, 400)
                self.assertEqual(answer.json["scimType"], "invalidFilter")

    def test_members_that_are_not_wanted_are_not_read(self):
        for query in ("excludedAttributes=members", "attributes=displayName"):
            for path in ("/Groups/1", "/Groups", "/Groups?filter=id+eq+%221%22"):
                with self.subTest(query, path=path), recorded_commands() as commands:
                    separator = "&" if "?" in path else "?"
                    answer = self.call("GET", f"{path}{separator}{query}")

                    [group, *_] = answer.json.get("Resources", [answer.json])
                    self.assertEqual(group["displayName"], "Research")
                    self.assertNotIn("members", group)
                    self.assertEqual([each for each in commands if "group_members" in each], [])

    def test_members_of_a_page_are_one_select(self):
        with recorded_commands() as commands:
            self.call("GET", "/Groups")

        self.assertEqual(len([each for each in commands if "group_members" in each]), 1)

    def test_parts_of_members(self):
        group = self.call("GET", "/Groups/1?attributes=members.value").json

        self.assertEqual(group["members"], [{"value": "2"}, {"value": "3"}])

    def test_known_version_is_not_sent_again(self):
        answer = self.call("GET", "/Groups/1", If_None_Match='W/"1"')

        self.assertEqual((answer.status_code, answer.data), (304, b""))

    def test_ids_that_no_group_has(self):
        for group_id in ("007", "0", "-1", "x", "99", "9" * 40, "2147483648"):
            for method in ("GET", "PUT", "PATCH", "DELETE"):
                with self.subTest(group_id, method=method):
                    body = {"displayName": "N", "Operations": [{"op": "add", "value": {}}]}

                    answer = self.call(method, f"/Groups/{group_id}", body)

                    self.assertEqual(answer.status_code, 404)
                    self.assertEqual(answer.json["schemas"], [ERROR])


class WriteGroupsTests(SCIMTestCase):
    """PUT, PATCH and DELETE of /Groups/<id>."""

    def setUp(self) -> None:
        super().setUp()
        make_users(5)  # with the ids 2 to 6
        make_group("Research", 2, 3, external_id="X1")

    def test_put_replaces_all(self):
        answer = self.call("PUT", "/Groups/1", {"displayName": "R", "members": [{"value": "4"}]})

        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual([each["value"] for each in answer.json["members"]], ["4"])
        self.assertEqual(answer.json["displayName"], "R")
        self.assertNotIn("externalId", answer.json)
        self.assertEqual(answer.headers["ETag"], answer.json["meta"]["version"])
        self.assertEqual(self.call("GET", "/Groups/1").json, answer.json)

    def test_put_of_the_same_changes_nothing(self):
        group = self.call("GET", "/Groups/1").json

        self.assertEqual(self.call("PUT", "/Groups/1", group).json, group)

    def test_put_without_members_empties_the_group(self):
        answer = self.call("PUT", "/Groups/1", {"displayName": "Research"})

        self.assertEqual(answer.json["members"], [])

    def test_patch_returns_the_group(self):
        answer = self.patch_group("1", {"op": "add", "path": "members", "value": "4"})

        self.assertEqual(answer.json["meta"]["version"], 'W/"2"')
        self.assertEqual(self.group("1"), answer.json)

    def test_patch_returns_many_members_only_if_they_are_chosen(self):
        operation = {"op": "add", "path": "members", "value": [{"value": "4"}]}

        with mock.patch.object(group_views, "MOST_RETURNED", 2):
            answer = self.patch_group("1", operation, status=204)
            self.assertEqual((answer.data, answer.headers["ETag"]), (b"", 'W/"2"'))
            self.check_chosen(operation)

    def check_chosen(self, operation):
        """Check the response to a PATCH that says which attributes it wants."""
        body = {"schemas": [PATCH_OP], "Operations": [operation]}
        answer = self.call("PATCH", "/Groups/1?attributes=members.value,meta.version", body)
        members = [{"value": value} for value in ("2", "3", "4")]
        self.assertEqual(answer.status_code, 200)
        self.assertEqual((answer.json["members"], answer.headers["ETag"]), (members, 'W/"2"'))

    def test_if_match_prevents_a_lost_update(self):
        operation = {"op": "replace", "path": "displayName", "value": "A"}
        for tag, status in [('W/"1"', 200), ('W/"1"', 412), ('"2"', 200), ("*", 200), ("x", 400)]:
            with self.subTest(tag):
                self.patch_group("1", operation, status=status, If_Match=tag)
                operation["value"] += "x"
        body = {"displayName": "B"}
        self.assertEqual(self.call("PUT", "/Groups/1", body, If_Match='"1"').status_code, 412)
        self.assertEqual(self.call("DELETE", "/Groups/1", If_Match='"1"').status_code, 412)
        self.assertEqual(self.group("1")["displayName"], "Axxx")

    def test_delete_leaves_the_members(self):
        answer = self.call("DELETE", "/Groups/1")

        self.assertEqual((answer.status_code, answer.data), (204, b""))
        self.assertEqual(self.call("GET", "/Groups/1").status_code, 404)
        self.assertEqual(self.call("GET", "/Users/2").status_code, 200)
        self.assertEqual(self.create_group(displayName="Research")["id"], "2")

    def test_without_the_scope(self):
        self.key = self.make_key("groups:read", "users:write", role="editor")

        self.assertEqual(self.call("GET", "/Groups/1").status_code, 200)
        for method, path in [
            ("POST", "/Groups"),
            ("PUT", "/Groups/1"),
            ("PATCH", "/Groups/1"),
            ("DELETE", "/Groups/1"),
        ]:
            answer = self.call(method, path, {"displayName": "x"})
            self.assertEqual(answer.status_code, 403)
            self.assertIn("groups:write", answer.json["detail"])

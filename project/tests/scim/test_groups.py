"""Changes of groups by SCIM: what operations lead to, and the rules and the trail."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from project import db
from project.api.audit import service as audit
from project.tests.factories import make_group, make_users
from project.tests.scim.base import GROUP, SCIMTestCase
from project.tests.wire import recorded_commands


def members(*ids: int | str) -> list[dict[str, str]]:
    """Return values of members."""
    return [{"value": str(each)} for each in ids]


def add(*ids: int | str) -> dict[str, Any]:
    """Return an operation that adds members."""
    return {"op": "add", "path": "members", "value": members(*ids)}


def remove(user_id: int | str) -> dict[str, Any]:
    """Return an operation that removes a member."""
    return {"op": "remove", "path": f'members[value eq "{user_id}"]'}


def replace(*ids: int | str) -> dict[str, Any]:
    """Return an operation that replaces all members."""
    return {"op": "replace", "path": "members", "value": members(*ids)}


class GroupTestCase(SCIMTestCase):
    """A group of the users 2 and 3 among those up to 11."""

    def setUp(self) -> None:
        super().setUp()
        make_users(10)
        make_group("Research", 2, 3, external_id="X1")


class OperationTests(GroupTestCase):
    """The operations of a PATCH."""

    def test_members_after_operations_in_their_order(self):
        cases: list[tuple[list[dict[str, Any]], list[str]]] = [
            ([add(4)], ["2", "3", "4"]),
            ([add(4, 4, 3)], ["2", "3", "4"]),
            ([add(99, "x", 4)], ["2", "3", "4"]),
            ([remove(2)], ["3"]),
            ([remove(99), remove("x")], ["2", "3"]),
            ([add(4), remove(4)], ["2", "3"]),
            ([remove(2), add(2)], ["2", "3"]),
            ([add(4), remove(2), add(5), remove(4)], ["3", "5"]),
            ([replace(4, 5)], ["4", "5"]),
            ([replace(4, 99)], ["4"]),
            ([add(6), replace(4), add(5), remove(4)], ["5"]),
            ([replace()], []),
            ([{"op": "remove", "path": "members"}], []),
            ([{"op": "remove", "path": "members"}, add(5)], ["5"]),
            ([{"op": "remove", "path": "members"}, add(99)], []),
            ([{"op": "replace", "path": "members", "value": None}], []),
            ([{"op": "remove", "path": "members", "value": members(2)}], ["3"]),
            ([{"op": "remove", "path": "members", "value": []}], ["2", "3"]),
            ([{"op": "add", "value": {"members": members(4)}}], ["2", "3", "4"]),
            ([{"op": "replace", "value": {"members": members(4)}}], ["4"]),
            ([{"op": "add", "path": f"{GROUP}:members", "value": "4"}], ["2", "3", "4"]),
            ([{"op": "ADD", "path": "Members", "value": {"Value": 4}}], ["2", "3", "4"]),
            ([{"op": "add", "path": "members", "value": None}], ["2", "3"]),
        ]
        for number, (operations, expected) in enumerate(cases):
            group = make_group(f"G{number}", 2, 3)
            with self.subTest(operations):
                self.patch_group(str(group.id), *operations)

                self.assertEqual(self.member_ids(str(group.id)), expected)
                changed = int(expected != ["2", "3"])
                self.assertEqual(self.group(str(group.id))["meta"]["version"], f'W/"{1 + changed}"')

    def test_attributes_after_operations(self):
        cases: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
            ({"op": "replace", "path": "displayName", "value": "New"}, ("New", "X1")),
            ({"op": "add", "path": "externalId", "value": "X2"}, ("New", "X2")),
            ({"op": "replace", "path": "externalId", "value": None}, ("New", None)),
            ({"op": "add", "value": {"externalId": 7, "id": "1", "schemas": []}}, ("New", "7")),
            ({"op": "remove", "path": "externalId"}, ("New", None)),
            ({"op": "replace", "value": {f"{GROUP}:displayName": "B", "id": "9"}}, ("B", None)),
            ({"op": "replace", "value": {"unknown": 1, "urn:x:y": {"a": 1}}}, ("B", None)),
            ({"op": "add", "path": "urn:x:2.0:displayName", "value": "C"}, ("B", None)),
            ({"op": "add", "path": "displayName", "value": None}, ("B", None)),
        ]
        for operation, expected in cases:
            with self.subTest(operation):
                self.patch_group("1", operation)

                group = self.group("1")
                self.assertEqual((group["displayName"], group.get("externalId")), expected)

    def test_wrong_operations_change_nothing(self):
        wrong: list[tuple[Any, str, str]] = [
            (None, "invalidSyntax", "Operations"),
            ([], "invalidSyntax", "Operations"),
            (["add"], "invalidSyntax", "Operations"),
            ([{"path": "members"}], "invalidSyntax", "op"),
            ([{"op": "move", "path": "members"}], "invalidValue", "op"),
            ([{"op": "remove"}], "noTarget", "path"),
            ([{"op": "add", "path": "members"}], "invalidValue", "value"),
            ([{"op": "add", "path": "members[", "value": "2"}], "invalidPath", "path"),
            ([{"op": "add", "value": "4"}], "invalidValue", "value"),
            ([{"op": "remove", "path": 'members[display eq "A"]'}], "invalidFilter", "members"),
            ([{"op": "remove", "path": 'members[value ne "2"]'}], "invalidFilter", "members"),
            (
                [{"op": "replace", "path": 'members[value eq "2"].value', "value": "4"}],
                "mutability",
                "members",
            ),
            (
                [{"op": "replace", "path": 'members[value eq "2"]', "value": {"value": "4"}}],
                "mutability",
                "members",
            ),
            ([{"op": "add", "path": "members", "value": [{"display": "x"}]}], "invalidValue", "id"),
            ([{"op": "add", "path": "members", "value": True}], "invalidValue", "id"),
            ([replace(99, "x")], "invalidValue", "members: None of these is a user"),
            ([{"op": "replace", "path": "displayName", "value": ""}], "invalidValue", "displayNam"),
            ([{"op": "replace", "path": "displayName", "value": []}], "invalidValue", "displayNam"),
            ([{"op": "replace", "path": "displayName", "value": "x" * 257}], "invalidValue", "256"),
            (
                [{"op": "replace", "path": "displayName", "value": "a\nb"}],
                "invalidValue",
                "display",
            ),
            ([{"op": "replace", "path": "externalId", "value": True}], "invalidValue", "externalI"),
            ([{"op": "remove", "path": "displayName"}], "mutability", "displayName"),
            ([{"op": "replace", "path": "id", "value": "9"}], "mutability", "id"),
        ]
        before = self.group("1")
        for operations, scim_type, detail in wrong:
            with self.subTest(operations):
                valid = [add(4), {"op": "replace", "path": "displayName", "value": "New"}]
                for tried in (operations, [*valid, *operations] if operations else operations):
                    answer = self.call("PATCH", "/Groups/1", {"Operations": tried})

                    self.assertEqual(answer.status_code, 400, answer.text)
                    self.assertEqual(answer.json["scimType"], scim_type)
                    self.assertIn(detail, answer.json["detail"])
        self.assertEqual(self.group("1"), before)

    def test_group_cannot_be_a_member(self):
        before = self.group("1")
        for member in (
            {"value": "4", "type": "Group"},
            {"value": "4", "type": "group"},
            {"value": "4", "$ref": "http://localhost/scim/v2/Groups/4"},
        ):
            for method, path, body in [
                ("POST", "/Groups", {"displayName": "New", "members": [member]}),
                ("PUT", "/Groups/1", {"displayName": "Research", "members": [member]}),
                (
                    "PATCH",
                    "/Groups/1",
                    {"Operations": [{"op": "Remove", "path": "members", "value": [member]}]},
                ),
            ]:
                with self.subTest(member, method=method):
                    answer = self.call(method, path, body)

                    self.assertEqual(answer.status_code, 400)
                    self.assertEqual(
                        answer.json["detail"], "members: A group cannot be a member of a group."
                    )
        self.assertEqual(self.group("1"), before)

    def test_wrong_attributes_are_named(self):
        for body, detail in [
            ({}, "displayName"),
            ({"displayName": " "}, "displayName"),
            ({"displayName": ["x"]}, "displayName"),
            ({"displayName": "x", "externalId": "x" * 129}, "externalId"),
            ({"displayName": "x", "members": [{}]}, "members"),
            ({"displayName": "x", "members": [["4"]]}, "members"),
        ]:
            for method, path in (("POST", "/Groups"), ("PUT", "/Groups/1")):
                with self.subTest(body, method=method):
                    answer = self.call(method, path, body)

                    self.assertEqual(answer.status_code, 400, answer.text)
                    self.assertEqual(answer.json["scimType"], "invalidValue")
                    self.assertIn(detail, answer.json["detail"])

    def test_put_in_which_no_member_is_known_is_refused(self):
        answer = self.call("PUT", "/Groups/1", {"displayName": "N", "members": members(99)})

        self.assertEqual(answer.status_code, 400)
        self.assertEqual(self.group("1")["displayName"], "Research")

    def test_hundreds_of_operations_are_as_many_statements_as_two(self):
        make_users(500)
        with recorded_commands() as few:
            self.patch_group("1", add(4), remove(2))
        operations = [*map(add, range(12, 512)), *map(remove, range(3, 400))]
        with recorded_commands() as many:
            self.patch_group("1", *operations)

        self.assertEqual(len(self.member_ids("1")), 112)
        statements = [
            len([each for each in commands if "INTO audit_events" not in each])
            for commands in (few, many)
        ]
        self.assertLessEqual(statements[1], statements[0])


class RuleTests(GroupTestCase):
    """The rules of groups hold through SCIM, too."""

    def test_taken_name_changes_nothing(self):
        make_group("Design")
        rename = {"op": "replace", "path": "displayName", "value": "design"}

        answer = self.patch_group("1", add(4), rename, status=409)

        self.assertEqual(answer.json["scimType"], "uniqueness")
        self.assertEqual(self.member_ids("1"), ["2", "3"])
        answer = self.call("PUT", "/Groups/1", {"displayName": "design", "members": []})
        self.assertEqual(answer.status_code, 409)
        self.assertEqual(self.group("1")["meta"]["version"], 'W/"1"')

    def test_removed_user_leaves_the_group_whose_version_rises(self):
        self.call("DELETE", "/Users/2")

        self.assertEqual(self.member_ids("1"), ["3"])
        self.assertEqual(self.group("1")["meta"]["version"], 'W/"2"')

    def test_eight_writers_at_once_lose_nothing(self):
        self.at_once([add(each) for each in range(4, 12)])
        self.assertEqual(self.member_ids("1"), [str(each) for each in range(2, 12)])
        self.assertEqual(self.group("1")["meta"]["version"], 'W/"9"')

        self.at_once([remove(each) for each in range(2, 10)])
        self.assertEqual(self.member_ids("1"), ["10", "11"])

    def at_once(self, operations: list[dict[str, Any]]) -> None:
        """Send each operation in a PATCH of its own, all at the same time."""

        def send(operation: dict[str, Any]) -> int:
            answer = self.app.test_client().patch(
                "/scim/v2/Groups/1",
                json={"Operations": [operation]},
                headers={"Authorization": f"Bearer {self.key}"},
            )
            return int(answer.status_code)

        db.session.remove()
        with ThreadPoolExecutor(len(operations)) as pool:
            self.assertEqual([*pool.map(send, operations)], [200] * len(operations))

    def test_of_many_at_once_one_gets_the_name(self):
        def create(_number: int) -> int:
            answer = self.app.test_client().post(
                "/scim/v2/Groups",
                json={"displayName": "New"},
                headers={"Authorization": f"Bearer {self.key}"},
            )
            return int(answer.status_code)

        db.session.remove()
        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(sorted(pool.map(create, range(8))), [201] + [409] * 7)

    def test_what_was_done_is_in_the_trail(self):
        rename = {"op": "replace", "path": "displayName", "value": "R&D"}
        before = max(each.id for each in audit.list_events(50))
        self.patch_group("1", rename, remove(2), add(4))
        self.patch_group("1", rename, remove(2), add(4))
        self.call("DELETE", "/Groups/1")

        found = [each for each in audit.list_events(50) if each.id > before]
        self.assertEqual(
            [
                (each.action, each.actor, each.user_id)
                for each in sorted(found, key=lambda each: each.id)
                if not each.action.startswith("key.")
            ],
            [
                ("group.updated", "key:1", None),
                ("member.removed", "key:1", 2),
                ("member.added", "key:1", 4),
                ("group.removed", "key:1", None),
            ],
        )

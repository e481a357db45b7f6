"""What the service of groups does for other features."""

import time

from project.api.groups import service
from project.api.groups.errors import GroupChanged, UnknownMembers
from project.database import in_transaction
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_group, make_user, make_users
from project.tests.wire import recorded_commands

add = in_transaction(service.add_members)
remove = in_transaction(service.remove_members)
replace = in_transaction(service.replace_members)


def members(group_id: int = 1) -> list[int]:
    """Return the ids of a group's members."""
    return [user.id for user in service.list_members(group_id, 9999)]


class MembersTests(BaseTestCase):
    """Members, added, removed and replaced."""

    def setUp(self) -> None:
        super().setUp()
        make_users(5)
        make_group("Research", 1, 2)

    def test_unknown_ids_can_be_skipped(self):
        self.assertEqual(add(1, [2, 3, 77, -1], unknown="skip").changed, 1)
        self.assertEqual(members(), [1, 2, 3])
        self.assertEqual(add(1, [77], unknown="skip").changed, 0)

    def test_replace_makes_these_the_members(self):
        for ids, expected, changed, version in [
            ([2, 3, 4, 77], [2, 3, 4], 3, 2),
            ([4, 3, 2], [2, 3, 4], 0, 2),
            ([], [], 3, 3),
        ]:
            group = replace(1, ids, unknown="skip")

            self.assertEqual((group.changed, group.version), (changed, version))
            self.assertEqual(members(), expected)

    def test_replace_by_unknown_users_only_is_refused(self):
        cases: list[tuple[service.Unknown, list[int]]] = [("skip", [77, 78]), ("refuse", [1, 78])]
        for unknown, ids in cases:
            with self.assertRaises(UnknownMembers) as caught:
                replace(1, ids, unknown=unknown)

            self.assertIn(78, caught.exception.ids)
            self.assertNotIn(1, caught.exception.ids)
        self.assertEqual(members(), [1, 2])
        self.assertEqual(service.get_group(1).version, 1)

    def test_version_is_checked_before_anything(self):
        for change in (add, remove, replace):
            with self.assertRaises(GroupChanged):
                change(1, [77], is_expected=lambda version: version == 2)

    def test_create_with_members(self):
        group = in_transaction(service.create_group)("Ops", "x", [2, 3, 77], "skip")

        self.assertEqual((group.version, group.external_id), (1, "x"))
        self.assertEqual(members(group.id), [2, 3])
        with self.assertRaises(UnknownMembers):
            in_transaction(service.create_group)("None", member_ids=[77])
        self.assertEqual(service.count_groups(), 2)

    def test_members_and_groups_of_several(self):
        make_group("Ops", 2, 3)

        found = service.members_of([1, 2, 9])
        self.assertEqual([tuple(row) for row in found], [(1, 1), (1, 2), (2, 2), (2, 3)])
        self.assertEqual(
            [tuple(row) for row in service.groups_of([2, 3, 4])],
            [(2, 1, "Research"), (2, 2, "Ops"), (3, 2, "Ops")],
        )
        self.assertEqual((*service.members_of([]), *service.groups_of([])), ())
        self.assertEqual(service.list_members(-1, 10), ())


class CostTests(BaseTestCase):
    """What a change of a large group costs."""

    def test_adding_one_to_ten_thousand_is_quick(self):
        make_users(10_000)
        ids = [user.id for user in all_users()]
        make_group("Research")
        started = time.perf_counter()
        add(1, ids)
        self.assertLess(time.perf_counter() - started, 10)
        others = [make_user().id for _ in range(5)]
        add(1, others[:1])
        took = []
        for each in others[1:]:
            started = time.perf_counter()
            with recorded_commands() as commands:
                add(1, [each])
            took.append(time.perf_counter() - started)

        self.assertLess(min(took), 0.05)
        self.assertLessEqual(len(commands), 8, commands)

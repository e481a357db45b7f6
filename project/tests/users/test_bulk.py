"""One change of several users, below the pages."""

from unittest import mock

from project.api.audit import service as audit
from project.api.users import bulk, service
from project.api.users.bulk import Change, Preview
from project.api.users.errors import LastAdministrator, OnlyByAdministrators, OwnAccount
from project.database import in_transaction, write
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user
from project.tests.wire import recorded_commands
from project.web.guard import Principal

apply = in_transaction(bulk.apply)


class BulkTests(BaseTestCase):
    """What a change would do, and what it does."""

    def make(self, *kinds: str) -> list[int]:
        """Add users; return their ids.

        :param kinds: ``active`` or ``inactive``, and a role.
        """
        ids = []
        for kind in kinds:
            active, _, role = kind.partition(" ")
            password = {"password_hash": "x"} if role == "admin" else {}
            ids.append(make_user(active=active == "active", role=role or None, **password).id)
        return ids

    def preview(self, change: Change, ids: list[int], by_admin: bool = True) -> Preview:
        """Return what a change would do."""
        found = Preview(change, by_admin)
        found.add(service.list_users_by_id(ids, bulk.COLUMNS))
        return found

    def signed_in_as(self, user_id: int) -> None:
        """Let this user be the caller."""
        who = Principal(user_id, "", "admin", frozenset())
        self.enterContext(mock.patch.object(bulk, "known_principal", lambda: who))

    def test_change_does_what_the_preview_says(self):
        for change, changed, unchanged in [
            (Change("activate"), [1, 3], 2),
            (Change("deactivate"), [0, 2], 2),
            (Change("role", "editor"), [0, 1], 2),
            (Change("role"), [2, 3], 2),
            (Change("remove"), [0, 1, 2, 3], 0),
        ]:
            with self.subTest(change):
                ids = self.make("active", "inactive", "active editor", "inactive editor")
                before = {user.id: user for user in all_users()}

                found = self.preview(change, ids)
                outcome = apply(change, ids, True)

                self.assertEqual(found.ids, [ids[place] for place in changed])
                self.assertEqual([user.id for user in found.shown], found.ids)
                self.assertEqual((found.unchanged, outcome.unchanged), (unchanged, unchanged))
                self.assertEqual((outcome.done, outcome.gone), (len(changed), 0))
                after = {user.id: user for user in all_users()}
                for user_id in ids:
                    if change.kind == "remove":
                        self.assertNotIn(user_id, after)
                    elif user_id in found.ids:
                        self.assertEqual(getattr(after[user_id], change.name), change.value)
                        self.assertEqual(after[user_id].version, before[user_id].version + 1)
                    else:
                        self.assertEqual(after[user_id], before[user_id])

    def test_each_user_gets_the_event_of_a_change_of_one(self):
        ids = self.make("active", "active viewer")

        apply(Change("role", "editor"), ids, True)
        apply(Change("deactivate"), ids, True)
        apply(Change("remove"), ids, True)

        events = sorted(audit.list_events(99), key=lambda event: event.id)
        expected = [
            ("user.updated", ids[0], {"role": None}, {"role": "editor"}),
            ("user.updated", ids[1], {"role": "viewer"}, {"role": "editor"}),
            ("user.updated", ids[0], {"active": True}, {"active": False}),
            ("user.updated", ids[1], {"active": True}, {"active": False}),
        ]
        self.assertEqual(
            [(event.action, event.user_id, event.before, event.after) for event in events[:4]],
            expected,
        )
        self.assertEqual([event.action for event in events[4:]], ["user.removed"] * 2)
        self.assertEqual(events[4].before["role"], "editor")

    def test_deactivation_ends_sign_ins(self):
        ids = self.make("active", "active")

        with mock.patch.object(service, "_after_deactivation", [ended := mock.Mock()]):
            apply(Change("deactivate"), ids, True)

        ended.assert_called_once_with(ids)
        self.assertEqual({user.deactivations for user in all_users()}, {1})

    def test_administrators_are_changed_by_administrators_only(self):
        ids = self.make("active admin", "active admin", "active")
        for change in [Change("deactivate"), Change("remove")]:
            with self.subTest(change):
                found = self.preview(change, ids, by_admin=False)
                outcome = apply(change, ids, False)

                self.assertEqual(found.ids, [ids[2]])
                self.assertEqual(found.left_out_count, 2)
                self.assertEqual(
                    {each.reason for each in [*found.left_out, *outcome.left_out]},
                    {OnlyByAdministrators.message},
                )

    def test_last_administrator_is_left_out(self):
        for change in [Change("deactivate"), Change("role", "viewer"), Change("remove")]:
            with self.subTest(change):
                for user in all_users():
                    in_transaction(delete_user)(user.id)
                ids = self.make("active admin", "active admin", "inactive admin", "active")

                found = self.preview(change, ids)
                outcome = apply(change, ids, True)

                for left_out in (found.left_out, outcome.left_out):
                    self.assertEqual(
                        [each.reason for each in left_out], [LastAdministrator.message]
                    )
                self.assertEqual(outcome.done, len(found.ids))
                left = service.get_user(ids[1])
                self.assertEqual((left.role, left.active), ("admin", True))

    def test_caller_is_left_out(self):
        ids = self.make("active admin", "active admin", "active")
        self.signed_in_as(ids[1])
        for change in [Change("deactivate"), Change("role", "viewer"), Change("remove")]:
            with self.subTest(change):
                found = self.preview(change, ids[1:])
                outcome = apply(change, ids[1:2], True)

                self.assertEqual([each.reason for each in found.left_out], [OwnAccount.message])
                self.assertEqual([each.reason for each in outcome.left_out], [OwnAccount.message])
                self.assertEqual(found.ids, [ids[2]])
        self.assertEqual(self.preview(Change("activate"), ids).unchanged, 3)

    def test_users_who_are_gone_are_counted(self):
        ids = self.make("active", "active")
        apply(Change("remove"), ids[:1], True)

        outcome = apply(Change("remove"), ids, True)

        self.assertEqual((outcome.done, outcome.gone), (1, 1))

    def test_many_users_take_few_statements(self):
        ids = self.make(*["active"] * 50)

        with recorded_commands() as commands:
            apply(Change("deactivate"), ids, True)

        audited = [each for each in commands if "audit_events" in each]
        self.assertEqual(len(audited), 50)
        self.assertLess(len(commands) - len(audited), 8)

    def test_preview_shows_the_first_users_and_counts_the_rest(self):
        ids = self.make(*["active"] * 25, *["active admin"] * 25)

        found = self.preview(Change("remove"), ids, by_admin=False)

        self.assertEqual([user.id for user in found.shown], ids[:20])
        self.assertEqual((len(found.left_out), found.left_out_count), (20, 25))


def delete_user(user_id: int) -> None:
    """Remove a user whatever the rules say."""
    write(service._DELETE, {"user_id": user_id})

"""A key that deactivates or removes too many users is stopped."""

from datetime import datetime, timedelta
from typing import Any
from unittest import TestCase, mock

from project import db
from project.api.audit import service as audit
from project.api.models import DeactivationGuard, User
from project.api.users import deactivation_guard as guard
from project.clock import utcnow
from project.database import in_transaction
from project.tests.factories import make_user, make_users
from project.tests.users.test_keys import KeyTestCase
from project.tests.users.test_views import together
from project.tests.wire import recorded_commands
from project.web import pruning


class LimitTests(TestCase):
    """How many users a key may deactivate or remove within an hour."""

    def test_limit_is_a_tenth_or_fifty_but_always_five(self):
        for active, limit in [
            (0, 5), (1, 5), (30, 5), (59, 5), (60, 6), (100, 10), (499, 49), (500, 50), (10**6, 50),
        ]:  # fmt: skip
            with self.subTest(active):
                self.assertEqual(guard.limit_of(active), limit)


class GuardTestCase(KeyTestCase):
    """Has ten active users beside the two of the keys, and an editor's key."""

    def setUp(self) -> None:
        super().setUp()
        self.robot.role = "editor"
        db.session.commit()
        self.token = self.key("users:read", "users:write")
        self.ids = [make_user(active=True).id for _ in range(10)]

    def deactivate(self, user_id: int, token: str = "") -> Any:
        """Deactivate a user."""
        path = f"/users/{user_id}"
        return self.call("PATCH", path, token or self.token, json={"active": False})

    def statuses(self, count: int, token: str = "") -> list[int]:
        """Deactivate the next users; return the answers' statuses."""
        found = db.session.query(User.id).filter(User.id.in_(self.ids), User.active)
        ids = [user_id for (user_id,) in found.order_by(User.id).limit(count)]
        db.session.rollback()
        return [self.deactivate(user_id, token).status_code for user_id in ids]

    def active(self) -> int:
        """Return how many of the ten are active."""
        return db.session.query(User).filter(User.id.in_(self.ids), User.active).count()

    def allow(self, key_id: int = 1) -> None:
        """Let the key go on."""
        in_transaction(guard.allow)(key_id, self.robot.id, "key")

    def actions(self) -> list[str]:
        """Return what was recorded of keys but their use, the oldest first."""
        return [
            event.action
            for event in reversed(audit.list_events(99))
            if event.action in {"key.stopped", "key.allowed"}
        ]


class GuardTests(GuardTestCase):
    """What is counted, and what is refused."""

    def test_one_more_is_refused_and_nothing_changes(self):
        self.assertEqual(self.statuses(5), [200] * 5)
        response = self.deactivate(self.ids[5])

        self.assertEqual(response.status_code, 429)
        self.assertIn("deactivated or removed 5 active users", response.json["message"])
        self.assertIn("/provisioning", response.json["message"])
        self.assertTrue(3590 <= int(response.headers["Retry-After"]) <= 3600)
        self.assertEqual(self.active(), 5)

    def test_deactivating_and_removing_are_counted_together(self):
        for place, user_id in enumerate(self.ids[:5]):
            body = {"username": "x", "email": f"x{place}@example.com", "active": False}
            method = ("DELETE", "PUT")[place % 2]
            response = self.call(method, f"/users/{user_id}", self.token, json=body)
            self.assertEqual(response.status_code, 200)

        for method in ("DELETE", "PUT"):
            response = self.call(method, f"/users/{self.ids[9]}", self.token, json=body)
            self.assertEqual(response.status_code, 429)
        # What concerns no active user goes on.
        inactive = [make_user().id, self.ids[1]]
        for method, user_id in [("PATCH", self.ids[9]), *(("DELETE", each) for each in inactive)]:
            change = {"username": "New", "active": True}
            response = self.call(method, f"/users/{user_id}", self.token, json=change)
            self.assertEqual(response.status_code, 200)

    def test_share_is_of_those_who_were_active_before(self):
        make_users(58)
        db.session.query(User).update({"active": True})
        db.session.commit()

        self.assertEqual(self.statuses(8), [200] * 7 + [429])  # a tenth of 70

    def test_hour_goes_by(self):
        now = utcnow()
        with mock.patch.object(guard, "utcnow", lambda: now):
            self.assertEqual(self.statuses(3), [200] * 3)
        with mock.patch.object(guard, "utcnow", lambda: now + timedelta(minutes=40)):
            self.assertEqual(self.statuses(3), [200, 200, 429])
            waits = self.deactivate(self.ids[9]).headers["Retry-After"]
        self.assertEqual(waits, "1200")
        with mock.patch.object(guard, "utcnow", lambda: now + timedelta(minutes=60)):
            self.assertEqual(self.statuses(4), [200] * 3 + [429])

    def test_other_callers_are_not_hindered(self):
        self.statuses(6)

        other = self.key("users:write")
        self.assertEqual(self.deactivate(self.ids[5], other).status_code, 200)
        self.assertEqual(self.deactivate(self.ids[6]).status_code, 429)
        self.app.config["ACCESS"] = "open"
        for user_id in self.ids[6:]:
            response = self.client.patch(f"/users/{user_id}", json={"active": False})
            self.assertEqual(response.status_code, 200)
        self.assertEqual(db.session.query(DeactivationGuard).count(), 2)

    def test_setting_switches_it_off(self):
        self.app.config["DEACTIVATION_GUARD"] = False

        self.assertEqual(self.statuses(10), [200] * 10)
        self.assertEqual(db.session.query(DeactivationGuard).count(), 0)

    def test_import_is_not_hindered_twice(self):
        rows = "".join(f"x,{make_user(active=True).email},false\n" for _ in range(7))
        report = self.call(
            "POST",
            "/users/import?deactivate_missing=true&max_deactivate=11",
            self.token,
            data=f"username,email,active\n{rows}Robot,{self.robot.email},true\n",
            content_type="text/csv",
        ).json["data"]

        self.assertEqual((report["updated"], report["deactivated"]), (7, 10))
        self.assertEqual(self.active(), 0)

    def test_refused_write_is_not_counted(self):
        for _ in range(6):
            headers = {"If-Match": '"99"'}
            path = f"/users/{self.ids[0]}"
            for method in ("PATCH", "DELETE"):
                response = self.call(
                    method, path, self.token, json={"active": False}, headers=headers
                )
                self.assertEqual(response.status_code, 412)

        self.assertEqual(self.statuses(5), [200] * 5)

    def test_requests_at_once_do_not_get_past_it(self):
        headers = {"Authorization": f"Bearer {self.token}"}
        requests = [
            (("PATCH", "DELETE")[place % 2], f"/users/{user_id}", {"active": False}, headers)
            for place, user_id in enumerate(self.ids)
        ]

        answers = together(self.app, requests)

        self.assertEqual(sorted(answers), [200] * 5 + [429] * 5)
        self.assertEqual(self.active(), 5)
        self.assertEqual(self.actions(), ["key.stopped"])

    def test_other_writes_cost_nothing_and_the_first_ones_little(self):
        self.deactivate(self.ids[0])
        with recorded_commands() as other:
            path = f"/users/{self.ids[1]}"
            self.call("PATCH", path, self.token, json={"username": "New"})
        with recorded_commands() as counted:
            self.deactivate(self.ids[2])

        self.assertFalse([sql for sql in other if "deactivation_guards" in sql])
        self.assertEqual(len([sql for sql in counted if "deactivation_guards" in sql]), 2)
        self.assertFalse([sql for sql in counted if "count(" in sql.lower()])


class StopTests(GuardTestCase):
    """What is recorded, and how an administrator lets a key go on."""

    def test_stop_is_recorded_once_an_hour(self):
        self.statuses(5)
        now = utcnow()
        self.deactivate(self.ids[5])
        self.deactivate(self.ids[6])

        [event] = [each for each in audit.list_events(99) if each.action == "key.stopped"]
        self.assertEqual((event.actor, event.user_id), ("key:1", self.robot.id))
        self.assertEqual(event.after, {"count": 5})
        self.assertIsNotNone(event.request_id)
        with mock.patch.object(guard, "utcnow", lambda: now + timedelta(minutes=59)):
            self.deactivate(self.ids[6])
        self.assertEqual(self.actions(), ["key.stopped"])
        with mock.patch.object(guard, "utcnow", lambda: now + timedelta(minutes=62)):
            self.assertEqual(self.statuses(9), [200] * 5)

    def test_key_goes_on_for_an_hour(self):
        self.statuses(6)
        now = utcnow()
        with mock.patch.object(guard, "utcnow", lambda: now):
            [stop] = guard.list_stops()
            self.assertEqual((stop.key_id, stop.stopped_at is not None), (1, True))
            self.allow()
            [stop] = guard.list_stops()

        self.assertEqual(stop, (1, None, now + timedelta(hours=1)))
        self.assertEqual(self.statuses(9), [200] * 5)
        self.assertEqual(self.actions(), ["key.stopped", "key.allowed"])
        self.ids = [make_user(active=True).id for _ in range(6)]
        with mock.patch.object(guard, "utcnow", lambda: now + timedelta(minutes=60)):
            self.assertEqual(guard.list_stops(), [])
            self.assertEqual(self.statuses(6), [200] * 5 + [429])
        self.assertEqual(self.actions(), ["key.stopped", "key.allowed", "key.stopped"])

    def test_key_may_be_let_go_on_beforehand(self):
        self.allow()

        self.assertEqual(self.statuses(10), [200] * 10)

    def test_rows_without_effect_go(self):
        self.statuses(1)
        with mock.patch.object(guard, "utcnow", lambda: datetime(2020, 1, 1)):
            self.allow(99)
        removed = sum(pruning.remove_all("deactivation counts"))

        self.assertEqual(removed, 1)
        self.assertEqual([row.key_id for row in db.session.query(DeactivationGuard)], [1])

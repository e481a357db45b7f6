"""Pages of lists."""

import time
from datetime import timedelta
from threading import Event
from typing import Any
from unittest import mock

from sqlalchemy.exc import SQLAlchemyError

from project import db
from project.api.models import SCIMPlace
from project.api.scim import places, totals, user_queries
from project.clock import utcnow
from project.database import in_transaction
from project.tests.factories import make_users
from project.tests.scim.base import SCIMTestCase
from project.tests.wire import recorded_commands


class PagingTests(SCIMTestCase):
    """Lists of 251 users: the key's, and those with the ids 2 to 251."""

    def setUp(self) -> None:
        super().setUp()
        make_users(250)
        self.enterContext(mock.patch.object(places, "MOST_WAIT_SECONDS", 30))

    def ids(self, query: str) -> list[int]:
        """Return the ids on a page."""
        answer = self.call("GET", f"/Users?{query}")
        self.assertEqual(answer.status_code, 200, answer.text)
        page = answer.json
        self.assertEqual(page["itemsPerPage"], len(page["Resources"]))
        self.assertEqual(page["totalResults"], 251)
        return [int(each["id"]) for each in page["Resources"]]

    def test_all_pages_have_everybody_once(self):
        found = [
            each for start in range(1, 252, 40) for each in self.ids(f"startIndex={start}&count=40")
        ]

        self.assertEqual(found, list(range(1, 252)))

    def test_no_page_reads_what_lies_before(self):
        self.ids("startIndex=1&count=100")
        with mock.patch.object(user_queries.IN_ORDER, "_skip", None):
            found = self.ids("startIndex=101&count=100")

        self.assertEqual(found, list(range(101, 201)))

    def test_jump_counts_from_the_nearest_page(self):
        self.assertEqual(self.ids("startIndex=201&count=10"), list(range(201, 211)))
        self.ids("startIndex=1&count=100")
        self.assertEqual(self.ids("startIndex=150&count=3"), [150, 151, 152])

    def test_what_is_removed_meanwhile_causes_no_gap(self):
        self.ids("startIndex=1&count=100")
        for user_id in range(5, 15):
            self.call("DELETE", f"/Users/{user_id}")

        answer = self.call("GET", "/Users?startIndex=101&count=100").json

        self.assertEqual(answer["Resources"][0]["id"], "101")

    def test_two_readers_do_not_disturb_each_other(self):
        self.ids("startIndex=1&count=100")
        for user_id in range(5, 15):
            self.call("DELETE", f"/Users/{user_id}")
        first, self.key = self.key, self.make_key("users:read", role="viewer")
        other = self.call("GET", "/Users?startIndex=1&count=100").json
        self.assertEqual(other["Resources"][-1]["id"], "110")

        self.key = first
        answer = self.call("GET", "/Users?startIndex=101&count=100").json
        self.assertEqual(answer["Resources"][0]["id"], "101")

    def test_limits(self):
        self.assertEqual(len(self.ids("")), 100)
        self.assertEqual(len(self.ids("count=5000")), 200)
        self.assertEqual(self.ids("count=0"), [])
        self.assertEqual(self.ids("count=-1"), [])
        self.assertEqual(self.ids("startIndex=0&count=2"), [1, 2])
        self.assertEqual(self.ids("startIndex=-9&count=2"), [1, 2])
        self.assertEqual(self.ids("startIndex=251"), [251])
        self.assertEqual(self.ids("startIndex=252"), [])
        self.assertEqual(self.ids("startIndex=999999999999"), [])

    def test_total_is_counted_once_in_a_while(self):
        with mock.patch("project.api.scim.totals.time.monotonic", return_value=1000.0):
            self.ids("count=10")
            make_users(1)
            self.ids("count=10")
        with mock.patch("project.api.scim.totals.time.monotonic", return_value=1031.0):
            total = self.call("GET", "/Users?count=10").json["totalResults"]

        self.assertEqual(total, 252)

    def test_many_are_counted_beside_the_requests(self):
        self.call("DELETE", "/Users/7")
        with mock.patch.object(totals, "MOST_COUNTED", 100):
            first = self.call("GET", "/Users?count=10").json["totalResults"]
            deadline = time.monotonic() + 10
            while (second := self.total()) == first and time.monotonic() < deadline:
                time.sleep(0.01)

        self.assertEqual((first, second), (251, 250))

    def total(self) -> int:
        """Return what a page says of all."""
        return self.call("GET", "/Users?count=10").json["totalResults"]  # type: ignore[no-any-return]

    def test_deep_page_is_a_few_statements(self):
        self.ids("startIndex=1&count=100")
        with recorded_commands() as commands:
            self.ids("startIndex=101&count=100")

        self.assertLessEqual(len(commands), 7, commands)

    def test_cursors_lead_through_the_list(self):
        found, cursor = [], ""
        while cursor is not None:
            page = self.call("GET", f"/Users?cursor={cursor}&count=100").json
            found += [int(each["id"]) for each in page["Resources"]]
            self.assertNotIn("startIndex", page)
            cursor = page.get("nextCursor")

        self.assertEqual(found, list(range(1, 252)))

    def test_cursors_lead_through_what_a_filter_finds(self):
        query = "filter=userName+co+%22many%22&count=200"
        first = self.call("GET", f"/Users?{query}&cursor").json
        second = self.call("GET", f"/Users?{query}&cursor={first['nextCursor']}").json

        self.assertEqual([len(each["Resources"]) for each in (first, second)], [200, 50])
        self.assertEqual(first["totalResults"], 250)
        self.assertNotIn("nextCursor", second)
        other = self.call("GET", f"/Users?cursor={first['nextCursor']}")
        self.assertEqual(other.json["scimType"], "invalidCursor")

    def test_comparison_that_finds_too_many_is_refused(self):
        make_users(1000)
        for condition in (
            "userName+co+%22many%22",
            "userName+sw+%22many%22",
            "displayName+sw+%22u%22",
        ):
            with self.subTest(condition):
                answer = self.call("GET", f"/Users?filter={condition}")

                self.assertEqual(answer.status_code, 400)
                self.assertEqual(answer.json["scimType"], "tooMany")

    def test_page_waits_for_no_slow_disk(self):
        self.ids("startIndex=1&count=100")
        ended = Event()
        self.addCleanup(lambda: places._pool.submit(int).result(30))  # the next test has none left
        self.addCleanup(ended.set)
        commit = places._commit

        def slow(*arguments: Any) -> None:
            ended.wait(30)
            commit(*arguments)

        with (
            mock.patch.object(places, "_commit", slow),
            mock.patch.object(places, "MOST_WAIT_SECONDS", 0.01),
        ):
            self.ids("startIndex=101&count=100")
            self.assertEqual(db.session.query(SCIMPlace).count(), 1)
            for user_id in range(105, 115):
                self.call("DELETE", f"/Users/{user_id}")
            with mock.patch.object(user_queries.IN_ORDER, "_skip", None):
                last = self.call("GET", "/Users?startIndex=201&count=100").json

        self.assertEqual(last["Resources"][0]["id"], "201")

    def test_place_that_cannot_be_stored_fails_no_page(self):
        with (
            mock.patch.object(places, "write", side_effect=SQLAlchemyError("disk full")),
            mock.patch.object(places, "log") as log,
        ):
            self.ids("startIndex=1&count=100")
            self.assertEqual(self.ids("startIndex=101&count=100"), list(range(101, 201)))

        log.warning.assert_called_with("place of a SCIM list not stored", reason="disk full")

    def test_mistake_of_ours_is_not_hidden(self):
        with (
            mock.patch.object(places, "write", side_effect=RuntimeError),
            mock.patch.dict(self.app.config, PROPAGATE_EXCEPTIONS=False),
        ):
            answer = self.call("GET", "/Users?count=100")

        self.assertEqual(answer.status_code, 500)

    def test_only_so_many_places_wait(self):
        with mock.patch.object(places, "MOST_WAITING", 0):
            self.ids("startIndex=1&count=100")

        self.assertEqual(db.session.query(SCIMPlace).count(), 0)

    def test_old_places_are_removed(self):
        self.ids("startIndex=1&count=100")
        db.session.query(SCIMPlace).update({"created_at": utcnow() - timedelta(hours=2)})
        db.session.commit()
        self.ids("startIndex=101&count=100")

        self.assertEqual(in_transaction(places.remove_expired)(100), 1)
        self.assertEqual(db.session.query(SCIMPlace).count(), 1)

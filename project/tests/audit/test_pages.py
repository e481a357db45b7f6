"""The page with the trail, over the wire; e2e/test_activity_pages.py uses a browser."""

import csv
import io
import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from unittest import mock

from sqlalchemy import insert

from project import db
from project.api.audit import service
from project.api.auth import service as auth
from project.api.models import AuditEvent
from project.api.users import service as users
from project.database import in_transaction
from project.errors import AppError
from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.tests.wire import recorded_commands

AS_PERSON = {"Accept": "text/html"}
START = datetime(2026, 11, 23, 15, 12, 58)


class ActivityTestCase(BaseTestCase):
    """Ada, an administrator, has signed in; there are Bob, and another of this name."""

    def setUp(self) -> None:
        super().setUp()
        self.ada = make_user(
            username="Ada", email="ada@example.com", role="admin", active=True, password_version=1
        )
        self.bob = make_user(username="Bob", email="bob@example.com")
        make_user(username="Bob", email="bobby@example.com")
        self.sign_in(self.ada)

    def sign_in(self, user: Any) -> None:
        """Give the browser a session."""
        made = in_transaction(auth._sign_in)(user, 0)
        with self.client.session_transaction() as cookie:
            cookie["sign_in"] = made.session

    def add(self, *events: dict[str, Any]) -> None:
        """Add events, one each second."""
        rows = [
            {
                "created_at": START + timedelta(seconds=number),
                "actor": "user:1",
                "action": "session.started",
                **{"user_id": None, "before": None, "after": None, "address": None},
                **event,
            }
            for number, event in enumerate(events)
        ]
        db.session.execute(insert(AuditEvent), rows)
        db.session.commit()

    def get(self, path: str = "/activity", **parameters: Any) -> Any:
        """Open an address as a browser does."""
        return self.client.get(path, query_string=parameters, headers=AS_PERSON)

    def sentences(self, **parameters: Any) -> list[str]:
        """Return the sentences of a page."""
        page = self.get(**parameters).text
        found = re.findall(r'<div class="sentence[^"]*">(.*?)</div>', page)
        return [unescape(re.sub("<[^>]+>", "", each)) for each in found]


class ActivityPageTests(ActivityTestCase):
    """/activity."""

    def test_events_are_sentences_the_newest_first_by_day(self):
        self.add(
            {"after": '{"count":2}', "actor": "command:seed_db", "action": "users.created"},
            {
                "action": "user.updated",
                "user_id": 2,
                "before": '{"email":"<a>@x"}',
                "after": '{"email":"b@x"}',
                "address": "203.0.113.7",
            },
            {"created_at": START + timedelta(days=1)},
        )

        page = self.get().text

        self.assertEqual(
            self.sentences(),
            [
                "Ada signed in",
                "Ada changed the email of Bob from <a>@x to b@x",
                "The command seed_db added 2 users",
            ],
        )
        self.assertEqual(re.findall(r'id="day-([^"]+)"', page), ["2026-11-24", "2026-11-23"])
        self.assertIn('datetime="2026-11-23T15:12:59Z"', page)
        self.assertIn(" 203.0.113.7</small>", page)
        self.assertIn('href="/activity?actor=command:seed_db">The command seed_db</a>', page)

    def test_names_lead_to_the_pages_of_users_who_are_there(self):
        self.add(
            {"action": "user.updated", "user_id": 2, "after": '{"active":true}'},
            {"actor": "user:99", "action": "user.updated", "user_id": 98, "after": '{"email":"x"}'},
        )

        page = self.get().text

        self.assertRegex(page, '<a class="name[^"]*" href="/user/1">Ada</a>')
        self.assertRegex(page, '<a class="name[^"]*" href="/user/2">Bob</a>')
        self.assertRegex(page, 'href="/activity\\?actor=user:99">User 99 \\(removed\\)</a>')
        self.assertNotIn("/user/9", page)

    def test_only_administrators_see_it_however_open_access_is(self):
        for path in ("/activity", "/activity/download"):
            for access in ("open", "protected"):
                self.app.config["ACCESS"] = access
                for role, status in [("viewer", 403), ("editor", 403), ("admin", 200)]:
                    with self.subTest(path, access=access, role=role):
                        someone = make_user(role=role, active=True, password_version=1)
                        self.sign_in(someone)

                        self.assertEqual(self.get(path).status_code, status)
                with self.subTest(path, access=access, role="nobody"):
                    self.client.delete_cookie("session")
                    self.assertEqual(self.get(path).status_code, 303)

    def test_filters_choose_events(self):
        self.add(
            {"user_id": 2, "action": "session.failed", "actor": "anonymous"},
            {"created_at": START + timedelta(days=1), "user_id": 1},
            {"created_at": START + timedelta(days=2), "actor": "key:7"},
        )
        for filters, count in [
            ({}, 3),
            ({"user": "2"}, 1),
            ({"user": "99999999999"}, 0),
            ({"actor": "user:1"}, 1),
            ({"actor": "key:7"}, 1),
            ({"actor": "anonymous"}, 1),
            ({"action": "session.started"}, 2),
            ({"action": "", "user": "", "from": "", "to": ""}, 3),
            ({"from": "2026-11-24"}, 2),
            ({"to": "2026-11-24"}, 2),
            ({"from": "2026-11-24", "to": "2026-11-24"}, 1),
            ({"from": "2026-11-25", "to": "2026-11-24"}, 0),
            ({"user": "2", "actor": "anonymous", "action": "session.failed"}, 1),
        ]:
            with self.subTest(filters):
                self.assertEqual(len(self.sentences(**filters)), count)

    def test_name_that_means_one_user_leads_to_this_user(self):
        for filters, expected in [
            ({"user": "ada"}, "/activity?user=1"),
            ({"actor": " ADA@example.com "}, "/activity?actor=user:1"),
            ({"actor": "ada", "user": "bob@example.com"}, "/activity?user=2&actor=user:1"),
            ({"user": "ada", "from": "2026-11-24"}, "/activity?user=1&from=2026-11-24"),
        ]:
            with self.subTest(filters):
                response = self.get(**filters)

                self.assertEqual(response.status_code, 303)
                self.assertEqual(response.location, expected)

    def test_chosen_person_is_named_and_can_be_removed(self):
        page = self.get(user="2", action="user.updated").text

        self.assertIn('<span class="text-truncate">Bob</span>', page)
        self.assertIn('<input type="hidden" name="user" value="2">', page)
        self.assertIn('href="/activity?action=user.updated"', page)
        self.assertIn("User 99 (removed)", self.get(user="99").text)

    def test_name_of_several_is_a_question_and_that_of_nobody_an_error(self):
        self.add({})
        response = self.get(user="bob", action="user.updated")
        self.assertEqual(response.status_code, 200)
        for user_id, email in [(2, "bob@example.com"), (3, "bobby@example.com")]:
            self.assertRegex(
                response.text, f'href="/activity\\?user={user_id}&amp;action=user.updated">Bob</a>'
            )
            self.assertIn(email, response.text)

        for filters, reason in [
            ({"user": "zoe"}, "Nobody with this name or email address was found."),
            ({"actor": "command:"}, "Nobody with this name or email address was found."),
            ({"user": "a" * 129}, "Nobody with this name or email address was found."),
            ({"user": "a\0"}, "Nobody with this name or email address was found."),
            ({"from": "yesterday"}, "Must be a date, such as 2026-11-23."),
            ({"to": "9999-12-31"}, "Must be a date, such as 2026-11-23."),
            ({"action": "x"}, "Must be of a form such as user.updated."),
        ]:
            with self.subTest(filters):
                response = self.get(**filters)

                self.assertEqual(response.status_code, 400)
                self.assertIn(reason, response.text)
                self.assertEqual(self.sentences(**filters), [])
                self.assertEqual(self.get("/activity/download", **filters).status_code, 400)

    def test_pages_lead_through_all_events_with_their_filters(self):
        self.add(*({"user_id": number % 2} for number in range(240)))
        address, counts = "/activity?user=1", []
        while address:
            page = self.client.get(address, headers=AS_PERSON).text
            counts.append(page.count("<time "))
            found = re.search('rel="next" href="([^"]+)"', page)
            address = unescape(found[1]) if found else ""

        self.assertEqual(counts, [50, 50, 20])
        self.assertIn('href="/activity?user=1">Newest events</a>', page)
        for cursor in [{"cursor": "x"}, {"before": "x"}, {"before": ""}]:
            self.assertEqual(self.get(**cursor).status_code, 400)

    def test_pages_lead_back_through_the_same_events(self):
        self.add(*({"user_id": number % 2} for number in range(240)))
        forwards = self.ids("/activity?user=1", "next")

        backwards = self.ids(self.last, "prev")

        self.assertEqual(backwards, forwards[::-1])
        self.assertNotIn('rel="prev"', self.get(user="1").text)

    def test_newest_page_is_full_also_when_it_is_reached_from_behind(self):
        self.add(*({"user_id": 1} for _ in range(60)))
        self.ids("/activity?user=1", "next")
        self.add({"created_at": START + timedelta(days=1), "user_id": 1})

        [_oldest, _between, newest] = self.ids(self.last, "prev")

        self.assertEqual(len(newest), 50)
        self.assertTrue(newest[0].startswith("2026-11-24"))

    def ids(self, address: str, way: str) -> list[list[str]]:
        """Return the times of all pages from an address on; ``last`` is the last address."""
        pages = []
        while address:
            self.last = address
            page = self.client.get(address, headers=AS_PERSON).text
            pages.append(re.findall('<time [^>]*datetime="([^"]+)"', page))
            found = re.search(f'rel="{way}" href="([^"]+)"', page)
            address = unescape(found[1]) if found else ""
        return pages

    def test_page_is_one_select_which_checks_the_caller_and_one_for_the_names(self):
        self.add(*({"user_id": 1 + number % 3} for number in range(60)))
        self.get()  # the connection is there
        with recorded_commands() as commands:
            self.get()

        self.assertEqual([command.split()[0] for command in commands], ["SELECT"] * 2)


class DownloadTests(ActivityTestCase):
    """/activity/download."""

    def rows(self, **parameters: Any) -> list[dict[str, str]]:
        """Return the rows of a file."""
        response = self.get("/activity/download", **parameters)
        self.assertEqual(response.status_code, 200)
        text = response.data.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def test_file_has_what_the_filters_find(self):
        self.add(
            {"user_id": 3, "request_id": "r-1", "address": "=1"},
            {
                "action": "user.updated",
                "user_id": 2,
                "before": '{"username":"Bob"}',
                "after": '{"username":"Bo, \\"b\\""}',
            },
        )
        in_transaction(users.update_user)(1, {"username": "=Ada"}, by_admin=True)

        rows = self.rows(user="2")

        self.assertEqual(
            rows,
            [
                {
                    "time (UTC)": "2026-11-23 15:12:59",
                    "actor": "user:1",
                    "action": "user.updated",
                    "user_id": "2",
                    "event": '\'=Ada renamed Bob from “Bob” to “Bo, "b"”',
                    "before": '{"username":"Bob"}',
                    "after": '{"username":"Bo, \\"b\\""}',
                    "address": "",
                    "request_id": "",
                }
            ],
        )
        self.assertEqual(self.rows(user="3")[0]["address"], "'=1")
        self.assertEqual(len(self.rows()), 3)

    def test_file_is_sent_part_by_part_and_ends_with_the_right(self):
        self.add(*({} for _ in range(7)))
        with mock.patch.object(service, "EVENTS_PER_PART", 3):
            self.assertEqual(len(self.rows()), 7)
            response = self.client.get("/activity/download", headers=AS_PERSON, buffered=False)
            make_user(role="admin", active=True)
            in_transaction(users.update_user)(self.ada.id, {"role": "editor"}, by_admin=True)
            with self.assertRaises(AppError):
                list(response.response)

"""Which SCIM requests are recorded, and what of them."""

from typing import Any
from unittest import mock

from sqlalchemy.exc import OperationalError

from project.api.audit import service as audit
from project.api.provisioning import recording
from project.api.scim import users
from project.api.users import deactivation_guard, service
from project.tests.factories import make_user
from project.tests.scim.base import ERROR, PATCH_OP, USER, SCIMTestCase
from project.tests.wire import recorded_commands

ADA = {"schemas": [USER], "userName": "ada@example.com"}


class RecordedTests(SCIMTestCase):
    """Every request below ``/scim``, however it ends."""

    def recorded(self) -> list[tuple[Any, ...]]:
        """Return what has been recorded since, the oldest first."""
        there = getattr(self, "there", 0)
        recording.commit_waiting(self.app)
        rows = [row for row in reversed(recording.list_requests()) if row.id > there]
        self.there = max((row.id for row in rows), default=there)
        return [(row.method, row.route, row.status, row.key_id) for row in rows]

    def messages(self) -> list[str | None]:
        """Return the messages of all requests, the oldest first."""
        recording.commit_waiting(self.app)
        return [row.message for row in reversed(recording.list_requests())]

    def test_each_request_is_recorded_once_with_its_route(self):
        user_id = self.create(userName="ada@example.com")["id"]
        for method, path, row in [
            ("GET", "/Users", ("GET", "/Users", 200, 1)),
            ("GET", "//Users/?filter=userName eq \"x\"", ("GET", "/Users", 200, 1)),
            ("GET", f"/Users/{user_id}", ("GET", "/Users/<id>", 200, 1)),
            ("GET", "/ServiceProviderConfig", ("GET", "/ServiceProviderConfig", 200, 1)),
            ("GET", "/Users/99", ("GET", "/Users/<id>", 404, 1)),
            ("PATCH", "/Users/99", ("PATCH", "/Users/<id>", 404, 1)),
            ("DELETE", f"/Users/{user_id}", ("DELETE", "/Users/<id>", 204, 1)),
            ("GET", "/Nothing/ada@example.com", ("GET", "(unknown)", 404, None)),
            ("PUT", "/Users", ("PUT", "(unknown)", 405, None)),
        ]:  # fmt: skip
            with self.subTest(method, path=path):
                self.recorded()
                self.call(method, path, {} if method == "PATCH" else None)

                self.assertEqual(self.recorded(), [row])

    def test_caller_without_valid_key_has_none(self):
        self.call("GET", "/Users", Authorization="Bearer usk_wrong")
        self.client.get("/scim/v2/Users")

        self.assertEqual(self.recorded(), [("GET", "/Users", 401, None)] * 2)

    def test_messages_have_no_personal_data(self):
        self.create(userName="ada@example.com", displayName="Ada Lovelace")
        self.call("POST", "/Users", ADA)
        self.call("POST", "/Users", {**ADA, "userName": "Ada Lovelace"})
        self.call("GET", '/Users?filter=displayName ne "Ada Lovelace"')
        self.call("GET", '/Users?filter=password eq "Ada Lovelace"')

        created, *failures = self.messages()

        self.assertIsNone(created)
        self.assertEqual(len(failures), 4)
        for message in failures:
            self.assertTrue(message)
            self.assertNotRegex(str(message), "(?i)ada|lovelace")

    def test_guard_answers_in_the_form_of_scim_and_is_shown(self):
        ids = [make_user(active=True).id for _ in range(6)]
        operation = {"op": "Replace", "path": "active", "value": "False"}
        for user_id in ids[:5]:
            self.patch(str(user_id), operation)

        body = {"schemas": [PATCH_OP], "Operations": [operation]}
        answer = self.call("PATCH", f"/Users/{ids[5]}", body)

        self.assertEqual((answer.status_code, answer.json["status"]), (429, "429"))
        self.assertEqual(answer.json["schemas"], [ERROR])
        self.assertTrue(3500 < int(answer.headers["Retry-After"]) <= 3600)
        self.assertTrue(service.get_user(ids[5]).active)
        self.assertIn("removed 5 active users within an hour", str(self.messages()[-1]))
        self.assertIn("key.stopped", [each.action for each in audit.list_events(9)])
        self.assertEqual([stop.key_id for stop in deactivation_guard.list_stops()], [1])

    def test_request_that_was_rolled_back_or_met_an_outage_is_there(self):
        away = mock.Mock(side_effect=OperationalError("", {}, ConnectionError("gone")))
        with mock.patch.object(users, "create_user", away):
            status = self.call("POST", "/Users", ADA).status_code

        self.assertGreaterEqual(status, 500)
        self.assertEqual(self.recorded(), [("POST", "/Users", status, 1)])

    def test_no_statement_is_added_and_other_requests_are_left_alone(self):
        self.call("GET", "/Users/1")
        with recorded_commands() as sent:
            self.call("GET", "/Users/1")
        self.assertFalse([sql for sql in sent if "scim_requests" in sql])
        self.recorded()

        self.client.get("/users/1")
        self.client.get("/nothing")

        self.assertEqual(self.recorded(), [])

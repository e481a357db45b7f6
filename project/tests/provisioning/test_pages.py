"""The page /provisioning."""

from html import unescape
from unittest import mock

from project import db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.models import DeactivationGuard
from project.api.provisioning import recording
from project.api.users import deactivation_guard as guard
from project.database import in_transaction
from project.tests.auth.test_pages import AS_PERSON, PageTestCase
from project.tests.factories import make_user
from project.web.guard import SCOPES_OF_ROLE, Principal


class ProvisioningPageTests(PageTestCase):
    """What an administrator sees and does."""

    def setUp(self) -> None:
        super().setUp()
        self.set_role("admin")
        self.sign_in()
        robot = make_user(username="okta", active=True, role="editor")
        who = Principal(robot.id, "okta", "editor", SCOPES_OF_ROLE["editor"])
        made = [in_transaction(auth.create_key)(who, name, ["users:write"], None) for name in "xy"]
        self.token, self.robot_id = made[0].key, robot.id

    def page(self, query: str = "") -> str:
        """Return the page as text."""
        response = self.client.get(f"/provisioning{query}", headers=AS_PERSON)
        self.assertEqual(response.status_code, 200)
        return unescape(response.text)

    def stop(self) -> None:
        """Let the first key be stopped."""
        for _ in range(6):
            user = make_user(active=True)
            response = self.call("DELETE", f"/users/{user.id}", self.token)
        self.assertEqual(response.status_code, 429)

    def test_base_url_is_shown(self):
        page = self.page()

        self.assertIn('value="http://localhost/scim/v2"', page)
        self.assertIn("There was none yet.", page)
        self.app.config["PUBLIC_URL"] = "https://users.example/people"
        self.assertIn('value="https://users.example/people/scim/v2"', self.page())

    def test_last_requests_are_shown_with_their_messages(self):
        recording.record_request("POST", "/Users", 409, "userName: … is taken.", 1)
        recording.record_request("GET", "/Users/<id>", 200, None, 2)
        recording.record_request("GET", "/Users", 401, "Invalid token.", None)
        recording.record_request("GET", "/Groups", 503, None, 99)
        recording.commit_waiting(self.app)

        page = self.page()

        for text in [
            "The last one:", "POST /Users<", "userName: … is taken.", "GET /Users/<id>",
            ">409<", "Invalid token.", ">x</a>", "API key 99 (removed)",
        ]:  # fmt: skip
            self.assertIn(text, page)
        for query, there, away in [("?key=1", "409", "401"), ("?key=2", "GET", "POST /Users")]:
            page = self.page(query)
            self.assertIn(there, page)
            self.assertNotIn(away, page)
            self.assertIn("Only with the API key", page)
        self.assertEqual(self.client.get("/provisioning?key=x").status_code, 400)

    def test_stopped_key_is_let_go_on(self):
        self.stop()
        page = self.page()
        self.assertIn("The API key “x” was stopped on", page)

        response = self.client.post("/provisioning", data={"key_id": "1"}, headers=AS_PERSON)

        self.assertEqual((response.status_code, response.location), (303, "/provisioning"))
        page = self.page()
        self.assertIn("“x” may go on for an hour.", page)
        self.assertIn("“x” may deactivate and remove any number of users until", page)
        self.assertNotIn("was stopped", page)
        user = make_user(active=True)
        self.assertEqual(self.call("DELETE", f"/users/{user.id}", self.token).status_code, 200)
        [event] = [each for each in audit.list_events(99) if each.action == "key.allowed"]
        self.assertEqual((event.actor, event.user_id), ("user:1", self.robot_id))
        self.assertEqual(event.after, {"id": 1, "name": "x"})

    def test_removed_key_has_no_button(self):
        self.stop()
        in_transaction(auth.delete_key)(1)

        page = self.page()

        self.assertIn("API key 1 (removed)", page)
        self.assertNotIn("Let it go on", page)

    def test_wrong_key_is_refused(self):
        for key_id, status in [("99", 404), ("x", 400), ("", 400)]:
            response = self.client.post("/provisioning", data={"key_id": key_id})
            self.assertEqual(response.status_code, status)
        with mock.patch.dict(self.app.config, WTF_CSRF_ENABLED=True):
            response = self.client.post("/provisioning", data={"key_id": "1"}, headers=AS_PERSON)
        self.assertEqual(response.status_code, 400)
        self.assertIn("The form has expired.", response.text)
        self.assertEqual(db.session.query(DeactivationGuard).count(), 0)
        self.assertEqual(guard.list_stops(), [])

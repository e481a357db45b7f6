"""Removing a user, over the wire; e2e/test_page.py drives the page in a browser."""

from project.api.users import service
from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.tests.users.test_pages import find

AS_PERSON = {"Accept": "text/html"}


class RemoveUserTests(BaseTestCase):
    """/remove/<id>."""

    def setUp(self) -> None:
        super().setUp()
        self.user_id = make_user(username="Ada", email="ada@example.com").id
        self.path = f"/remove/{self.user_id}"

    def test_page_asks_and_removes_nothing(self):
        page = self.client.get(self.path).text

        self.assertIn("Ada", page)
        self.assertIn("ada@example.com", page)
        self.assertEqual(len(service.list_users(9)), 1)

    def test_user_is_removed_once_and_it_is_said(self):
        response = self.client.post(self.path, data={"version": "1"})

        self.assertEqual((response.status_code, response.headers["Location"]), (303, "/"))
        self.assertIn("ada@example.com was removed!", self.client.get("/").text)
        self.assertEqual(service.list_users(9), [])
        again = self.client.post(self.path, data={"version": "1"}, headers=AS_PERSON)
        self.assertEqual(again.status_code, 404)

    def test_user_that_has_changed_is_asked_for_again(self):
        self.client.patch(f"/users/{self.user_id}", json={"username": "Ada Byron"})

        response = self.client.post(self.path, data={"version": "1"})

        self.assertEqual(response.status_code, 412)
        self.assertIn("changed by somebody else in the meantime", response.text)
        self.assertIn("Ada Byron", response.text)
        self.assertIn('value="2"', find('<input[^>]*name="version"[^>]*>', response.text))
        self.assertEqual(len(service.list_users(9)), 1)

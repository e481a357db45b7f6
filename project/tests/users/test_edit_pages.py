"""Editing and removing a user, over the wire; e2e/test_page.py drives the pages in a browser."""

from project.api.users import service
from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.tests.users.test_pages import find

AS_PERSON = {"Accept": "text/html"}


class EditUserTests(BaseTestCase):
    """/edit/<id>."""

    def setUp(self) -> None:
        super().setUp()
        self.user_id = make_user(username="Ada", email="ada@example.com").id
        self.path = f"/edit/{self.user_id}"
        self.form = {"username": "Ada", "email": "ada@example.com", "version": "1"}

    def test_form_shows_the_user(self):
        page = self.client.get(self.path).text

        self.assertIn('value="Ada"', find('<input[^>]*name="username"[^>]*>', page))
        self.assertIn('value="ada@example.com"', find('<input[^>]*name="email"[^>]*>', page))
        self.assertNotIn("checked", find('<input[^>]*name="active"[^>]*>', page))
        self.assertIn('value="1"', find('<input[^>]*name="version"[^>]*>', page))

    def test_change_is_saved_and_said(self):
        data = {"username": " Ada L. ", "email": "al@example.com", "active": "y", "version": "1"}

        response = self.client.post(self.path, data=data)

        self.assertEqual((response.status_code, response.headers["Location"]), (303, "/"))
        user = service.get_user(self.user_id)
        self.assertEqual(
            (user.username, user.email, user.active), ("Ada L.", "al@example.com", True)
        )
        self.assertIn("al@example.com was changed!", self.client.get("/").text)

    def test_box_that_is_not_ticked_makes_inactive(self):
        self.client.patch(f"/users/{self.user_id}", json={"active": True})

        self.client.post(self.path, data={**self.form, "version": "2"})

        self.assertIs(service.get_user(self.user_id).active, False)

    def test_form_leads_back_to_the_list_that_it_came_from(self):
        listed = self.client.get("/?q=ada").text
        path = find(f'href="({self.path}[^"]*)"', listed)

        page = self.client.get(path).text
        action = find(r'<form[^>]*action="([^"]+)"[^>]*method="post"', page)
        response = self.client.post(action, data=self.form)

        self.assertEqual(response.headers["Location"], "/?q=ada")
        self.assertIn('href="/?q=ada"', page)

    def test_mistake_is_said_beside_the_field(self):
        make_user(email="taken@example.com")
        for change, field, message in [
            ({"username": " "}, "username", "Must not be blank."),
            ({"email": "ada"}, "email", "must have an @-sign"),
            ({"email": "taken@example.com"}, "email", "Sorry. That email already exists."),
        ]:
            with self.subTest(change):
                response = self.client.post(self.path, data={**self.form, **change})

                self.assertEqual(response.status_code, 400)
                self.assertIn(message, find(f'id="{field}-error">(.*?)</div>', response.text))
        self.assertEqual(service.get_user(self.user_id).version, 1)

    def test_lost_update_is_said_with_the_current_values_to_start_from(self):
        changed = {"username": "Ada Byron", "active": True}
        self.client.patch(f"/users/{self.user_id}", json=changed)

        response = self.client.post(self.path, data={**self.form, "username": "Ada <L.>"})

        self.assertEqual(response.status_code, 412)
        page = response.text
        self.assertIn("changed by somebody else in the meantime", page)
        self.assertIn('value="Ada Byron"', find('<input[^>]*name="username"[^>]*>', page))
        self.assertIn("checked", find('<input[^>]*name="active"[^>]*>', page))
        self.assertIn('value="2"', find('<input[^>]*name="version"[^>]*>', page))
        self.assertIn("Ada &lt;L.&gt;", page)
        self.assertEqual(service.get_user(self.user_id).username, "Ada Byron")

    def test_version_that_is_none_is_a_lost_update(self):
        for version in ["", "x", "-1", "9" * 40, "１"]:
            with self.subTest(version):
                response = self.client.post(self.path, data={**self.form, "version": version})

                self.assertEqual(response.status_code, 412)

    def test_user_that_does_not_exist_is_a_page_that_says_so(self):
        self.client.delete(f"/users/{self.user_id}")
        for path, status in [(self.path, 404), ("/edit/999999999999", 404), ("/edit/x", 400)]:
            for answer in [
                self.client.get(path, headers=AS_PERSON),
                self.client.post(path, data=self.form, headers=AS_PERSON),
            ]:
                with self.subTest(path, method=answer.request.method):
                    self.assertEqual(answer.status_code, status)
                    self.assertIn("Back to all users", answer.text)


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

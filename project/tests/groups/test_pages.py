"""The pages of groups, and the groups on the page of a user."""

import re
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.auth import service as auth
from project.api.groups import pages, service
from project.database import in_transaction
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_group, make_user, make_users


def names(page: str) -> list[str]:
    """Return the names of the groups that a page leads to."""
    return re.findall(r'href="/group/\d+">([^<]+)</a>', page)


class ListTests(BaseTestCase):
    """/group."""

    def test_groups_are_listed_by_name_page_by_page_and_found(self):
        self.assertIn("No groups yet.", self.client.get("/group").text)
        for name in ("b", "<A>", "c", "B2"):
            make_group(name)
        with mock.patch.object(pages, "GROUPS_PER_PAGE", 3):
            first = self.client.get("/group").text
            self.assertEqual(names(first), ["&lt;A&gt;", "b", "B2"])
            [following] = re.findall(r'rel="next" href="([^"]+)"', first)
            second = self.client.get(following.replace("&amp;", "&")).text
            self.assertEqual(names(second), ["c"])
            self.assertIn("First page", second)
        self.assertEqual(names(self.client.get("/group?q=B").text), ["b", "B2"])
        self.assertIn("starts with “x”", self.client.get("/group?q=x").text)
        self.assertEqual(len(names(self.client.get("/group?q=").text)), 4)
        for query in ("cursor=x", f"q={'x' * 257}"):
            self.assertEqual(self.client.get(f"/group?{query}").status_code, 400)

    def test_group_is_added_and_shown(self):
        response = self.client.post(
            "/group", data={"display_name": " Research "}, follow_redirects=True
        )

        self.assertEqual(response.request.path, "/group/1")
        self.assertIn("Research was added!", response.text)

    def test_name_that_is_wrong_or_taken_is_said_beside_the_field(self):
        make_group("Research")
        for name, status, text in [
            ("", 400, "Must not be blank"),
            ("research", 409, "Another group has this name."),
        ]:
            response = self.client.post("/group", data={"display_name": name})

            self.assertEqual(response.status_code, status)
            self.assertIn("is-invalid", response.text)
            if name:
                self.assertIn(text, response.text)
                self.assertIn(f'value="{name}"', response.text)
        self.assertEqual(service.count_groups(), 1)

    def test_download_is_for_excel(self):
        make_group("=Research")

        response = self.client.get("/group/download")

        self.assertEqual(response.data[:3], b"\xef\xbb\xbf")
        self.assertIn("1,'=Research,,,,", response.text)
        self.assertRegex(response.headers["Content-Disposition"], r"groups-\d{4}-\d\d-\d\d\.csv")


class GroupPageTests(BaseTestCase):
    """/group/<id>."""

    def setUp(self) -> None:
        super().setUp()
        self.ada = make_user(username="Ada", email="ada@example.com")
        self.bob = make_user(username="Bob", email="bob@example.com", active=True)
        make_group("Research", self.ada, external_id="x-1")

    def post(self, path: str, **data: Any) -> Any:
        """Send a form, and follow where it leads."""
        return self.client.post(f"/group/1{path}", data=data, follow_redirects=True)

    def members(self) -> list[int]:
        """Return the ids of the members."""
        return [user.id for user in service.list_members(1, 99)]

    def test_page_shows_the_group_and_its_members(self):
        page = self.client.get("/group/1").text

        for text in ("Research", "x-1", "ada@example.com", f'href="/user/{self.ada.id}"'):
            self.assertIn(text, page)
        self.assertNotIn("bob@example.com", page)
        self.assertEqual(self.client.get("/group/9").status_code, 404)
        self.assertEqual(self.client.get("/group/x").status_code, 400)
        self.assertEqual(self.client.get("/group/1?cursor=x").status_code, 400)

    def test_members_are_shown_page_by_page(self):
        in_transaction(service.add_members)(1, [self.bob.id])
        with mock.patch.object(pages, "MEMBERS_PER_PAGE", 1):
            first = self.client.get("/group/1").text
            [following] = re.findall(r'rel="next" href="([^"]+)#members"', first)
            second = self.client.get(following).text

        self.assertIn("ada@example.com", first)
        self.assertNotIn("bob@example.com", first)
        self.assertIn("bob@example.com", second)
        self.assertIn("First page", second)

    def test_rename(self):
        response = self.post("", display_name="R&D", version="1")

        self.assertIn("The group was renamed.", response.text)
        self.assertEqual(service.get_group(1).display_name, "R&D")
        make_group("Ops")
        for data, status, text in [
            ({"display_name": "ops", "version": "2"}, 409, "Another group has this name."),
            ({"display_name": "", "version": "2"}, 400, "is-invalid"),
            ({"display_name": "X", "version": "1"}, 412, "in the meantime"),
        ]:
            response = self.post("", **data)
            self.assertEqual(response.status_code, status)
            self.assertIn(text, response.text)
            self.assertIn(f'value="{data["display_name"]}"', response.text)
        self.assertEqual(service.get_group(1).version, 2)
        self.assertIn('value="2"', response.text)  # what is sent again is sent for this version

    def test_member_is_added_by_address_id_or_name(self):
        for person in ("BOB@example.com", str(self.bob.id), "bob"):
            response = self.post("/members", person=person)

            self.assertIn("Bob was added to the group.", response.text)
            self.assertEqual(self.members(), [self.ada.id, self.bob.id])
            response = self.post("/members/remove", user_id=str(self.bob.id))
            self.assertIn("Bob was removed from the group.", response.text)
            self.assertEqual(self.members(), [self.ada.id])
        self.assertIn("is in the group already", self.post("/members", person="Ada").text)

    def test_one_of_several_is_chosen(self):
        other = make_user(username="Bob Two", email="two@example.com")

        asked = self.post("/members", person="bob")

        self.assertIn("Whom do you mean?", asked.text)
        self.assertEqual(self.members(), [self.ada.id])
        self.assertIn(f'name="user_id" value="{other.id}"', asked.text)
        self.post("/members", user_id=str(other.id))
        self.assertEqual(self.members(), [self.ada.id, other.id])

    def test_nobody_is_added_where_nobody_is_meant(self):
        for data in ({"person": "nobody"}, {"person": ""}, {"person": "999"}, {"user_id": "x"}, {}):
            response = self.post("/members", **data)

            self.assertEqual(response.status_code, 400)
            self.assertIn("Nobody with this name, email address or ID was found.", response.text)
        self.post("/members/remove", user_id="999")
        self.post("/members/remove", user_id=str(self.bob.id))
        self.assertEqual(service.get_group(1).version, 1)

    def test_removal_is_confirmed(self):
        page = self.client.get("/group/1/remove").text
        self.assertIn("<strong>Research</strong>", page)

        lost = self.post("/remove", version="7")
        self.assertEqual(lost.status_code, 412)
        self.assertIn("was not removed", lost.text)
        done = self.post("/remove", version="1")

        self.assertEqual(done.request.path, "/group")
        self.assertIn("Research was removed!", done.text)
        self.assertEqual(service.count_groups(), 0)

    def test_form_that_has_expired_changes_nothing(self):
        self.app.config["WTF_CSRF_ENABLED"] = True
        for path in ("", "/members", "/members/remove", "/remove"):
            response = self.post(path, display_name="X", person="bob", user_id="1", version="1")

            self.assertEqual(response.status_code, 400)
            self.assertIn("has expired", response.text)
        self.assertEqual(service.get_group(1).version, 1)

    def test_page_of_a_user_shows_the_groups(self):
        self.assertEqual(names(self.client.get(f"/user/{self.ada.id}").text), ["Research"])
        self.assertIn("In no group.", self.client.get(f"/user/{self.bob.id}").text)
        make_group("Ops", self.ada)
        with mock.patch.object(pages, "GROUPS_OF_USER", 1):
            page = self.client.get(f"/user/{self.ada.id}").text
            self.assertIn("These are the first 1.", page)


class AccessTests(BaseTestCase):
    """What viewers see."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def test_viewer_sees_no_forms(self):
        make_users(1)
        make_group("Research", 1)
        account = make_user(role="viewer", active=True, password_version=1)
        client = self.app.test_client()
        with client.session_transaction() as cookie:
            cookie["sign_in"] = auth._sign_in(account, 0).session
        db.session.commit()
        for path in ("/group", "/group/1"):
            page = client.get(path).text
            self.assertEqual(len(re.findall('method="post"', page)), 2, path)  # those of the bar
        self.assertEqual(client.post("/group", data={"display_name": "x"}).status_code, 403)

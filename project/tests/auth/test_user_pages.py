"""A user's page, over the wire; e2e/test_user_pages.py drives it in a browser."""

import json
from typing import Any

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.users import service
from project.api.users.models import User
from project.tests.auth.test_pages import AS_PERSON, PageTestCase
from project.tests.auth.test_views import ADA, PASSWORD
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user
from project.tests.users.test_pages import find
from project.web.guard import SCOPES_OF_ROLE, Principal


class OpenTests(BaseTestCase):
    """What anybody may do while access is open."""

    def setUp(self) -> None:
        super().setUp()
        self.user_id = make_user(username="Ada", email="ada@example.com").id
        self.path = f"/user/{self.user_id}"
        self.form = {"username": "Ada", "email": "ada@example.com", "version": "1"}

    def test_form_shows_the_user(self):
        page = self.client.get(self.path).text

        self.assertIn('value="Ada"', find('<input[^>]*name="username"[^>]*>', page))
        self.assertIn('value="ada@example.com"', find('<input[^>]*name="email"[^>]*>', page))
        self.assertNotIn("checked", find('<input[^>]*name="active"[^>]*>', page))
        self.assertIn('value="1"', find('<input[^>]*name="version"[^>]*>', page))

    def test_what_is_for_administrators_is_not_shown(self):
        page = self.client.get(self.path).text

        for text in ['name="role"', "Sessions", 'id="keys"', "History"]:
            self.assertNotIn(text, page)
        refused = self.client.post(self.path, data={**self.form, "role": "admin"})
        self.assertEqual(refused.status_code, 403)
        ended = self.client.post(f"{self.path}/sessions", headers=AS_PERSON)
        self.assertEqual((ended.status_code, ended.headers["Location"]), (303, "/sign-in"))

    def test_change_is_saved_and_said(self):
        data = {"username": " Ada L. ", "email": "al@example.com", "active": "y", "version": "1"}

        response = self.client.post(self.path, data=data)

        self.assertEqual((response.status_code, response.headers["Location"]), (303, self.path))
        user = service.get_user(self.user_id)
        self.assertEqual(
            (user.username, user.email, user.active), ("Ada L.", "al@example.com", True)
        )
        self.assertIn("al@example.com was changed!", self.client.get(self.path).text)

    def test_role_stays_where_the_form_has_none(self):
        boss = make_user(email="boss@example.com", role="viewer").id
        data = {"username": "B", "email": "boss@example.com", "version": "1"}

        self.client.post(f"/user/{boss}", data=data)

        user = service.get_user(boss)
        self.assertEqual((user.username, user.role), ("B", "viewer"))

    def test_saving_nothing_changes_nothing_and_says_so(self):
        before, events = service.get_user(self.user_id), len(audit.list_events(9))

        response = self.client.post(self.path, data=self.form)

        self.assertEqual(response.status_code, 303)
        self.assertIn("Nothing was changed.", self.client.get(self.path).text)
        self.assertEqual(service.get_user(self.user_id), before)
        self.assertEqual(len(audit.list_events(9)), events)

    def test_box_that_is_not_ticked_makes_inactive(self):
        self.client.patch(f"/users/{self.user_id}", json={"active": True})

        self.client.post(self.path, data={**self.form, "version": "2"})

        self.assertIs(service.get_user(self.user_id).active, False)

    def test_page_leads_back_to_the_list_that_it_came_from(self):
        page = self.client.get(f"{self.path}?q=ada&cursor=x&other=1").text

        self.assertIn('href="/?q=ada&amp;cursor=x"', page)
        action = find(r'<form[^>]*action="(/user/[^"]+)"[^>]*method="post"', page)
        response = self.client.post(action.replace("&amp;", "&"), data=self.form)
        self.assertEqual(response.headers["Location"], f"{self.path}?q=ada&cursor=x")

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

    def test_version_that_is_none_is_a_lost_update(self):
        without = {name: self.form[name] for name in ("username", "email")}
        for version in [{}, *({"version": each} for each in ["", "x", "-1", "9" * 40, "１"])]:
            with self.subTest(version):
                response = self.client.post(self.path, data={**without, **version})

                self.assertEqual(response.status_code, 412)

    def test_user_that_does_not_exist_is_a_page_that_says_so(self):
        self.client.delete(f"/users/{self.user_id}")
        for path, status in [(self.path, 404), ("/user/999999999999", 404), ("/user/x", 400)]:
            for answer in [
                self.client.get(path, headers=AS_PERSON),
                self.client.post(path, data=self.form, headers=AS_PERSON),
            ]:
                with self.subTest(path, method=answer.request.method):
                    self.assertEqual(answer.status_code, status)
                    self.assertIn("<h1", answer.text)

    def test_former_address_leads_here(self):
        for path in [f"/edit/{self.user_id}", f"/edit/{self.user_id}?q=a%20b"]:
            for method in ["GET", "POST"]:
                response = self.client.open(path, method=method)

                self.assertEqual(response.status_code, 308)
                expected = path.replace("edit", "user").replace("%20", "+")
                self.assertEqual(response.headers["Location"], expected)


class LostUpdateTests(PageTestCase):
    """Two who edit at once."""

    def setUp(self) -> None:
        super().setUp()
        self.set_role("admin")
        self.sign_in()
        self.user_id = make_user(username="Eve", email="eve@example.com").id
        self.path = f"/user/{self.user_id}"

    def save(self, yours: dict[str, str], current: dict[str, Any]) -> Any:
        """Send a change of the first version after somebody else has changed it."""
        shown = {"username": "Eve", "email": "eve@example.com", "role": ""}
        form = {"shown": json.dumps({**shown, "active": ""})}
        service.update_user(self.user_id, current)
        db.session.commit()
        return self.client.post(self.path, data={**form, **shown, **yours, "version": "1"})

    def choices(self, page: str, name: str) -> list[tuple[str, bool]]:
        """Return the values to choose from, and which is chosen."""
        inputs = [
            each.partition(">")[0]
            for each in page.split("<input ")
            if f'name="{name}"' in each and 'type="radio"' in each
        ]
        return [(find('value="([^"]*)"', each), "checked" in each) for each in inputs]

    def test_field_that_both_have_changed_must_be_chosen(self):
        response = self.save({"username": "Eve <E.>"}, {"username": "Eva"})

        self.assertEqual(response.status_code, 412)
        self.assertIn("changed by somebody else in the meantime", response.text)
        self.assertEqual(
            self.choices(response.text, "username"), [("Eve &lt;E.&gt;", False), ("Eva", False)]
        )
        self.assertEqual(self.choices(response.text, "email"), [])
        self.assertIn('value="2"', find('<input[^>]*name="version"[^>]*>', response.text))
        self.assertEqual(service.get_user(self.user_id).username, "Eva")

    def test_field_that_one_has_changed_is_chosen_already(self):
        response = self.save(
            {"username": "Eve E.", "role": "viewer"}, {"email": "eva@example.com", "active": True}
        )

        for name, expected in [
            ("username", [("Eve E.", True), ("Eve", False)]),
            ("email", [("eve@example.com", False), ("eva@example.com", True)]),
            ("role", [("viewer", True), ("", False)]),
            ("active", [("", False), ("y", True)]),
        ]:
            with self.subTest(name):
                self.assertEqual(self.choices(response.text, name), expected)

    def test_chosen_values_are_saved(self):
        page = self.save({"username": "Eve E."}, {"username": "Eva", "active": True}).text
        form = {
            "username": "Eve E.",
            "email": "eve@example.com",
            "role": "",
            "active": "y",
            "version": find('name="version"[^>]*value="([^"]*)"', page),
        }

        self.assertEqual(self.client.post(self.path, data=form).status_code, 303)

        user = service.get_user(self.user_id)
        self.assertEqual((user.username, user.active, user.version), ("Eve E.", True, 3))

    def test_same_change_by_both_is_said(self):
        response = self.save({"username": "Eva"}, {"username": "Eva"})

        self.assertEqual(response.status_code, 412)
        self.assertIn("The current values are the same as yours.", response.text)
        self.assertIn('value="Eva"', find('<input[^>]*name="username"[^>]*>', response.text))

    def test_form_without_the_shown_values_leaves_the_choice(self):
        service.update_user(self.user_id, {"username": "Eva"})
        db.session.commit()
        form = {"username": "E.", "email": "eve@example.com", "version": "1"}
        for shown in [{}, *({"shown": text} for text in ["", "x", "5", '{"username": []}'])]:
            with self.subTest(shown):
                page = self.client.post(self.path, data={**form, **shown}).text

                expected = [("E.", False), ("Eva", False)]
                self.assertEqual(self.choices(page, "username"), expected)


class RightsTests(PageTestCase):
    """What each role sees and may do."""

    def setUp(self) -> None:
        super().setUp()
        self.other = make_user(
            username="Eve", email="eve@example.com", active=True, role="viewer"
        ).id
        self.path = f"/user/{self.other}"
        self.form = {"username": "Eve", "email": "eve@example.com", "active": "y", "version": "1"}

    def enter(self, role: str | None) -> None:
        """Sign in with this role."""
        self.set_role(role)
        self.sign_in()

    def get(self, path: str | None = None) -> Any:
        """Return an answer to a browser."""
        return self.client.get(path or self.path, headers=AS_PERSON)

    def test_nobody_signs_in_first(self):
        response = self.get()

        self.assertEqual(
            (response.status_code, response.location), (303, f"/sign-in?next={self.path}")
        )

    def test_ordinary_user_has_their_account_only(self):
        self.enter(None)

        self.assertEqual(self.get().status_code, 403)
        own = self.get("/user/1")
        self.assertEqual((own.status_code, own.headers["Location"]), (303, "/account"))

    def test_viewer_reads_the_details_only(self):
        self.enter("viewer")

        page = self.get().text

        self.assertIn("eve@example.com", page)
        for text in ["<input", "Sessions", "History", "/remove/", "API keys"]:
            self.assertNotIn(text, page.partition("<main")[2])
        self.assertIn('href="/account"', self.get("/user/1").text.partition("<main")[2])
        self.assertEqual(self.client.post(self.path, data=self.form).status_code, 403)

    def test_editor_changes_users_but_no_roles_and_no_administrator(self):
        self.enter("editor")
        boss = make_user(username="Boss", email="boss@example.com", role="admin").id

        page = self.get().text
        self.assertIn('name="username"', page)
        for text in ['name="role"', "Sessions", "History"]:
            self.assertNotIn(text, page)
        saved = self.client.post(self.path, data={**self.form, "username": "E."})
        self.assertEqual((saved.status_code, service.get_user(self.other).role), (303, "viewer"))
        refused = self.client.post(self.path, data={**self.form, "role": "admin"})
        self.assertEqual(refused.status_code, 403)
        page = self.get(f"/user/{boss}").text
        self.assertIn("Only administrators may change", page)
        self.assertNotIn('name="username"', page)
        self.assertNotIn("/remove/", page)
        refused = self.client.post(f"/user/{boss}", data=self.form, headers=AS_PERSON)
        self.assertEqual(refused.status_code, 403)
        ended = self.client.post(f"{self.path}/sessions", headers=AS_PERSON)
        self.assertEqual(ended.status_code, 403)

    def test_administrator_sets_a_role_and_takes_it_away(self):
        self.enter("admin")
        self.assertIn('<option selected value="viewer">', self.get().text)

        for version, (role, stored) in enumerate([("admin", "admin"), ("", None)], start=1):
            form = {**self.form, "role": role, "version": version}
            self.assertEqual(self.client.post(self.path, data=form).status_code, 303)
            self.assertEqual(service.get_user(self.other).role, stored)

    def test_role_that_does_not_exist_is_refused(self):
        self.enter("admin")

        response = self.client.post(self.path, data={**self.form, "role": "king"})

        self.assertEqual(response.status_code, 400)
        self.assertIn('id="role-error"', response.text)
        self.assertEqual(service.get_user(self.other).role, "viewer")

    def test_last_administrator_is_shown_the_way_on(self):
        self.enter("admin")
        db.session.query(User).filter_by(username="Boss").delete()
        db.session.commit()
        form = {"username": "Ada", "email": ADA["email"], "role": "admin", "version": "2"}

        for change in [{}, {"active": "y", "role": "viewer"}]:
            response = self.client.post("/user/1", data={**form, **change})

            self.assertEqual(response.status_code, 409)
            self.assertIn("The last administrator cannot be", response.text)
            self.assertIn("choose a user", response.text)
        page = self.client.post("/remove/1", data={"version": "2"})
        self.assertEqual(page.status_code, 409)
        self.assertIn("The last administrator cannot be", page.text)
        self.assertEqual(service.get_user(1).version, 2)

    def test_page_of_oneself_asks_for_the_password_for_another_email(self):
        self.enter("editor")
        form = {"username": "Ada", "email": "al@example.com", "active": "y", "version": "2"}

        page = self.get("/user/1").text
        refused = self.client.post("/user/1", data=form)

        self.assertIn('name="current_password"', page)
        self.assertNotIn('name="current_password"', self.get().text)
        self.assertEqual(refused.status_code, 400)
        self.assertIn('id="password_for_email-error"', refused.text)
        right = {**form, "current_password": PASSWORD}
        self.assertEqual(self.client.post("/user/1", data=right).status_code, 303)


class AccessTests(PageTestCase):
    """Sessions, API keys and the history, for administrators."""

    def setUp(self) -> None:
        super().setUp()
        self.set_role("admin")
        self.sign_in()
        self.eve = self.register(username="Eve", email="eve@example.com")
        self.path = "/user/3"

    def test_sessions_are_shown_with_device_and_address(self):
        self.client.post(
            "/auth/login",
            json={"email": "eve@example.com", "password": PASSWORD},
            headers={"User-Agent": "Mozilla/5.0 (Windows NT 10.0; rv:133.0) Firefox/133.0"},
            environ_base={"REMOTE_ADDR": "192.0.2.7"},
        )

        page = self.client.get(self.path).text

        self.assertIn("Firefox on Windows", page)
        self.assertIn("192.0.2.7", page)
        self.assertIn("End all sessions", page)
        self.assertNotIn("This device", page)

    def test_session_ends_at_once(self):
        session = auth.list_sessions(3)[0]

        response = self.client.post(f"{self.path}/sessions", data={"session_id": session.id})

        self.assertEqual(response.headers["Location"], "/user/3#access")
        self.assertEqual(self.status(self.eve), 401)
        page = self.client.get(self.path).text
        self.assertIn("The session has ended.", page)
        self.assertIn("Not signed in anywhere.", page)

    def test_session_of_another_user_stays(self):
        session = auth.list_sessions(1)[0]
        for session_id in [session.id, "x", "-1", "9" * 5_000]:
            self.client.post(f"{self.path}/sessions", data={"session_id": session_id})

        self.assertEqual((self.status(self.eve), self.status(self.token)), (200, 200))

    def test_all_sessions_end_but_the_administrator_s_own(self):
        self.client.post(f"{self.path}/sessions", data={"session_id": ""})
        self.assertEqual(self.status(self.eve), 401)

        page = self.client.get("/user/1").text
        self.assertIn("This device", page)
        self.assertIn("End all others", page)
        self.client.post("/user/1/sessions")
        self.assertEqual(self.status(self.token), 401)
        self.assertEqual(self.client.get("/user/1").status_code, 200)

    def test_keys_are_shown_and_revoked_at_once(self):
        scopes = SCOPES_OF_ROLE["admin"]
        key = auth.create_key(Principal(3, "", "admin", scopes), "robot", ["users:read"], None)
        db.session.commit()

        page = self.client.get(self.path).text
        self.assertIn("robot", page)
        self.assertIn("users:read", page)
        self.assertIn("never used", page)
        self.assertEqual(self.status(key.key), 200)
        self.assertNotIn("never used", self.client.get(self.path).text)
        path = find(r'href="(/revoke/\d+)"', page)
        self.assertIn("stops working at once", self.client.get(path).text)
        self.assertEqual(self.status(key.key), 200)
        response = self.client.post(path)
        self.assertEqual(response.headers["Location"], "/user/3#keys")
        self.assertEqual(self.status(key.key), 401)
        self.assertIn("The API key robot was revoked.", self.client.get(self.path).text)
        self.assertEqual(self.client.post(path, headers=AS_PERSON).status_code, 404)

    def test_suspended_key_is_resumed(self):
        scopes = SCOPES_OF_ROLE["admin"]
        key = auth.create_key(Principal(3, "", "admin", scopes), "robot", ["users:read"], None)
        for active in [False, True]:
            service.update_user(3, {"active": active})
        db.session.commit()
        page = self.client.get(self.path).text
        self.assertIn("Suspended", page)

        response = self.client.post(find(r'action="(/resume/\d+)"', page))

        self.assertEqual(response.headers["Location"], "/user/3#keys")
        self.assertEqual(self.status(key.key), 200)
        self.assertNotIn("Suspended", self.client.get(self.path).text)

    def test_history_says_who_did_what(self):
        service.update_user(3, {"username": "Eva"})
        db.session.commit()
        self.client.post(
            self.path,
            data={
                "username": "Eva",
                "email": "eve@example.com",
                "active": "y",
                "role": "editor",
                "version": "2",
            },
        )

        page = self.client.get(self.path).text.partition('id="history"')[2]

        self.assertIn('<a href="/user/1">Ada</a> changed the role of', page)
        self.assertLess(page.index("changed the role of"), page.index("renamed"))

    def test_history_has_pages(self):
        for number in range(25):
            service.update_user(3, {"username": f"Eve {number}"})
        db.session.commit()

        newest = self.client.get(self.path).text
        older = self.client.get(find(r'href="([^"#]+)#history"[^>]*>Older', newest)).text

        self.assertIn("“Eve 24”", newest)
        self.assertEqual(newest.count("renamed"), 20)
        self.assertEqual(older.count("renamed"), 5)
        self.assertIn("Newest", older)
        self.assertNotIn("Older", older)
        wrong = self.client.get(f"{self.path}?events=x", headers=AS_PERSON)
        self.assertEqual(wrong.status_code, 400)


class CSRFTests(PageTestCase):
    """Forms that another site sends."""

    def create_app(self) -> Flask:
        class WithTokens(Protected):
            WTF_CSRF_ENABLED = True

        return create_app(WithTokens)

    def test_forged_forms_do_nothing(self):
        self.set_role("admin")
        page = self.client.get("/sign-in").text
        token = find('name="csrf_token"[^>]*value="([^"]*)"', page)
        self.sign_in(csrf_token=token)
        scopes = SCOPES_OF_ROLE["admin"]
        key = auth.create_key(Principal(1, "", "admin", scopes), "robot", ["users:read"], None)
        db.session.commit()

        for path, data in [
            ("/user/1", {"username": "x", "email": "x@example.com", "version": "2"}),
            ("/user/1/sessions", {"session_id": ""}),
            ("/account/sessions", {"session_id": ""}),
            ("/account/keys", {"name": "x", "scopes": "admin", "expires_in_days": "7"}),
            (f"/revoke/{key.id}", {}),
        ]:
            with self.subTest(path):
                response = self.client.post(path, data=data, headers=AS_PERSON)

                self.assertEqual(response.status_code, 400)
                self.assertIn("The form has expired.", response.text)
        resumed = self.client.post(f"/resume/{key.id}")
        self.assertEqual(resumed.status_code, 303)
        self.assertIn("The form has expired.", self.client.get("/account").text)
        self.assertEqual(service.get_user(1).version, 2)
        self.assertEqual((self.status(self.token), self.status(key.key)), (200, 200))
        self.assertEqual(len(auth.list_keys(1)), 1)

"""Signing in and out, and one's own account, over the wire; e2e/test_page.py uses a browser."""

import re
from functools import partial
from html import unescape
from io import BytesIO
from typing import Any

from flask import Flask, g

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth.throttle import PAIR, TAKEN, TooManyTakenEmails
from project.api.models import Session, User
from project.api.users import service
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase, normalised_lengths
from project.tests.base import Protected
from project.tests.factories import make_user
from project.tests.users.test_pages import find
from project.tests.wire import recorded_commands
from project.web.error_handlers import prefixes

AS_PERSON = {"Accept": "text/html"}


def as_json(text: str) -> dict[str, Any]:
    """Return a JSON body."""
    return {"data": text, "content_type": "application/json"}


def as_file(field: str) -> dict[str, Any]:
    """Return a body in which a field is a file."""
    return {"data": {field: (BytesIO(b"Eve"), "eve.txt")}}


FIELDS = ["username", "email", "password", "version", "next", "csrf_token"]
STRANGE_BODIES = {
    **{text: partial(as_json, text) for text in ["5", "[1]", '"x"', "null", "{}", "{"]},
    **{f"{name}: 5": partial(as_json, f'{{"{name}": 5}}') for name in FIELDS},
    **{f"{name} is a file": partial(as_file, name) for name in FIELDS},
}


class PageTestCase(AuthTestCase):
    """Has a user, and a browser that may sign in."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()
        make_user(username="Boss", role="admin", active=True, password_hash="x")

    def sign_in(self, password: str = PASSWORD, **more: str) -> Any:
        """Send the form to sign in."""
        form = {"email": ADA["email"], "password": password, **more}
        return self.client.post("/sign-in", data=form, headers=AS_PERSON)


class SignInTests(PageTestCase):
    """/sign-in and /sign-out."""

    def test_page_leads_to_the_sign_in_and_back(self):
        self.set_role("editor")
        response = self.client.get("/?q=ada", headers=AS_PERSON)

        self.assertEqual(response.status_code, 303)
        form = self.client.get(response.headers["Location"]).text
        wanted = find('<input[^>]*name="next"[^>]*value="([^"]*)"', form)
        self.assertEqual(wanted, "/?q=ada")
        response = self.sign_in(next=wanted)
        self.assertEqual((response.status_code, response.headers["Location"]), (303, "/?q=ada"))
        page = self.client.get("/?q=ada").text
        self.assertIn("<strong>Ada</strong>", page)
        self.assertRegex(page, 'Signed in as</span> <a href="/account"[^>]*>Ada</a>')

    def test_cookie_of_any_form_is_nobodys(self):
        odd = ["\x00" * 32, "", "0" * 32, "é" * 32, "x" * 1000, 5, None, [], ["x"], {}]
        for value in odd:
            with self.subTest(value):
                with self.client.session_transaction() as cookie:
                    cookie["sign_in"] = value

                for method, path in [("GET", "/"), ("GET", "/account"), ("POST", "/sign-out")]:
                    response = self.client.open(path, method=method, headers=AS_PERSON)
                    self.assertEqual(response.status_code, 303)

    def test_client_of_the_page_gets_the_envelope(self):
        response = self.client.get("/", headers={"Accept": "application/json"})

        self.assertEqual(response.status_code, 403)
        self.assertEqual(response.json["message"], "Provide a valid auth token.")

    def test_wish_that_no_header_could_hold_is_forgotten(self):
        response = self.client.get(f"/?q={'é' * 2_000}", headers={"Accept": "text/html"})

        self.assertEqual(response.headers["Location"], "/sign-in")

    def test_next_never_leads_to_another_site(self):
        self.set_role("viewer")
        for wanted in [
            "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example",
            "javascript:alert(1)", "/\t/evil.example", "/\r\nX: y", "evil.example", "",
            "/%0d%0aX: y\x00",
        ]:  # fmt: skip
            with self.subTest(wanted):
                self.assertEqual(self.sign_in(next=wanted).headers["Location"], "/")

    def test_wrong_password_is_said_and_not_shown_again(self):
        response = self.sign_in("a wrong password")

        self.assertEqual(response.status_code, 400)
        self.assertIn("Email or password is wrong.", response.text)
        self.assertIn(f'value="{ADA["email"]}"', response.text)
        self.assertNotIn("a wrong password", response.text)
        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)

    def test_overlong_text_is_said_beside_its_field(self):
        long = "a" + "\u0315" * 10_000
        for field, most in [("email", 128), ("password", 256)]:
            with self.subTest(field), normalised_lengths() as lengths:
                response = self.sign_in(**{field: long})

                self.assertEqual(response.status_code, 400)
                error = find(f'id="{field}-error">(.*?)</div>', response.text)
                self.assertEqual(error, f"String should have at most {most} characters")
                self.assertLessEqual(max(lengths, default=0), most)

    def test_session_from_before_is_not_used(self):
        self.sign_in()
        with self.client.session_transaction() as session:
            first = session["sign_in"]
            session["planted"] = "by somebody else"

        self.sign_in()

        with self.client.session_transaction() as session:
            self.assertNotIn("planted", session)
            self.assertNotEqual(session["sign_in"], first)

    def test_sign_in_ends_the_one_that_the_browser_had(self):
        self.sign_in()
        old = self.client.get_cookie("session")
        events = len(audit.list_events(99))

        self.sign_in()

        actions = [event.action for event in audit.list_events(99)[:-events]]
        self.assertEqual(actions, ["session.started", "session.ended"])
        self.assertEqual(self.client.get("/account").status_code, 200)
        self.client.set_cookie("session", old.value)
        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)
        self.assertEqual(self.status(self.token), 200)  # elsewhere, she is still signed in

    def test_failed_sign_in_ends_none(self):
        self.sign_in()

        self.sign_in("a wrong password")

        self.assertEqual(self.client.get("/account").status_code, 200)

    def test_cookie_is_for_this_site_and_no_script(self):
        cookie = self.sign_in().headers["Set-Cookie"]
        for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Expires="]:
            self.assertIn(part, cookie)
        self.assertNotIn("Secure", cookie)

        form = {"email": ADA["email"], "password": PASSWORD}
        secure = self.client.post("/sign-in", data=form, base_url="https://localhost")
        self.assertIn("Secure", secure.headers["Set-Cookie"])
        self.assertTrue(secure.headers["Set-Cookie"].startswith("__Host-session="))
        self.assertNotIn("Domain", secure.headers["Set-Cookie"])
        account = self.client.get("/account", headers=AS_PERSON, base_url="https://localhost")
        self.assertEqual(account.status_code, 200)

    def test_cookie_that_was_set_without_tls_is_nothing_over_tls(self):
        self.sign_in()
        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 200)

        account = self.client.get("/account", headers=AS_PERSON, base_url="https://localhost")

        self.assertEqual(account.status_code, 303)

    def test_copy_of_the_cookie_is_worth_nothing_after_signing_out(self):
        self.sign_in()
        copy = self.client.get_cookie("session").value

        self.assertEqual(self.client.post("/sign-out").status_code, 303)

        self.client.set_cookie("session", copy)
        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)

    def test_cookie_is_worth_nothing_while_the_user_is_not_active(self):
        self.sign_in()
        user = db.session.query(User).filter_by(email=ADA["email"]).one()
        user.active = False
        db.session.commit()

        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)

    def test_cookie_is_no_token_and_token_no_cookie(self):
        self.set_role("admin")
        self.sign_in()

        self.assertEqual(self.client.get("/users").status_code, 403)
        self.client.delete_cookie("session")
        page = self.call("GET", "/", self.token, headers=AS_PERSON)
        self.assertEqual(page.status_code, 303)


class UnderPathTests(PageTestCase):
    """Signing in where the service stands under a path."""

    def create_app(self) -> Flask:
        class UnderPath(Protected):
            SCRIPT_NAME = "/directory"

        return create_app(UnderPath)

    def test_sign_in_leads_back_to_below_the_prefix(self):
        response = self.client.get("/directory/user/1?q=a", headers=AS_PERSON)

        self.assertEqual(
            response.headers["Location"], "/directory/sign-in?next=/directory/user/1?q%3Da"
        )
        self.assertIn('value="/directory/user/1?q=a"', self.client.get(response.location).text)
        signed_in = self.sign_in(next="/directory/user/1?q=a")
        self.assertEqual(signed_in.headers["Location"], "/directory/user/1?q=a")

    def test_sign_in_leads_to_no_other_application_of_the_host(self):
        for path in [
            "/other",
            "/directoryx",
            "//evil.example/directory/",
            "/directory/../other",
            "/directory/%2e%2E/other",
            "/directory/.%2e",
            "/directory/..?x",
            "/directory/..#x",
            "/directory/\\..\\other",
        ]:
            with self.subTest(path):
                self.assertEqual(self.sign_in(next=path).headers["Location"], "/directory/account")

    def test_query_may_have_dots(self):
        for path in ["/directory/?q=/../x", "/directory/...", "/directory/#/../"]:
            with self.subTest(path):
                self.assertEqual(self.sign_in(next=path).headers["Location"], path)

    def test_cookie_is_for_the_prefix_only(self):
        cookie = self.sign_in().headers["Set-Cookie"]

        self.assertTrue(cookie.startswith("session="))
        self.assertTrue(cookie.endswith("Path=/directory; SameSite=Lax"), cookie)
        page = self.client.get("/directory/account").text
        self.assertEqual(re.findall('(?:href|src|action)="(?!/directory/|#)', page), [])
        self.assertIn('action="/directory/account/password"', page)
        signed_out = self.client.post("/directory/sign-out")
        self.assertEqual(signed_out.headers["Location"], "/directory/sign-in")
        self.assertEqual(self.client.get("/directory/account", headers=AS_PERSON).status_code, 303)

    def test_cookie_over_tls_has_the_prefix_that_allows_a_path(self):
        form = {"email": ADA["email"], "password": PASSWORD}
        tls = "https://localhost"

        cookie = self.client.post("/directory/sign-in", data=form, base_url=tls).headers[
            "Set-Cookie"
        ]

        self.assertTrue(cookie.startswith("__Secure-session="))
        for part in ["; Secure;", "; Path=/directory;"]:
            self.assertIn(part, cookie)
        account = self.client.get("/directory/account", headers=AS_PERSON, base_url=tls)
        self.assertEqual(account.status_code, 200)


class RightsTests(PageTestCase):
    """What a person sees."""

    def test_ordinary_user_comes_to_their_account(self):
        response = self.client.get("/", headers=AS_PERSON)
        self.assertEqual(response.headers["Location"], "/sign-in")
        self.assertEqual(self.sign_in().headers["Location"], "/account")
        self.assertEqual(self.client.get("/", headers=AS_PERSON).status_code, 403)

    def test_viewer_sees_no_way_to_change(self):
        self.set_role("viewer")
        self.sign_in()

        page = self.client.get("/", headers=AS_PERSON).text

        self.assertIn("<strong>Ada</strong>", page)
        self.assertNotIn("Submit", page)
        self.assertNotIn("/remove/", page)
        for method, path in [("POST", "/"), ("POST", "/user/1"), ("POST", "/remove/1")]:
            response = self.client.open(path, method=method, headers=AS_PERSON)
            self.assertEqual(response.status_code, 403)
            self.assertIn("You do not have permission to do that.", response.text)

    def test_editor_changes_users_but_no_administrator(self):
        self.set_role("editor")
        self.sign_in()
        service.create_user("Boss", "boss@example.com", active=True, role="admin")
        db.session.commit()

        for path in ["/", "/?q=a", "/?q=b"]:
            page = self.client.get(path).text
            self.assertEqual("/user/1" in page, "<strong>Ada" in page)
            self.assertIn("<strong>", page)
        response = self.client.get("/remove/2", headers=AS_PERSON)
        self.assertEqual(response.status_code, 403)
        for path in ["/user/2", "/remove/2"]:
            response = self.client.post(path, data={}, headers=AS_PERSON)
            self.assertEqual(response.status_code, 403)
        form = {"username": "x", "email": "x@example.com", "version": "1"}
        for path in ["/user/2", "/remove/2"]:
            response = self.client.post(path, data=form, headers=AS_PERSON)
            self.assertEqual(response.status_code, 403)
        self.assertEqual(service.get_user(2).username, "Boss")

    def test_administrator_changes_everybody(self):
        self.set_role("admin")
        self.sign_in()

        with recorded_commands() as commands:
            self.assertIn("/user/1", self.client.get("/").text)

        self.assertEqual([each for each in commands if "role =" in each], [])
        for path in ["/user/1", "/remove/1"]:
            self.assertEqual(self.client.get(path).status_code, 200)


class BodyTests(PageTestCase):
    """Bodies that no browser's form sends."""

    paths = ["/", "/user/1", "/remove/1", "/sign-in", "/account", "/account/password"]
    paths += ["/account/keys", "/invite", "/welcome", "/register", "/setup"]

    def refused(self, path: str) -> None:
        """Send each body; nothing but a refusal may come back."""
        for name, body in STRANGE_BODIES.items():
            with self.subTest(path, body=name):
                status = self.client.post(path, **body()).status_code

                self.assertIn(status, range(400, 500))

    def test_strange_bodies_are_refused_before_the_sign_in(self):
        for path in self.paths:
            self.refused(path)

    def test_strange_bodies_are_refused_and_change_nothing(self):
        self.set_role("admin")
        self.sign_in()
        for path in self.paths:
            self.refused(path)

        users = service.list_users(9)
        self.assertEqual(len(users), 2)
        self.assertEqual(service.get_user(1).version, 2)
        self.assertEqual(self.log_in().status_code, 200)


class AccountTests(PageTestCase):
    """/account."""

    def setUp(self) -> None:
        super().setUp()
        self.sign_in()

    def test_own_name_and_email_can_be_changed(self):
        form = {"username": "Ada L.", "email": "al@example.com", "version": "1", "active": ""}
        form["current_password"] = PASSWORD
        response = self.client.post("/account", data=form)

        self.assertEqual((response.status_code, response.headers["Location"]), (303, "/account"))
        page = self.client.get("/account").text
        self.assertIn("Your account was changed.", page)
        self.assertIn('value="al@example.com"', page)
        self.assertIs(service.get_user(1).active, True)

    def test_name_can_be_changed_without_the_password(self):
        form = {"username": "Ada L.", "email": ADA["email"], "version": "1"}

        self.assertEqual(self.client.post("/account", data=form).status_code, 303)

        self.assertEqual(service.get_user(1).username, "Ada L.")

    def test_another_email_asks_for_the_password_beside_its_field(self):
        form = {"username": "Ada L.", "email": "al@example.com", "version": "1"}
        for password, message in [("", "Is required for this change."), ("x", "Is incorrect.")]:
            with self.subTest(password):
                data = {**form, "current_password": password}
                response = self.client.post("/account", data=data)

                self.assertEqual(response.status_code, 400)
                error = find('id="password_for_email-error">(.*?)</div>', response.text)
                self.assertIn(message, error)
                self.assertIn('value="al@example.com"', response.text)
        self.assertEqual(service.get_user(1).version, 1)

    def test_guessing_the_password_for_another_email_is_slowed(self):
        form = {"username": "Ada", "email": "al@example.com", "version": "1"}
        for _ in range(PAIR.free):
            self.client.post("/account", data={**form, "current_password": "x"})

        response = self.client.post("/account", data={**form, "current_password": PASSWORD})

        self.assertEqual(response.status_code, 429)
        self.assertEqual(response.headers["Retry-After"], "1")
        error = find('id="password_for_email-error">(.*?)</div>', response.text)
        self.assertRegex(error, r"^Too many attempts to sign in\. You can try again in \d+ \w+\.$")
        self.assertEqual(service.get_user(1).email, ADA["email"])

    def test_asking_for_emails_of_others_is_slowed(self):
        make_user(email="taken@example.com")
        form = {"username": "Ada", "version": "1", "current_password": PASSWORD}
        for _ in range(TAKEN.free):
            response = self.client.post("/account", data={**form, "email": "taken@example.com"})
            self.assertEqual(response.status_code, 400)

        for email in ["taken@example.com", "free@example.com"]:
            response = self.client.post("/account", data={**form, "email": email})

            self.assertEqual(response.status_code, 429)
            error = find('id="email-error">(.*?)</div>', response.text)
            self.assertIn(TooManyTakenEmails.reason, error)

    def test_mistake_and_lost_update_are_said(self):
        form = {"username": "", "email": ADA["email"], "version": "1"}
        response = self.client.post("/account", data=form)
        self.assertEqual(response.status_code, 400)
        self.assertIn("Must not be blank.", response.text)

        response = self.client.post("/account", data={**form, "username": "x", "version": "7"})
        self.assertEqual(response.status_code, 412)
        self.assertIn("changed elsewhere in the meantime", response.text)
        self.assertEqual(service.get_user(1).username, "Ada")

    def test_own_password_can_be_changed(self):
        form = {"current_password": PASSWORD, "password": "another fine and long one"}
        response = self.client.post("/account/password", data=form)

        self.assertEqual(response.status_code, 303)
        self.assertIn("Your password was changed.", self.client.get("/account").text)
        self.assertEqual(self.status(self.token), 401)

    def test_mistake_in_a_password_is_said_beside_the_field(self):
        for form, field, message in [
            ({"current_password": "x", "password": "y"}, "current_password", "Is incorrect"),
            ({"current_password": PASSWORD, "password": "y"}, "password", "at least 15"),
            ({}, "password", "at least 15"),
        ]:
            with self.subTest(form):
                response = self.client.post("/account/password", data=form)

                self.assertEqual(response.status_code, 400)
                error = find(f'id="{field}-error">(.*?)</div>', response.text)
                if form:
                    self.assertIn(message, error)
        self.assertEqual(self.status(self.token), 200)


class WithCSRF(Protected):
    """With the protection that is off in the tests."""

    WTF_CSRF_ENABLED = True


class ProtectedPageTestCase(PageTestCase):
    """Has forms with CSRF tokens."""

    def create_app(self) -> Flask:
        return create_app(WithCSRF)

    def token_of(self, path: str) -> str:
        """Return the token in a page's first form."""
        g.pop("csrf_token", None)  # the tests' requests share the context that keeps it
        return find('name="csrf_token"[^>]*value="([^"]+)"', self.client.get(path).text)


class CSRFTests(ProtectedPageTestCase):
    """Forms forged by other sites."""

    def test_forms_without_token_do_nothing(self):
        self.assertEqual(self.sign_in().status_code, 400)
        self.sign_in(csrf_token=self.token_of("/sign-in"))
        for path in ["/sign-out", "/account", "/account/password"]:
            with self.subTest(path):
                form = {"username": "Eve", "email": "eve@example.com", "version": "1"}
                form |= {"current_password": PASSWORD, "password": "another fine and long one"}
                self.assertEqual(self.client.post(path, data=form).status_code, 400)
        self.assertEqual(self.client.get("/account").status_code, 200)
        self.assertEqual(service.get_user(1).username, "Ada")
        self.assertEqual(self.log_in().status_code, 200)

    def test_forms_about_others_do_nothing_without_token(self):
        self.set_role("admin")
        self.sign_in(csrf_token=self.token_of("/sign-in"))
        other = make_user(email="other@example.com").id
        form = {"username": "Eve", "email": "eve@example.com", "version": "1"}
        for path in [f"/user/{other}", f"/remove/{other}"]:
            for token in ["", "x", self.token_of(path) + "x"]:
                with self.subTest(path, token=token):
                    response = self.client.post(path, data={**form, "csrf_token": token})

                    self.assertEqual(response.status_code, 400)
                    self.assertIn("The form has expired.", response.text)
        self.assertEqual(service.get_user(other).email, "other@example.com")
        for path, version in [(f"/user/{other}", "1"), (f"/remove/{other}", "2")]:
            data = {**form, "version": version, "csrf_token": self.token_of(path)}
            self.assertEqual(self.client.post(path, data=data).status_code, 303)

    def test_strange_bodies_sign_nobody_out(self):
        self.sign_in(csrf_token=self.token_of("/sign-in"))
        for name, body in STRANGE_BODIES.items():
            for path in ["/sign-out", "/sign-in", "/account"]:
                with self.subTest(path, body=name):
                    self.assertEqual(self.client.post(path, **body()).status_code, 400)
        self.assertEqual(self.client.get("/account").status_code, 200)

    def test_sign_out_with_its_token(self):
        self.sign_in(csrf_token=self.token_of("/sign-in"))

        form = {"csrf_token": self.token_of("/account")}
        self.assertEqual(self.client.post("/sign-out", data=form).status_code, 303)

        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)


def fields_of(page: str, last: str) -> dict[str, str]:
    """Return the names and values of a page's inputs, up to the last one and without the header."""
    form = page.partition("<main")[2].partition(last)[0]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", form):
        if 'type="checkbox"' not in tag or " checked" in tag:
            fields[find('name="([^"]*)"', tag)] = unescape(find('value="([^"]*)"', tag))
    return fields


class ResumeTests(ProtectedPageTestCase):
    """Forms that are sent after the sign-in has ended."""

    def setUp(self) -> None:
        super().setUp()
        self.set_role("admin")
        self.sign_in(csrf_token=self.token_of("/sign-in"))
        self.other = make_user(username="Eve", email="eve@example.com").id
        self.path = f"/user/{self.other}?q=e"

    def end_sign_in(self) -> None:
        """End the sign-in elsewhere."""
        db.session.query(Session).delete()
        db.session.commit()

    def fill_in(self, path: str, button: str = "</form>", **typed: str) -> dict[str, str]:
        """Open a page and return what its first form then sends."""
        g.pop("csrf_token", None)
        return fields_of(self.client.get(path).text, button) | typed

    def post(self, path: str, form: dict[str, str], origin: str = "http://localhost") -> Any:
        """Send a form from a page of an origin."""
        g.pop("csrf_token", None)
        return self.client.post(path, data=form, headers={**AS_PERSON, "Origin": origin})

    def sign_in_there(
        self, path: str, page: str, password: str = PASSWORD, email: str = ADA["email"]
    ) -> Any:
        """Fill in the sign-in page that a form was answered with."""
        typed = {"sign_in-email": email, "sign_in-password": password}
        return self.post(path, fields_of(page, "</form>") | typed)

    def test_entries_are_there_after_the_sign_in_and_saved_when_sent_again(self):
        form = self.fill_in(self.path, username='E. "<b>é', email="e@example.com", active="y")
        self.end_sign_in()

        asked = self.post(self.path, form)

        self.assertEqual(asked.status_code, 403)
        self.assertIn('<h1 class="mb-4">Sign in</h1>', asked.text)
        self.assertIn("Your sign-in has ended", asked.text)
        self.assertNotIn("<b>", asked.text)
        shown = self.sign_in_there(self.path, asked.text)
        self.assertEqual(shown.status_code, 400)
        self.assertIn("Nothing has been changed yet.", shown.text)
        again = fields_of(shown.text, "</form>")
        self.assertNotEqual(again.pop("csrf_token"), form.pop("csrf_token"))
        self.assertEqual(again, form)
        self.assertEqual(service.get_user(self.other).version, 1)
        again["csrf_token"] = fields_of(shown.text, "</form>")["csrf_token"]
        action = unescape(find(r'action="(/user/[^"]+)"', shown.text))
        saved = self.post(action, again)
        self.assertEqual((saved.status_code, saved.headers["Location"]), (303, self.path))
        user = service.get_user(self.other)
        self.assertEqual((user.username, user.email), ('E. "<b>é', "e@example.com"))
        self.assertIs(user.active, True)

    def test_every_form_comes_back(self):
        for path, typed in [
            ("/", {"username": "New", "email": "new@example.com"}),
            (f"/user/{self.other}", {"username": "Changed"}),
            ("/account", {"username": "Ada L."}),
            (f"/remove/{self.other}", {}),
        ]:
            with self.subTest(path):
                form = self.fill_in(path, **typed)
                self.end_sign_in()
                users = service.list_users(9)

                shown = self.sign_in_there(path, self.post(path, form).text)

                self.assertEqual(shown.status_code, 400)
                self.assertIn("Nothing has been changed yet.", shown.text)
                again = fields_of(shown.text, "</form>")
                self.assertEqual({**again, "csrf_token": ""}, {**form, "csrf_token": ""})
                self.assertEqual(service.list_users(9), users)
                self.assertEqual(self.post(path, again).status_code, 303)
                self.assertNotEqual(service.list_users(9), users)

    def test_every_page_that_takes_a_form_asks_to_sign_in_there(self):
        self.end_sign_in()
        own = {"auth.sign_in", "auth.sign_out", "save_preferences", "users.edit_user"}
        own |= {f"auth.{name}" for name in ("welcome", "send_reset", "register_on_page", "set_up")}
        apis = prefixes(self.app)
        for rule in self.app.url_map.iter_rules():
            if "POST" in (rule.methods or ()) and not rule.rule.startswith(apis):
                if rule.endpoint in own or "refuse " in rule.endpoint:
                    continue
                with self.subTest(rule.rule):
                    response = self.post(rule.rule.replace("<user_id>", "1"), {"username": "E."})

                    self.assertEqual(response.status_code, 403)
                    self.assertEqual(fields_of(response.text, "</form>")["username"], "E.")

    def test_form_with_a_file_leads_to_the_sign_in(self):
        self.end_sign_in()

        response = self.client.post(
            "/", headers={**AS_PERSON, "Origin": "http://localhost"}, **as_file("username")
        )

        self.assertEqual((response.status_code, response.headers["Location"]), (303, "/sign-in"))

    def test_sign_in_that_fails_keeps_the_entries(self):
        form = self.fill_in(self.path, username="E.")
        self.end_sign_in()
        page = self.post(self.path, form).text

        page = self.sign_in_there(self.path, page, "a wrong password").text

        self.assertIn("Email or password is wrong.", page)
        self.assertNotIn("a wrong password", page)
        without_token = page.replace(fields_of(page, "</form>")["sign_in-csrf_token"], "")
        page = self.sign_in_there(self.path, without_token).text
        self.assertIn("The form has expired.", page)
        shown = self.sign_in_there(self.path, page)
        self.assertEqual(fields_of(shown.text, "</form>")["username"], "E.")

    def test_passwords_are_not_carried(self):
        for path, typed in [
            ("/account", {"email": "al@example.com", "current_password": PASSWORD}),
            ("/account/password", {"current_password": PASSWORD, "password": "another " * 3}),
        ]:
            with self.subTest(path):
                form = self.fill_in("/account") | typed
                self.end_sign_in()

                asked = self.post(path, form)
                shown = self.sign_in_there(path, asked.text)

                for page in [asked.text, shown.text]:
                    self.assertNotIn(PASSWORD, page)
                    self.assertNotIn("another", page)
                self.assertIn("Your account", shown.text)

    def test_only_fields_of_forms_are_carried_and_not_many(self):
        self.end_sign_in()
        form = "stranger=1&csrf_token=x&sign_out=1&" + "username=x&" * 2_000

        page = self.client.post(
            "/",
            data=form,
            content_type="application/x-www-form-urlencoded",
            headers={**AS_PERSON, "Origin": "http://localhost"},
        ).text

        self.assertEqual(page.count('name="username"'), 100)
        for name in ["stranger", "csrf_token", "sign_out"]:
            self.assertNotIn(f'name="{name}"', page)

    def test_pages_of_other_sites_bring_no_entries(self):
        form = self.fill_in(self.path, username="Mallory")
        self.end_sign_in()
        for origin in [
            "http://evil.example",
            "null",
            "",
            "http://localhost.evil.example",
            "http://[",
        ]:
            for more in [{}, {"sign_in-email": ADA["email"], "sign_in-password": PASSWORD}]:
                with self.subTest(origin, more=more):
                    response = self.post(self.path, form | more, origin)

                    self.assertEqual(response.status_code, 303)
                    self.assertEqual(response.headers["Location"], "/sign-in")

    def test_change_of_somebody_else_in_the_meantime_is_not_lost(self):
        form = self.fill_in(self.path, username="E.")
        self.end_sign_in()
        service.update_user(self.other, {"username": "Eva"})
        db.session.commit()

        shown = self.sign_in_there(self.path, self.post(self.path, form).text)
        refused = self.post(self.path, fields_of(shown.text, "</form>"))

        self.assertEqual(refused.status_code, 412)
        self.assertEqual(service.get_user(self.other).username, "Eva")

    def test_user_removed_in_the_meantime_is_not_found(self):
        form = self.fill_in(self.path, username="E.")
        self.end_sign_in()
        service.delete_user(self.other)
        db.session.commit()

        response = self.sign_in_there(self.path, self.post(self.path, form).text)

        self.assertEqual(response.status_code, 404)
        self.assertEqual(self.client.get("/account").status_code, 200)

    def test_somebody_else_who_signs_in_needs_the_right(self):
        service.create_user("Otto", "otto@example.com", password=PASSWORD, active=True)
        db.session.commit()
        form = self.fill_in(self.path, username="E.")
        self.end_sign_in()

        page = self.post(self.path, form).text
        response = self.sign_in_there(self.path, page, email="otto@example.com")

        self.assertEqual(response.status_code, 403)
        self.assertIn("You do not have permission to do that.", response.text)

    def test_sign_in_in_another_tab_brings_the_form_back(self):
        form = self.fill_in(self.path, username="E.")
        self.end_sign_in()
        self.sign_in(csrf_token=self.token_of("/sign-in"))

        shown = self.post(self.path, form)

        self.assertEqual(shown.status_code, 400)
        self.assertIn("The form has expired.", shown.text)
        again = fields_of(shown.text, "</form>")
        self.assertEqual(again["username"], "E.")
        self.assertEqual(self.post(self.path, again).status_code, 303)

    def test_sign_in_sent_again_after_signing_out_is_nothing(self):
        form = self.fill_in(self.path)
        self.end_sign_in()
        page = self.post(self.path, form).text
        self.sign_in_there(self.path, page)
        self.post("/sign-out", {"csrf_token": self.token_of("/account")})

        again = self.sign_in_there(self.path, page)

        self.assertIn("The form has expired.", again.text)
        self.assertEqual(self.client.get("/account", headers=AS_PERSON).status_code, 303)

    def test_what_goes_wrong_on_the_way_has_its_own_answer(self):
        self.end_sign_in()

        self.assertEqual(self.post(self.path, {"username": "x" * 65_536}).status_code, 413)


class RegisterPageTests(PageTestCase):
    """/register."""

    FORM = {"username": "Eve", "email": "eve@example.com", "password": PASSWORD}

    def test_person_creates_an_account_and_is_signed_in(self):
        self.assertIn('href="/register"', self.client.get("/sign-in", headers=AS_PERSON).text)
        self.assertEqual(self.client.get("/register", headers=AS_PERSON).status_code, 200)

        response = self.client.post("/register", data=self.FORM, headers=AS_PERSON)

        self.assertEqual((response.status_code, response.location), (303, "/account"))
        page = self.client.get("/account", headers=AS_PERSON).text
        self.assertIn("Your account was created", page)

    def test_what_is_wrong_is_said_beside_its_field(self):
        for changes, message in [
            ({"email": ADA["email"]}, "Sorry. That user already exists."),
            ({"password": "short"}, "Must have at least 15 characters; this has 5."),
            ({"username": ""}, "Must not be blank."),
        ]:
            with self.subTest(changes):
                data = {**self.FORM, **changes}
                response = self.client.post("/register", data=data, headers=AS_PERSON)

                self.assertEqual(response.status_code, 400)
                self.assertIn(message, response.text)
                self.assertNotIn(PASSWORD, response.text)

    def test_taken_emails_are_slowed_down(self):
        data = {**self.FORM, "email": ADA["email"]}
        for _ in range(TAKEN.free):
            self.client.post("/register", data=data, headers=AS_PERSON)

        response = self.client.post("/register", data=data, headers=AS_PERSON)

        self.assertEqual(response.status_code, 429)
        self.assertIn(TooManyTakenEmails.reason, response.text)

    def test_there_is_none_while_registration_is_off(self):
        self.app.config["REGISTRATION"] = False

        self.assertNotIn("/register", self.client.get("/sign-in", headers=AS_PERSON).text)
        for method in ["GET", "POST"]:
            response = self.client.open("/register", method=method, headers=AS_PERSON)
            self.assertEqual(response.status_code, 403)
            self.assertIn("Registration is disabled.", response.text)

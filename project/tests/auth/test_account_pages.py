"""Sessions and API keys of one's own, over the wire; AccountTests has name, email and password."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

from project import db
from project.api.auth import service as auth
from project.api.models import APIKey
from project.api.users import service
from project.clock import utcnow
from project.database import in_transaction
from project.tests.auth.test_pages import AS_PERSON, PageTestCase
from project.tests.auth.test_views import ADA, PASSWORD
from project.tests.users.test_pages import find


class SessionsTests(PageTestCase):
    """/account and /account/sessions."""

    def test_this_device_is_marked_and_cannot_end_itself(self):
        self.sign_in()

        page = self.client.get("/account").text

        self.assertEqual(page.count("This device"), 1)
        self.assertEqual(page.count('name="session_id"'), 2)  # the registration's, and all others
        self.assertIn("End all others", page)

    def test_only_session_has_nothing_to_end(self):
        self.sign_in()
        auth.end_session(1, auth.list_sessions(1)[-1].id)
        db.session.commit()

        self.assertNotIn('name="session_id"', self.client.get("/account").text)

    def test_session_and_all_others_end_at_once(self):
        tokens = [self.token, *(self.log_in().json["auth_token"] for _ in range(2))]
        self.sign_in()
        first = auth.list_sessions(1)[-1]

        response = self.client.post("/account/sessions", data={"session_id": first.id})
        self.assertEqual(response.headers["Location"], "/account#sessions")
        self.assertEqual([self.status(token) for token in tokens], [401, 200, 200])

        self.client.post("/account/sessions", data={"session_id": ""})
        self.assertEqual([self.status(token) for token in tokens], [401, 401, 401])
        self.assertIn("All other sessions have ended.", self.client.get("/account").text)

    def test_session_of_another_user_stays(self):
        other = self.register(email="other@example.com")
        self.sign_in()

        self.client.post("/account/sessions", data={"session_id": auth.list_sessions(3)[0].id})
        self.client.post("/account/sessions")

        self.assertEqual(self.status(other), 200)


class ConcurrentChangeTests(PageTestCase):
    """Two who change an account at once: the same choice as on a user's page."""

    def test_person_chooses_field_by_field(self):
        self.sign_in()
        page = self.client.get("/account").text
        form = {
            "shown": unescape(find('name="shown"[^>]*value="([^"]*)"', page)),
            "version": find('name="version"[^>]*value="([^"]*)"', page),
            "email": ADA["email"],
        }
        in_transaction(service.update_user)(1, {"username": "Countess"})

        response = self.client.post("/account", data={**form, "username": "Ada L."})

        self.assertEqual(response.status_code, 412)
        self.assertIn("changed elsewhere in the meantime", response.text)
        radios = re.findall('type="radio" name="([^"]+)"[^>]*value="([^"]*)"', response.text)
        self.assertEqual(radios, [("username", "Ada L."), ("username", "Countess")])
        form["version"] = find('name="version"[^>]*value="([^"]*)"', response.text)
        again = self.client.post("/account", data={**form, "username": "Ada L."})
        self.assertEqual(again.status_code, 303)
        self.assertEqual(service.get_user(1).username, "Ada L.")


class KeysTests(PageTestCase):
    """/account/keys, /revoke and /resume."""

    form = {"name": "robot", "scopes": ["users:read"], "expires_in_days": "30"}

    def setUp(self) -> None:
        super().setUp()
        self.set_role("editor")
        self.sign_in()

    def make(self, **changes: Any) -> Any:
        """Send the form."""
        return self.client.post("/account/keys", data={**self.form, **changes}, headers=AS_PERSON)

    def test_key_is_shown_once_and_works(self):
        response = self.make()

        self.assertEqual(response.status_code, 201)
        key = find('id="made-key" value="(usk_[^"]+)"', response.text)
        self.assertEqual(self.call("GET", "/users", key).status_code, 200)
        page = self.client.get("/account").text
        self.assertNotIn(key, page)
        self.assertIn("robot", page)
        stored = auth.list_keys(1)[0]
        self.assertEqual((stored.expires_at - stored.created_at).days, 30)

    def test_key_without_an_end_is_valid_until_it_is_revoked(self):
        self.make(expires_in_days="")

        self.assertIsNone(auth.list_keys(1)[0].expires_at)

    def test_key_that_expires_soon_is_marked(self):
        self.make()
        for days, mark in [(1, "Expires in 1 day<"), (14, "Expires in 14 days<"), (15, None)]:
            expires_at = utcnow() + timedelta(days=days, minutes=-1 if mark else 1)
            db.session.query(APIKey).update({"expires_at": expires_at})
            db.session.commit()
            with self.subTest(days):
                page = self.client.get("/account").text

                self.assertIn(mark or "valid until <time", page)
                self.assertEqual("Expires in" in page, mark is not None)

    def test_form_sent_twice_makes_one_key(self):
        page = self.client.get("/account").text
        once = find('name="idempotency_key"[^>]*value="([^"]+)"', page)

        self.assertEqual(self.make(idempotency_key=once).status_code, 201)
        again = self.make(idempotency_key=once)

        self.assertEqual((again.status_code, again.headers["Location"]), (303, "/account#keys"))
        self.assertIn("It is not shown again.", self.client.get("/account").text)
        self.assertEqual(len(auth.list_keys(1)), 1)

    def test_mistakes_are_said_beside_the_field_and_entries_stay(self):
        mistakes: list[tuple[dict[str, Any], str]] = [
            ({"name": " "}, 'id="name-error">Must not be blank.'),
            ({"scopes": []}, 'id="scopes-error">Choose at least one.'),
            ({"scopes": ["admin"]}, 'id="scopes-error">'),
            ({"scopes": ["nothing"]}, 'id="scopes-error">'),
            ({"expires_in_days": "x"}, 'id="expires_in_days-error">'),
            ({"expires_in_days": "5000"}, 'id="expires_in_days-error">'),
        ]
        for change, text in mistakes:
            with self.subTest(change):
                response = self.make(**change)

                self.assertEqual(response.status_code, 400)
                self.assertIn(text, unescape(response.text))
        self.assertIn('value="robot"', self.make(scopes=[]).text)
        self.assertEqual(auth.list_keys(1), [])

    def test_keys_are_limited(self):
        for _ in range(auth.KEYS_PER_USER):
            self.make()

        response = self.make()

        self.assertEqual(response.status_code, 409)
        self.assertIn("at most 50 API keys", find('id="name-error">(.*?)</div>', response.text))

    def test_choice_is_what_the_role_allows(self):
        for role, scopes in [
            ("viewer", ["users:read"]),
            ("editor", ["users:read", "users:write"]),
            ("admin", ["users:read", "users:write", "admin"]),
            (None, []),
        ]:
            self.set_role(role)
            page = self.client.get("/account").text
            for scope in ["users:read", "users:write", "admin"]:
                with self.subTest(role, scope=scope):
                    self.assertEqual(f'value="{scope}"' in page, scope in scopes)
        self.assertIn("no rights that a key could have", page)

    def test_own_key_is_revoked_after_a_confirmation(self):
        key = find('value="(usk_[^"]+)"', self.make().text)

        question = self.client.get("/revoke/1").text
        self.assertIn("Revoke robot?", question)
        self.assertIn('href="/account#keys"', question)
        self.assertEqual(self.status(key), 200)
        response = self.client.post("/revoke/1")
        self.assertEqual(response.headers["Location"], "/account#keys")
        self.assertEqual(self.status(key), 401)

    def test_key_of_another_user_is_none(self):
        self.make()
        self.register(email="eve@example.com")
        self.client.post("/sign-out")
        self.sign_in(email="eve@example.com")

        for method, path in [("GET", "/revoke/1"), ("POST", "/revoke/1"), ("POST", "/resume/1")]:
            for there in [path, path.replace("1", "999"), path.replace("1", "9" * 40)]:
                with self.subTest(method, path=there):
                    response = self.client.open(there, method=method, headers=AS_PERSON)

                    self.assertEqual(response.status_code, 404)
        self.assertEqual(self.client.get("/revoke/x", headers=AS_PERSON).status_code, 400)
        self.assertEqual(len(auth.list_keys(1)), 1)

    def test_password_rules_are_beside_the_field(self):
        page = self.client.get("/account").text

        self.assertIn("At least 15 characters", find('id="password-rules">(.*?)</div>', page))
        self.assertIn("password-rules", find('<input[^>]*id="password"[^>]*>', page))
        self.assertNotIn(PASSWORD, page)

"""One-time links: how they are made, used and ended."""

import re
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import links, tokens
from project.api.auth import service as auth
from project.api.auth.errors import LinkEnded
from project.api.models import APIKey, IdempotencyKey, Link, Session, User
from project.api.users import service
from project.api.users.errors import EmailTaken, UserNotFound
from project.clock import utcnow
from project.database import close_thread_connections, in_transaction
from project.errors import Invalid
from project.tests.auth.test_views import PASSWORD
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user
from project.web import pruning

AS_PERSON = {"Accept": "text/html"}
NEW_PASSWORD = "another fine and long one"
EXTERNAL = "http://localhost"


class LinkTestCase(BaseTestCase):
    """Has an administrator who is signed in with the browser."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.boss = in_transaction(service.create_user)(
            "Boss", "boss@example.com", active=True, role="admin", password=PASSWORD
        )
        self.sign_in("boss@example.com", PASSWORD)

    def sign_in(self, email: str, password: str) -> Any:
        """Send the form to sign in."""
        form = {"email": email, "password": password}
        return self.client.post("/sign-in", data=form, headers=AS_PERSON)

    def make_link(self, user_id: int) -> str:
        """Make a link; return its token."""
        return in_transaction(links.make_link)(user_id).token

    def actions(self, user_id: int) -> list[tuple[str, str]]:
        """Return what was recorded of a user, as action and actor, the oldest first."""
        events = audit.list_events(99, user_id=user_id)
        return [(event.action, event.actor) for event in reversed(events)]


class ServiceTests(LinkTestCase):
    """The links themselves."""

    def test_invitation_adds_a_user_who_chooses_a_password_and_is_signed_in(self):
        made = in_transaction(links.invite)("Ada", "ada@example.com", "editor")
        user_id = made.user.id
        self.assertFalse(service.get_user(user_id).active)

        found = links.find_link(made.token)
        signed_in = links.commit_use(made.token, PASSWORD)

        self.assertEqual((found.username, found.purpose), ("Ada", "invite"))
        self.assertEqual(signed_in.role, "editor")
        user = service.get_user(user_id)
        self.assertTrue(user.active)
        self.assertIsNotNone(user.last_sign_in_at)
        self.assertEqual(auth.commit_sign_in("ada@example.com", PASSWORD).role, "editor")
        own = f"user:{user_id}"
        self.assertEqual(
            self.actions(user_id)[:5],
            [
                ("user.created", "anonymous"),
                ("link.created", "anonymous"),
                ("user.updated", own),
                ("link.used", own),
                ("session.started", own),
            ],
        )

    def test_only_the_hash_is_stored(self):
        token = self.make_link(self.boss.id)

        row = db.session.query(Link).one()
        self.assertEqual(row.token_hash, tokens.hash_key(token))
        events = str([tuple(event) for event in audit.list_events(99)])
        self.assertNotIn(token, events)
        self.assertNotIn(row.token_hash, events)

    def test_link_works_once(self):
        token = self.make_link(self.boss.id)
        links.commit_use(token, NEW_PASSWORD)

        with self.assertRaises(LinkEnded):
            links.commit_use(token, PASSWORD)
        auth.commit_sign_in("boss@example.com", NEW_PASSWORD)

    def test_next_link_ends_the_last_one(self):
        first, second = self.make_link(self.boss.id), self.make_link(self.boss.id)

        with self.assertRaises(LinkEnded):
            links.find_link(first)
        self.assertEqual(links.find_link(second).user_id, self.boss.id)

    def test_link_ends_with_time_and_with_what_changes_who_may_have_it(self):
        endings = {
            "72 hours": lambda user_id: None,
            "a new password": lambda user_id: service.update_user(
                user_id, {"password": NEW_PASSWORD}
            ),
            "another email": lambda user_id: service.update_user(
                user_id, {"email": "another@example.com"}
            ),
            "a deactivation": lambda user_id: service.update_user(user_id, {"active": False}),
            "the user's removal": lambda user_id: service.delete_user(user_id),
        }
        for name, change in endings.items():
            with self.subTest(name):
                user_id = make_user(active=True).id
                token = self.make_link(user_id)
                now = utcnow() + timedelta(hours=72 if name == "72 hours" else 0)
                in_transaction(change)(user_id)

                with mock.patch.object(links, "utcnow", lambda now=now: now):
                    with self.assertRaises(LinkEnded):
                        links.find_link(token)
                    with self.assertRaises(LinkEnded):
                        links.commit_use(token, PASSWORD)
                in_transaction(self.forget)(user_id)

    def forget(self, user_id: int) -> None:
        """Remove a user, if there."""
        db.session.query(User).filter_by(id=user_id).delete()

    def test_link_stays_when_something_else_changes(self):
        user_id = make_user().id
        token = self.make_link(user_id)

        in_transaction(service.update_user)(user_id, {"username": "x", "role": "viewer"})

        links.commit_use(token, PASSWORD)

    def test_change_while_the_password_is_hashed_ends_the_link(self):
        changes = {"password": NEW_PASSWORD}, {"active": False}
        for change in changes:
            with self.subTest(change):
                user_id = make_user(active=True).id
                token = self.make_link(user_id)
                found = links.find_link(token)
                in_transaction(service.update_user)(user_id, change)

                with (
                    mock.patch.object(links, "find_link", return_value=found),
                    self.assertRaises(LinkEnded),
                ):
                    links.commit_use(token, PASSWORD)
                self.assertEqual(service.get_user(user_id).active, "active" not in change)

    def test_former_sign_ins_end_and_keys_stay(self):
        user = make_user(active=True, role="viewer")
        former = auth._sign_in(user, 0)
        times = {"created_at": utcnow()}
        db.session.add(
            APIKey(user_id=user.id, name="x", prefix="x", key_hash="x", scopes=[], **times)
        )
        db.session.commit()

        made = links.commit_use(self.make_link(user.id), PASSWORD)

        sessions = db.session.query(Session).filter_by(user_id=user.id)
        self.assertEqual([each.token_id for each in sessions], [made.session])
        self.assertNotEqual(made.session, former.session)
        self.assertEqual(db.session.query(APIKey).count(), 1)

    def test_weak_password_leaves_the_link(self):
        user_id = make_user(username="Ada Lovelace").id
        token = self.make_link(user_id)

        for password in ["short", "Ada Lovelace is my name"]:
            with self.assertRaises(Invalid):
                links.commit_use(token, password)

        links.commit_use(token, PASSWORD)

    def test_of_two_at_once_one_wins(self):
        token = self.make_link(make_user().id)
        barrier, outcomes, find = Barrier(2), [], links.find_link

        def find_together(token: str) -> Any:
            found = find(token)
            barrier.wait()
            return found

        def use(password: str) -> None:
            with self.app.app_context():
                try:
                    links.commit_use(token, password)
                    outcomes.append(password)
                except LinkEnded:
                    outcomes.append("ended")
                finally:
                    close_thread_connections()

        threads = [Thread(target=use, args=(each,)) for each in (PASSWORD, NEW_PASSWORD)]
        with mock.patch.object(links, "find_link", find_together):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        self.assertEqual(len(outcomes), 2)
        self.assertEqual(outcomes.count("ended"), 1, outcomes)

    def test_strange_token_is_no_link(self):
        for token in ["", "x", "x" * 43, "é" * 43, "x" * 10_000, "\x00" * 43, "x\n" * 43]:
            with self.subTest(token[:50]), self.assertRaises(LinkEnded):
                links.find_link(token)

    def test_unknown_user_gets_none(self):
        for user_id in [-1, 0, 999, 2**31, 10**40]:
            with self.subTest(user_id), self.assertRaises(UserNotFound):
                in_transaction(links.make_link)(user_id)

    def test_taken_email_is_no_invitation(self):
        with self.assertRaises(EmailTaken):
            in_transaction(links.invite)("Boss", "BOSS@example.com", None)
        self.assertEqual(db.session.query(Link).count(), 0)

    def test_expired_links_are_removed(self):
        for user, hours in [(make_user(), 71), (make_user(), 73)]:
            past = utcnow() - timedelta(hours=hours)
            with mock.patch.object(links, "utcnow", lambda past=past: past):
                self.make_link(user.id)

        self.assertEqual(sum(pruning.remove_all("one-time links")), 1)
        self.assertEqual(db.session.query(Link).count(), 1)


class InvitePageTests(LinkTestCase):
    """/invite and /user/<id>/link."""

    FORM = {"username": "Ada", "email": "ada@example.com", "role": "viewer"}

    def link_on(self, page: str) -> str:
        """Return the path of the link on a page."""
        [address] = re.findall(r'<input[^>]*id="link"[^>]*value="([^"]*)"', page)
        self.assertTrue(address.startswith(f"{EXTERNAL}/welcome?link="), address)
        return str(address.removeprefix(EXTERNAL))

    def test_administrator_adds_a_colleague_who_signs_in_with_the_link(self):
        page = self.client.get("/invite", headers=AS_PERSON)
        self.assertEqual(page.status_code, 200)
        self.assertNotIn("by mail", page.text)

        response = self.client.post("/invite", data=self.FORM, headers=AS_PERSON)

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Cache-Control"], "no-store")
        link = self.link_on(response.text)
        person = self.app.test_client()
        for _ in range(2):  # as a program that opens the links of mails does, and then the person
            form = person.get(link, headers=AS_PERSON)
            self.assertEqual(form.status_code, 200)
            self.assertIn('<meta name="robots" content="noindex">', form.text)
            self.assertIn("ada@example.com", form.text)
        [token] = re.findall("link=(.*)", link)
        data = {"link": token, "password": PASSWORD}
        response = person.post("/welcome", data=data, headers=AS_PERSON)
        self.assertEqual((response.status_code, response.location), (303, "/"))
        self.assertIn("you are signed in", person.get("/", headers=AS_PERSON).text)
        self.assertEqual(self.actions(2)[0], ("user.created", f"user:{self.boss.id}"))
        self.assertEqual(self.actions(2)[1], ("link.created", f"user:{self.boss.id}"))
        again = person.post("/welcome", data=data, headers=AS_PERSON)
        self.assertEqual(again.status_code, 410)
        self.assertIn("This link has ended", again.text)
        self.assertEqual(person.get(link, headers=AS_PERSON).status_code, 410)

    def test_form_sent_twice_adds_one_colleague_and_leads_to_their_page(self):
        page = self.client.get("/invite", headers=AS_PERSON).text
        [key] = re.findall('name="idempotency_key"[^>]* value="([^"]+)"', page)
        data = {**self.FORM, "idempotency_key": key}
        first = self.client.post("/invite", data=data, headers=AS_PERSON)

        again = self.client.post("/invite", data=data, headers=AS_PERSON)

        [user] = db.session.query(User).filter_by(username="Ada")
        self.assertEqual((again.status_code, again.location), (303, f"/user/{user.id}#access"))
        page = self.client.get(again.location, headers=AS_PERSON).text
        self.assertIn("ada@example.com was added when you first sent this form.", page)
        self.assertIn("Make a sign-in link", page)
        token = self.link_on(first.text).partition("link=")[2]
        self.assertEqual(links.find_link(token).user_id, user.id)  # the second made none
        self.assertEqual(self.actions(user.id).count(("link.created", f"user:{self.boss.id}")), 1)
        [kept] = db.session.query(IdempotencyKey)
        self.assertNotIn(token, str(vars(kept)))

    def test_form_with_other_entries_adds_another_colleague(self):
        data = {**self.FORM, "idempotency_key": "k"}
        self.client.post("/invite", data={**data, "email": "x"}, headers=AS_PERSON)
        for email in ["ada@example.com", "grace@example.com"]:
            response = self.client.post("/invite", data={**data, "email": email}, headers=AS_PERSON)
            self.assertEqual(response.status_code, 200)
        self.assertEqual(service.count_users(), 3)

    def test_what_is_wrong_is_said_and_nothing_is_added(self):
        for change, message in [
            ({"email": "boss@example.com"}, "Sorry. That email already exists."),
            ({"email": "x"}, "must have an @-sign"),
            ({"username": " "}, "Must not be blank."),
            ({"role": "king"}, "Must be one of viewer, editor, admin, or null."),
        ]:
            with self.subTest(change):
                data = {**self.FORM, **change}
                response = self.client.post("/invite", data=data, headers=AS_PERSON)

                self.assertEqual(response.status_code, 400)
                self.assertIn(message, response.text)
        self.assertEqual(service.count_users(), 1)

    def test_link_for_an_existing_user(self):
        user = make_user(username="Grace", active=True, password_hash="x")

        response = self.client.post(f"/user/{user.id}/link", headers=AS_PERSON)

        self.assertEqual(response.status_code, 200)
        form = self.client.get(self.link_on(response.text), headers=AS_PERSON).text
        self.assertIn("Choose a new password", form)
        for user_id, status in [("999", 404), ("x", 400)]:
            response = self.client.post(f"/user/{user_id}/link", headers=AS_PERSON)
            self.assertEqual(response.status_code, status)

    def test_link_follows_the_public_address(self):
        self.app.config["PUBLIC_URL"] = "https://users.example/directory"

        response = self.client.post("/invite", data=self.FORM, headers=AS_PERSON)

        self.assertIn('value="https://users.example/directory/welcome?link=', response.text)

    def test_weak_password_is_said_and_the_link_goes_on(self):
        token = self.make_link(make_user().id)
        data = {"link": token, "password": "short"}

        response = self.client.post("/welcome", data=data, headers=AS_PERSON)

        self.assertEqual(response.status_code, 400)
        self.assertIn("Must have at least 15 characters; this has 5.", response.text)
        self.assertIn(token, response.text)  # in the form, which can be sent again
        data["password"] = PASSWORD
        response = self.client.post("/welcome", data=data, headers=AS_PERSON)
        self.assertEqual((response.status_code, response.location), (303, "/account"))

    def test_browser_that_was_signed_in_changes_over(self):
        form = self.client.get(f"/welcome?link={self.make_link(make_user().id)}")
        self.assertIn("You are signed in as Boss.", form.text)
        form = self.client.get(f"/welcome?link={self.make_link(self.boss.id)}")
        self.assertNotIn("You are signed in as", form.text)
        self.client.post("/welcome", data={"link": self.make_link(make_user(role="viewer").id),
                                           "password": PASSWORD})  # fmt: skip

        self.assertIn(("session.ended", f"user:{self.boss.id}"), self.actions(self.boss.id))

    def test_strange_links_have_ended(self):
        for query in ["", "?link=", "?link=x", f"?link={'é' * 43}", f"?link={'x' * 7000}"]:
            with self.subTest(query[:20]):
                response = self.client.get(f"/welcome{query}", headers=AS_PERSON)

                self.assertEqual(response.status_code, 410)


class PasswordFieldTests(LinkTestCase):
    """The same field on every page with a password."""

    def test_each_can_be_shown_and_new_ones_have_their_rules_beside(self):
        self.app.config["REGISTRATION"] = True
        token = self.make_link(make_user().id)
        for path, shown, rules in [
            ("/sign-in", 1, 0),
            ("/account", 3, 1),
            (f"/user/{self.boss.id}", 1, 0),
            ("/register", 1, 1),
            (f"/welcome?link={token}", 1, 1),
        ]:
            with self.subTest(path):
                page = self.client.get(path, headers=AS_PERSON).text

                ids = [
                    re.findall(' id="([^"]+)"', each)[0]
                    for each in re.findall("<input[^>]*>", page)
                    if 'type="password"' in each
                ]
                self.assertEqual(re.findall('data-shows="([^"]+)"', page), ids)
                self.assertEqual(len(ids), shown)
                self.assertEqual(page.count("At least 15 characters"), rules)
                self.assertIn("password.js", page)


class OpenTests(BaseTestCase):
    """With open access, links are still the administrators'."""

    def test_nobody_makes_a_link(self):
        user = make_user()
        for method, path in [
            ("GET", "/invite"),
            ("POST", "/invite"),
            ("POST", f"/user/{user.id}/link"),
        ]:
            with self.subTest(path):
                response = self.client.open(path, method=method, headers=AS_PERSON)

                self.assertEqual(response.status_code, 303)
                self.assertTrue(response.location.startswith("/sign-in"))
        self.assertEqual(db.session.query(Link).count(), 0)

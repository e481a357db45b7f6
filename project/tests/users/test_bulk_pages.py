"""Changing several users, over the wire; e2e/test_list_pages.py drives the pages in a browser."""

import re
from collections.abc import Sequence
from html import unescape
from threading import Thread
from typing import Any
from unittest import mock

from flask import Flask
from sqlalchemy.exc import OperationalError

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.models import User
from project.api.users import bulk, service
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import all_users, make_user, make_users
from project.tests.users.test_pages import find, shown_names

AS_PERSON = {"Accept": "text/html"}


def fields(page: str) -> dict[str, str]:
    """Return the hidden fields of the page's form."""
    form = page[page.index('action="/bulk') :]
    found = re.findall(r'<input id="(\w+)" name="\w+" type="hidden" value="([^"]*)">', form)
    return {name: unescape(value) for name, value in found}


class BulkPageTestCase(BaseTestCase):
    """Has helpers to choose users and to confirm."""

    def choose(self, action: str, ids: Sequence[int] = (), **query: Any) -> str:
        """Return the page that says what would happen."""
        response = self.client.get(
            "/bulk", query_string={"action": action, "ids": ids, **query}, headers=AS_PERSON
        )
        self.assertEqual(response.status_code, 200, response.text)
        return str(response.text)

    def confirm(self, page: str, **more: str) -> Any:
        """Send the form of that page."""
        path = unescape(find(r'<form class="card[^"]*" action="([^"]*)"', page))
        return self.client.post(path, data={**fields(page), **more}, headers=AS_PERSON)

    def flashed(self) -> str:
        """Return what the list says about the last change."""
        return find(r'role="status">(.*?)</div>', self.client.get("/").text)


class OpenTests(BulkPageTestCase):
    """What everybody may do while access is open."""

    def test_chosen_users_are_changed_after_a_confirmation(self):
        ids = [make_user(username=f"u{number}", active=True).id for number in range(3)]

        page = self.choose("deactivate", ids[:2], q="u", cursor="c")
        self.assertTrue(all(user.active for user in all_users()))
        response = self.confirm(page)

        self.assertIn("<h1", page)
        self.assertIn("Deactivate 2 users?</h1>", page)
        self.assertEqual(shown_names(page), ["u0", "u1"])
        self.assertEqual(response.status_code, 303)
        self.assertEqual(response.headers["Location"], "/?q=u&cursor=c")
        self.assertEqual([user.active for user in all_users()], [False, False, True])
        self.assertEqual(self.flashed(), "2 users were deactivated.")

    def test_nobody_chosen_leads_back(self):
        for path in ["/bulk", "/bulk?action=remove&role=viewer", "/bulk/export"]:
            with self.subTest(path):
                response = self.client.get(path)

                self.assertEqual(response.status_code, 303)
                self.assertEqual(self.flashed(), "Choose users first.")

    def test_wrong_choice_is_refused(self):
        for query, status in [
            ("action=x&ids=1", 400),
            ("ids=1", 400),
            ("action=activate&ids=x", 400),
            ("action=activate&all=1&after=x", 400),
            ("action=activate&all=1&role=x", 400),
            ("action=role&new_role=viewer&ids=1", 403),  # nobody is an administrator here
        ]:
            with self.subTest(query):
                response = self.client.get(f"/bulk?{query}", headers=AS_PERSON)
                self.assertEqual(response.status_code, status)
        for form in [
            {},
            {"action": "activate"},
            {"action": "activate", "ids": "1,2"},
            {"action": "activate", "ids": ".".join(["1"] * 5001)},
            {"action": "x", "ids": "1"},
        ]:
            with self.subTest(str(form)[:40]):
                response = self.client.post("/bulk", data=form, headers=AS_PERSON)
                self.assertEqual(response.status_code, 400)

    def test_form_sent_twice_changes_once_and_says_the_same(self):
        make_users(30)
        ids = [make_user().id for _ in range(2)]
        page = self.choose("remove", ids)
        answers: list[str] = []

        def send() -> None:
            client = self.app.test_client()
            client.post("/bulk", data=fields(page))
            answers.append(find(r'role="status">(.*?)</div>', client.get("/").text))

        threads = [Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(answers, ["2 users were removed."] * 2)
        removed = [event for event in audit.list_events(99) if event.action == "user.removed"]
        self.assertEqual(len(removed), 2)

    def test_all_of_the_filter_are_changed_and_nobody_else(self):
        make_users(120)
        make_user(username="Ada", role="viewer")

        page = self.choose("activate", all="1", role="none")
        make_user(username="late")
        self.confirm(page)

        self.assertIn("Activate 120 users?", page)
        self.assertIn("and 100 more", page)
        inactive = {user.username for user in all_users() if not user.active}
        self.assertEqual(inactive, {"Ada", "late"})
        self.assertEqual(self.flashed(), "120 users were activated.")

    def test_all_that_a_search_finds(self):
        for name in ["Ada One", "Ada Two", "Bo"]:
            make_user(username=name)

        page = self.choose("activate", all="1", q="ada")
        self.confirm(page)

        active = {user.username for user in all_users() if user.active}
        self.assertEqual(active, {"Ada One", "Ada Two"})

    def test_more_than_fit_are_continued_with(self):
        make_users(35)
        for q, rest in [("", "finds 25 more users"), ("user", "finds more users")]:
            with (
                self.subTest(q),
                mock.patch.multiple(bulk, MOST_AT_ONCE=19, USERS_PER_PAGE=10, USERS_PER_BATCH=4),
            ):
                db.session.query(User).update({"active": False})
                db.session.commit()
                counts = []
                page = self.choose("activate", all="1", q=q)
                while True:
                    counts.append(find(r"Activate (\d+) users\?</h1>", page))
                    answer = self.confirm(page)
                    if answer.status_code == 303:
                        break
                    if len(counts) == 1:
                        self.assertIn(rest, answer.text)
                    follow = unescape(find(r'href="(/bulk\?[^"]*)"', answer.text))
                    page = self.client.get(follow).text

                self.assertEqual(counts, ["10", "10", "10", "5"])
                self.assertTrue(all(user.active for user in all_users()))

    def test_part_that_needs_no_change_leads_on(self):
        make_users(25)
        for user in all_users()[:10]:
            service.update_user(user.id, {"active": True})
        db.session.commit()
        with mock.patch.multiple(bulk, MOST_AT_ONCE=19, USERS_PER_PAGE=10, MOST_READ=10):
            page = self.choose("activate", all="1")

        self.assertIn("Nobody would be changed", page)
        self.assertIn("10 users need no change.", page)
        self.assertIn("Continue</a>", page)

    def test_removal_of_many_asks_for_the_number(self):
        make_users(200)
        few, ten, many = ([*range(1, 1 + number)] for number in (3, 10, 11))

        self.assertNotIn('name="number"', self.choose("remove", few))
        self.assertNotIn('name="number"', self.choose("remove", ten))
        self.assertNotIn('name="number"', self.choose("deactivate", all="1"))
        page = self.choose("remove", many)
        self.assertIn("Type 11 to confirm</label>", page)
        for number in ["", "10"]:
            refused = self.confirm(page, number=number)
            self.assertEqual(refused.status_code, 400)
            self.assertIn("Is not the number of users to be removed.", refused.text)
            self.assertIn("Remove 11 users?", refused.text)
        self.assertEqual(len(all_users()), 200)
        self.assertEqual(self.confirm(page, number=" 11 ").status_code, 303)
        self.assertEqual(len(all_users()), 189)

    def test_removal_of_a_tenth_asks_for_the_number(self):
        make_users(20)

        self.assertNotIn('name="number"', self.choose("remove", [1, 2]))
        page = self.choose("remove", [1, 2, 3])

        self.assertIn("Type 3 to confirm", page)
        self.assertEqual(self.confirm(page).status_code, 400)
        self.assertEqual(self.confirm(page, number="3").status_code, 303)

    def test_failure_half_way_says_what_was_done_and_can_go_on(self):
        make_users(10)
        ids = [user.id for user in all_users()]
        page = self.choose("activate", ids)
        error = OperationalError("", {}, Exception("disk I/O error"))
        apply, calls = bulk.apply, []

        def fail_once(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise error
            return apply(*arguments)

        with (
            mock.patch.object(bulk, "USERS_PER_BATCH", 4),
            mock.patch.object(bulk, "apply", fail_once),
        ):
            failed = self.confirm(page)
            done = sum(user.active for user in all_users())
            again = self.client.post("/bulk", data=fields(failed.text))

        self.assertEqual(failed.status_code, 503)
        self.assertEqual(done, 4)
        self.assertIn("4 users were activated.</h1>", failed.text)
        self.assertIn("6 users were not reached:", failed.text)
        self.assertEqual(again.status_code, 303)
        self.assertTrue(all(user.active for user in all_users()))
        self.assertEqual(self.flashed(), "10 users were activated.")

    def test_those_left_out_are_named_with_the_reason(self):
        make_users(40)
        boss = make_user(username="Boss", role="admin", active=True, password_hash="x")

        page = self.choose("deactivate", [1, boss.id])
        make_user(username="late", role="admin", active=True)

        reason = "The last administrator cannot be removed, demoted or deactivated."
        self.assertIn("Nobody would be changed", page)
        self.assertIn(f"<strong>Boss</strong>, {boss.email}: {reason}", page)
        forged = {"action": "deactivate", "ids": str(boss.id)}
        answer = self.client.post("/bulk", data=forged, headers=AS_PERSON)
        self.assertEqual(answer.status_code, 200)
        self.assertIn("Nobody was changed.</h1>", answer.text)
        self.assertIn(reason, answer.text)

    def test_export_leads_to_its_page(self):
        for query, location in [
            ("ids=3&ids=1", "/export?ids=3,1"),
            ("all=1&ids=1&q=a+b&role=viewer&cursor=c", "/export?q=a+b&role=viewer"),
            ("all=1&active=true&sort=email", "/export?active=true"),
            ("all=1", "/export"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/bulk/export?{query}")

                self.assertEqual(response.status_code, 303)
                self.assertEqual(response.headers["Location"], location)

    def test_names_are_text(self):
        user = make_user(username="<b>Ada</b>")

        self.assertIn("&lt;b&gt;Ada&lt;/b&gt;", self.choose("remove", [user.id]))


class WithCSRF(Protected):
    """Settings with CSRF tokens, too."""

    WTF_CSRF_ENABLED = True


class ProtectedTests(BulkPageTestCase):
    """What the roles may do."""

    def create_app(self) -> Flask:
        return create_app(WithCSRF)

    def sign_in(self, role: str) -> int:
        """Sign in as a new user with this role; return the id."""
        user = make_user(
            username="Me", role=role, active=True, password_hash="x", password_version=1
        )
        made = auth._sign_in(user, 0)
        db.session.commit()
        with self.client.session_transaction() as cookie:
            cookie["sign_in"] = made.session
        return int(user.id)

    def test_administrator_sets_roles_of_others(self):
        me = self.sign_in("admin")
        others = [make_user().id, make_user(role="editor", active=True).id]

        page = self.choose("role", [me, *others], new_role="editor")
        response = self.confirm(page)

        self.assertIn("Set the role of 1 user to “Editor”?", page)
        self.assertIn("1 user needs no change.", page)
        self.assertIn("Your own account is not changed together with others.", page)
        self.assertEqual(response.status_code, 303)
        self.assertEqual([user.role for user in all_users()], ["admin", "editor", "editor"])
        event = audit.list_events(1)[0]
        self.assertEqual((event.actor, event.user_id), (f"user:{me}", others[0]))

    def test_role_none_takes_the_role_away(self):
        self.sign_in("admin")
        other = make_user(role="editor")

        self.confirm(self.choose("role", [other.id], new_role="none"))

        self.assertIsNone(service.get_user(other.id).role)
        wrong = self.client.get("/bulk?action=role&ids=1&new_role=x", headers=AS_PERSON)
        self.assertEqual(wrong.status_code, 400)

    def test_editor_changes_neither_roles_nor_administrators(self):
        self.sign_in("editor")
        boss = make_user(username="Boss", role="admin", active=True)

        page = self.choose("deactivate", [boss.id, make_user(active=True).id])
        refused = self.client.get("/bulk?action=role&new_role=admin&ids=1", headers=AS_PERSON)

        self.assertIn("Deactivate 1 user?", page)
        self.assertIn("Only administrators may change or remove an administrator.", page)
        self.assertEqual(refused.status_code, 403)
        self.assertNotIn("Set role", self.client.get("/").text)

    def test_viewer_is_offered_the_export_only(self):
        self.sign_in("viewer")

        page = self.client.get("/").text

        self.assertIn("Export</button>", page)
        self.assertNotIn("Activate</button>", page)
        self.assertNotIn("Remove</button>", page)

    def test_form_without_its_token_changes_nothing_and_asks_again(self):
        self.sign_in("editor")
        other = make_user(active=True)
        page = self.choose("deactivate", [other.id])

        refused = self.confirm(page, csrf_token="forged")

        self.assertEqual(refused.status_code, 400)
        self.assertIn("The form has expired.", refused.text)
        self.assertTrue(service.get_user(other.id).active)
        self.assertEqual(self.confirm(refused.text).status_code, 303)
        self.assertFalse(service.get_user(other.id).active)

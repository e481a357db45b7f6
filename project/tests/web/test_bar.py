"""What the bar shows to whom; its looks are tested in a browser."""

import re
from typing import Any
from unittest import mock

from flask import Flask, render_template

from project import create_app, db
from project.api.auth import service as auth
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user
from project.web import guard

AS_PERSON = {"Accept": "text/html"}


def links(page: str) -> list[str]:
    """Return the texts of the links in the bar's navigation."""
    [nav] = re.findall("<nav.*?</nav>", page, re.DOTALL)
    return re.findall(r">([^<>\s][^<>]*)</a>", nav)


class OpenBarTest(BaseTestCase):
    """While access is open."""

    def test_bar_is_on_every_page_and_says_that_access_is_open(self):
        for path in ["/", "/sign-in", "/docs", "/nowhere", "/user/1"]:
            with self.subTest(path):
                page = self.client.get(path, headers=AS_PERSON).text
                self.assertIn("Anybody may change this", page)
                self.assertIn("Skip to content", page)
                self.assertEqual([links(page)[0], links(page)[-1]], ["Users", "API"])

    def test_person_may_sign_in(self):
        self.assertIn(">Sign in</a>", self.client.get("/").text)
        self.assertNotIn(">Sign in</a>", self.client.get("/sign-in").text)

    def test_page_of_the_section_is_marked(self):
        user = make_user()
        for path, current in [("/", "page"), (f"/user/{user.id}", "true")]:
            page = self.client.get(path, headers=AS_PERSON).text
            self.assertIn(f'aria-current="{current}" href="/">Users<', page)
        self.assertIn('aria-current="page" href="/docs">API<', self.client.get("/docs").text)


class ProtectedBarTest(BaseTestCase):
    """While access is protected, by role."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def page_of(self, role: str | None, path: str = "/account", **user: Any) -> str:
        """Return a page as a user with this role sees it."""
        account = make_user(role=role, active=True, password_version=1, **user)
        client = self.app.test_client()
        with client.session_transaction() as cookie:
            cookie["sign_in"] = auth._sign_in(account, 0).session
        db.session.commit()
        page: str = client.get(path, headers=AS_PERSON).text
        return page

    def test_links_are_those_that_the_person_may_use(self):
        paths = {
            "groups.index": "/group",
            "transfer.import_form": "/import",
            "transfer.export_form": "/export",
            "audit.activity": "/activity",
            "docs.show_docs": "/docs",
        }
        for role, expected in [
            (None, ["API"]),
            ("viewer", ["Users", "Groups", "Export", "API"]),
            ("editor", ["Users", "Groups", "Import", "Export", "API"]),
            ("admin", ["Users", "Groups", "Import", "Export", "Activity", "API"]),
        ]:
            with self.subTest(role):
                self.app.jinja_env.globals["paths"] = paths
                page = self.page_of(role)
                self.assertEqual(links(page), expected)
                self.assertNotIn("Anybody may change this", page)
                self.app.jinja_env.globals["paths"] = {"docs.show_docs": "/docs"}
                self.assertLessEqual(set(links(self.page_of(role))), {"Users", "API"})

    def test_person_sees_who_they_are(self):
        page = self.page_of("viewer", "/", username="<Ada>")

        self.assertIn(">&lt;Ada&gt;</a>", page)
        self.assertIn(">Sign out</button>", page)
        self.assertNotIn(">Sign in</a>", page)

    def test_nobody_sees_the_description_only(self):
        make_user(role="admin", active=True, password_hash="x")
        page = self.client.get("/sign-in").text

        self.assertEqual(links(page), ["API"])
        self.assertIn(">Sign in</a>", self.client.get("/nowhere", headers=AS_PERSON).text)

    def test_page_of_a_failure_asks_no_database_who_this_is(self):
        with self.app.test_request_context("/"):
            with mock.patch.object(guard, "find_principal", side_effect=RuntimeError):
                page = render_template("error.html", name="x", message="y", number="0123")

        self.assertIn("0123", page)

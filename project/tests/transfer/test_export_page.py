"""The page for exports, over the wire; e2e/test_export_pages.py uses a browser."""

import re
from datetime import datetime
from html import unescape
from io import BytesIO
from typing import Any
from unittest import mock

from flask import Flask
from python_calamine import CalamineWorkbook

from project import create_app
from project.api.auth import service as auth
from project.api.transfer import export_page, exporting
from project.api.users import service
from project.database import in_transaction
from project.errors import AppError
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user, make_users

AS_PERSON = {"Accept": "text/html"}


def texts(page: str) -> str:
    """Return the text of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


class ExportPageTests(BaseTestCase):
    """/export and /export/download while access is open."""

    def setUp(self) -> None:
        super().setUp()
        make_user(username="Ada", email="ada@example.com", active=True, role="admin")
        make_user(username="=Bo", email="bo@example.com", active=False, role="editor")
        make_user(username="Cy", email="cy@example.com", active=True)

    def get(self, path: str, **headers: str) -> Any:
        """Open an address as a browser does."""
        return self.client.get(path, headers={**AS_PERSON, **headers})

    def test_page_says_whom_the_filter_finds(self):
        for query, expected in [
            ("", "3 users Everybody in the directory"),
            ("?q=", "3 users Everybody in the directory"),
            ("?sort=email&cursor=x&before=y", "3 users Everybody in the directory"),
            ("?q=%20ada%20", "1 user Found by “ada”"),
            ("?q=<b>", "1 user Found by “<b>”"),
            ("?role=admin", "1 user Administrator"),
            ("?role=editor&active=false", "1 user Editor Inactive"),
            (
                "?role=none&active=true&q=example.com",
                "1 user Found by “example.com” No role Active",
            ),
            ("?ids=1,3,99", "2 users Chosen in the list"),
            ("?ids=1&ids=3&q=ada", "2 users Chosen in the list"),
            ("?ids=1,2,3&role=none", "1 user Chosen in the list No role"),
            ("?ids=1,2,3&active=true", "2 users Chosen in the list Active"),
        ]:
            with self.subTest(query):
                response = self.get(f"/export{query}")

                self.assertEqual(response.status_code, 200)
                self.assertIn(f" Who {expected} ", texts(response.text))

    def test_number_of_many_users_is_rounded(self):
        with mock.patch.object(service, "count_some", return_value=service.Count(10_000, False)):
            self.assertIn("Over 10,000 users", self.get("/export").text)

    def test_wrong_filter_is_named(self):
        for path in ("/export", "/export/download"):
            for query in ["role=owner", "active=x", "ids=x"]:
                with self.subTest(path, query=query):
                    response = self.get(f"{path}?{query}")

                    self.assertEqual(response.status_code, 400)
                    self.assertIn(query.split("=")[0], texts(response.text))

    def test_form_has_what_the_download_needs(self):
        page = self.get("/export?role=editor&active=false").text

        self.assertIn('<input type="hidden" name="role" value="editor">', page)
        self.assertIn('<input type="hidden" name="active" value="false">', page)
        self.assertEqual(page.count('name="columns"'), 8)
        self.assertIn('name="ids" value="1,2"', self.get("/export?ids=1&ids=2").text)
        self.assertRegex(page, r'id="format-xlsx"[^>]* checked')

    def test_file_has_the_users_and_the_day(self):
        with mock.patch.object(export_page, "utcnow", return_value=datetime(2026, 11, 26, 23)):
            response = self.get("/export/download?format=xlsx&q=example.com&role=admin")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.headers["Content-Disposition"], 'attachment; filename="users-2026-11-26.xlsx"'
        )
        book = CalamineWorkbook.from_filelike(BytesIO(response.data))
        rows = book.get_sheet_by_name("Users").to_python()
        self.assertEqual([row[1] for row in rows], ["username", "Ada"])

    def test_csv_may_be_for_excel(self):
        for query, expected in [
            ("", 'id,username\r\n2,"=Bo"\r\n'),
            ("&excel=true", '\ufeffid,username\r\n2,"\'=Bo"\r\n'),
        ]:
            path = f"/export/download?format=csv&columns=id&columns=username&ids=2{query}"
            self.assertEqual(self.get(path).data.decode(), expected)

    def test_head_reads_nothing(self):
        response = self.client.head("/export/download", headers=AS_PERSON)

        self.assertEqual((response.status_code, response.data), (200, b""))


class ProtectedExportTests(BaseTestCase):
    """The download of a person who has signed in."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def test_person_who_loses_the_role_gets_no_more(self):
        viewer = make_user(username="V", active=True, role="viewer")
        make_users(5)
        made = in_transaction(auth._sign_in)(viewer, 0)
        with self.client.session_transaction() as cookie:
            cookie["sign_in"] = made.session
        with mock.patch.object(exporting, "ROWS_PER_CHUNK", 2):
            response = self.client.get(
                "/export/download?format=csv", headers=AS_PERSON, buffered=False
            )
            self.assertEqual(response.status_code, 200)
            in_transaction(service.update_user)(viewer.id, {"role": None}, by_admin=True)
            with self.assertRaises(AppError):
                list(response.response)

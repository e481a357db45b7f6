"""The page for exports, in a real Chromium."""

import unittest
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Download, expect
from python_calamine import CalamineWorkbook

from e2e.processes import manage
from e2e.test_page import PASSWORD, PEOPLE, BrowserTestCase


class ExportPageTestCase(BrowserTestCase):
    """There are some people, of whom Ada is an administrator."""

    def setUp(self) -> None:
        super().setUp()
        manage(
            *("create_admin", "--username", PEOPLE[0][0], "--email", PEOPLE[0][1]),
            "--password-stdin",
            input=PASSWORD,
            DATABASE_URL=self.database,
            **self.environment,
        )

    def add_people(self, headers: dict[str, str] | None = None) -> None:
        """Add the others."""
        for username, email in PEOPLE[1:]:
            self.page.request.post(
                f"{self.url}/users", data={"username": username, "email": email}, headers=headers
            )

    def download(self) -> Download:
        """Press the button, and wait for the file."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name="Download").click()
        return waiting.value

    def rows(self, download: Download) -> list[list[Any]]:
        """Return the rows of an Excel file."""
        book = CalamineWorkbook.from_path(str(download.path()))
        self.assertEqual(book.sheet_names, ["Users"])
        return book.get_sheet_by_name("Users").to_python()


class ExportPageTests(ExportPageTestCase):
    """What everybody may do while access is open."""

    def test_person_downloads_everybody_for_excel(self) -> None:
        self.add_people()
        self.page.goto(f"{self.url}/export")
        expect(self.page.get_by_text("6 users")).to_be_visible()
        self.assert_fits("export")

        download = self.download()

        today = datetime.now(UTC).strftime("%Y-%m-%d")
        self.assertEqual(download.suggested_filename, f"users-{today}.xlsx")
        header, *rows = self.rows(download)
        self.assertEqual(header[:3], ["id", "username", "email"])
        self.assertEqual([tuple(row[1:3]) for row in rows], PEOPLE)
        expect(self.page.get_by_role("heading", name="Export")).to_be_visible()
        self.assertEqual(self.complaints, [])

    def test_person_chooses_columns_of_those_a_search_finds(self) -> None:
        self.add_people()
        self.page.goto(f"{self.url}/export?q=ada")
        expect(self.page.get_by_text("1 user", exact=True)).to_be_visible()
        expect(self.page.get_by_text("Found by “ada”")).to_be_visible()
        columns = self.page.get_by_role("group", name="Columns")
        for box in columns.get_by_role("checkbox").all():
            expect(box).to_be_checked()
        for name in ["ID", "Active", "Added", "Last changed", "Role", "Last sign-in"]:
            columns.get_by_label(name, exact=True).uncheck()

        self.assertEqual(
            self.rows(self.download()), [["username", "email"], ["Ada Lovelace", PEOPLE[0][1]]]
        )

        self.page.get_by_role("link", name="Export everybody instead").click()
        expect(self.page.get_by_text("6 users")).to_be_visible()

    def test_csv_has_a_choice_of_its_own(self) -> None:
        self.page.goto(f"{self.url}/export")
        choice = self.page.get_by_label("To be opened in Excel")
        expect(choice).to_be_hidden()

        self.page.get_by_role("radio", name="CSV").check()
        choice.check()
        content = Path(self.download().path()).read_bytes()
        self.assertTrue(content.startswith(b"\xef\xbb\xbfid,username,"), content)
        self.page.get_by_role("radio", name="NDJSON").check()
        expect(choice).to_be_hidden()

        self.assertTrue(Path(self.download().path()).read_bytes().startswith(b'{"id":1,'))

    def test_page_works_on_a_phone_without_scripts(self) -> None:
        self.add_people()
        self.page = self.open({"width": 390, "height": 844}, scripts=False)
        self.page.goto(f"{self.url}/export?role=none&active=false")
        expect(self.page.get_by_text("5 users")).to_be_visible()
        self.assert_fits("export-phone")

        self.assertEqual(len(self.rows(self.download())), 6)
        self.page.set_viewport_size({"width": 320, "height": 600})
        self.assert_fits("export-320")


class ProtectedExportPageTests(ExportPageTestCase):
    """Who may export while access is protected."""

    environment = {"ACCESS": "protected"}

    def test_viewer_downloads_after_signing_in_and_ordinary_users_do_not(self) -> None:
        token = self.page.request.post(
            f"{self.url}/auth/login", data={"email": PEOPLE[0][1], "password": PASSWORD}
        ).json()["auth_token"]
        self.add_people({"Authorization": f"Bearer {token}"})
        for number, role in [(2, "viewer"), (3, None)]:
            self.page.request.patch(
                f"{self.url}/users/{number}",
                data={"role": role, "active": True, "password": PASSWORD},
                headers={"Authorization": f"Bearer {token}"},
            )
        self.page.goto(f"{self.url}/export?q=costa")
        self.sign_in(PEOPLE[1][1], PASSWORD)

        expect(self.page.get_by_text("1 user", exact=True)).to_be_visible()
        self.assertEqual([row[1] for row in self.rows(self.download())], ["username", PEOPLE[5][0]])

        self.page.context.clear_cookies()
        self.page.goto(f"{self.url}/export")
        self.sign_in(PEOPLE[2][1], PASSWORD)
        expect(self.page.get_by_role("heading", name="Not allowed")).to_be_visible()


if __name__ == "__main__":
    unittest.main()

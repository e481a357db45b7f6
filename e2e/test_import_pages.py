"""Import in the browser: preview, progress, result, failed rows and undo, in a real Chromium."""

import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, expect

from e2e.processes import manage
from e2e.test_page import DESKTOP, PASSWORD, PHONE, BrowserTestCase
from project.tests.transfer.test_forms import xlsx

EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
COLLEAGUES = 200


def colleagues() -> bytes:
    """Return an Excel file of 200 colleagues, two of whom have no address."""
    header: list[str | float | bool] = ["Full name", "Private mail", "Work contact", "Department"]
    rows: list[list[str | float | bool]] = [
        [f"Person {n:03}", f"p{n}@home.example", f"person{n}@work.example", "Research"]
        for n in range(COLLEAGUES)
    ]
    rows[7][2] = "nobody"
    rows[9][2] = "nowhere"
    return xlsx(header, *rows)


class ImportTestCase(BrowserTestCase):
    """Files wait in a folder of the test's own."""

    def setUp(self) -> None:
        self.uploads = Path(self.enterContext(TemporaryDirectory()))
        self.environment = {**self.environment, "UPLOADS_DIR": str(self.uploads)}
        super().setUp()

    def upload(self, page: Page, data: bytes | str, name: str = "people.csv") -> None:
        """Choose a file, and upload it."""
        page.goto(f"{self.url}/import")
        self.choose(page, data, name)
        page.get_by_role("button", name="Upload and preview").click()

    def choose(self, page: Page, data: bytes | str, name: str = "people.csv") -> None:
        """Choose a file on the page for it."""
        content = data.encode() if isinstance(data, str) else data
        file: Any = {"name": name, "mimeType": EXCEL, "buffer": content}
        page.get_by_label("File with users").set_input_files(files=[file])

    def expect_counts(self, page: Page, **counts: int) -> None:
        """Expect the numbers of the summary, by their names."""
        for name, number in counts.items():
            text = re.compile(f"^{name.replace('_', ' ')}$")
            term = page.get_by_role("term").filter(has_text=text)
            expect(term.locator("xpath=following-sibling::dd[1]")).to_have_text(str(number))

    def fits(self, page: Page, name: str) -> None:
        """Assert that the page fits, on a desktop and on a phone."""
        self.page = page
        for size, suffix in [(DESKTOP, ""), (PHONE, "-phone")]:
            page.set_viewport_size(size)
            self.assert_fits(f"import-{name}{suffix}")
        page.set_viewport_size(DESKTOP)


class ImportPageTests(ImportTestCase):
    """Everybody may import while access is open."""

    def story(self, page: Page) -> None:
        """Import 200 colleagues with a column of one's own choice, and undo it."""
        self.upload(page, colleagues(), "colleagues.xlsx")

        heading = page.get_by_role("heading", name="Check the import of colleagues.xlsx")
        expect(heading).to_be_visible()
        # Nothing tells which of the columns is the address.
        expect(page.get_by_role("alert")).to_contain_text("columns for username and email")
        expect(page.get_by_role("button", name="Start the import")).to_have_count(0)
        self.fits(page, "unknown-column")
        page.get_by_label("Work contact").select_option("Email address")
        page.get_by_role("button", name="Update the preview").click()

        self.expect_counts(page, To_create=198, To_change=0, Unchanged=0, Would_fail=2)
        expect(page.get_by_text("“nobody” was refused")).to_be_visible()
        expect(page.get_by_label("Work contact")).to_have_value("email")
        expect(page.get_by_label("Department")).to_have_value("")
        self.fits(page, "preview")
        page.get_by_role("button", name="Start the import").click()

        expect(page.get_by_text("The import is done.")).to_be_visible()
        self.expect_counts(page, Created=198, Changed=0, Unchanged=0, Failed=2)
        self.assertEqual([each.suffix for each in self.uploads.iterdir()], [".failed"])
        self.fits(page, "result")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the failed rows").click()
        lines = download.value.path().read_text("utf-8-sig").splitlines()
        self.assertEqual(lines[0], "error,Full name,Private mail,Work contact,Department")
        self.assertIn("nobody", lines[1])
        self.assertEqual(len(lines), 3)

        self.rename("Person 003", "Renamed")
        page.get_by_role("link", name="Undo the import").click()
        expect(page.get_by_text("198 users whom it has created will be removed.")).to_be_visible()
        self.fits(page, "undo")
        page.get_by_role("button", name="Undo the import").click()

        expect(page.get_by_text("197 users were removed")).to_be_visible()
        left = page.get_by_role("listitem").filter(has_text="was changed since")
        expect(left).to_have_count(1)
        self.fits(page, "undone")
        left.get_by_role("link", name="Renamed").click()
        expect(page.get_by_role("heading", name="Renamed")).to_be_visible()
        page.goto(f"{self.url}/import")
        expect(page.get_by_role("listitem").filter(has_text="colleagues.xlsx")).to_contain_text(
            "Undone"
        )
        self.fits(page, "list")

    def rename(self, name: str, new_name: str) -> None:
        """Change a user by the API, as somebody else would."""
        users = self.page.request.get(f"{self.url}/users", params={"q": name}).json()["data"]
        [user] = users["users"]
        answer = self.page.request.patch(
            f"{self.url}/users/{user['id']}", data={"username": new_name}
        )
        self.assertTrue(answer.ok, answer.text())

    def test_person_imports_200_colleagues_and_undoes_it(self) -> None:
        self.story(self.page)

        self.assertEqual(self.complaints, [])

    def test_person_imports_without_scripts(self) -> None:
        self.story(self.open(DESKTOP, scripts=False))

    def test_large_import_shows_its_progress_by_itself(self) -> None:
        for scripts in (True, False):
            with self.subTest(scripts=scripts):
                page = self.open(DESKTOP, scripts=scripts)
                rows = "".join(f"u{n},u{n}-{scripts}@example.com\n" for n in range(40_000))
                self.upload(page, f"username,email\n{rows}", "many.csv")
                expect(page.get_by_text("Of the first 10,000 rows")).to_be_visible()

                page.get_by_role("button", name="Start the import").click()

                expect(page.get_by_role("progressbar")).to_be_visible()
                self.picture(page, f"import-progress-{scripts}")
                expect(page.get_by_text("The import is done.")).to_be_visible(timeout=60_000)
                expect(page.get_by_role("definition").first).to_have_text("40,000")

    def test_file_can_be_dropped(self) -> None:
        self.page.goto(f"{self.url}/import")
        expect(self.page.get_by_text("Or drop it here.")).to_be_visible()
        data = self.page.evaluate_handle(
            "() => { const data = new DataTransfer();"
            " data.items.add(new File(['username,email\\nAda,ada@example.com\\n'], 'dropped.csv'));"
            " return data; }"
        )

        self.page.locator(".drop-zone").dispatch_event("drop", {"dataTransfer": data})
        self.page.get_by_role("button", name="Upload and preview").click()

        expect(
            self.page.get_by_role("heading", name="Check the import of dropped.csv")
        ).to_be_visible()

    def test_file_that_is_too_large_is_told_before_it_is_sent(self) -> None:
        self.page.goto(f"{self.url}/import")
        zone = self.page.locator(".drop-zone")
        zone.evaluate("zone => { zone.dataset.maxBytes = '10'; }")

        file: Any = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"username,email\n"}
        self.page.get_by_label("File with users").set_input_files(files=[file])

        expect(self.page.get_by_text("The file is larger than 100 MB.")).to_be_visible()

    def test_pages_fit_a_narrow_phone(self) -> None:
        page = self.open({"width": 320, "height": 640})
        self.upload(page, f"username,email,{'long' * 40}\nAda,ada@example.com,{'x' * 300}\n")
        expect(page.get_by_role("heading", name="Check the import")).to_be_visible()
        self.page = page

        self.assert_fits("import-narrow")


class ProtectedImportTests(ImportTestCase):
    """Editors and administrators may import; others may not."""

    environment = {"ACCESS": "protected"}

    def setUp(self) -> None:
        super().setUp()
        manage(
            "create_admin", "--username", "Boss", "--email", "boss@example.com", "--password-stdin",
            input=PASSWORD, DATABASE_URL=self.database,
        )  # fmt: skip

    def make(self, role: str) -> str:
        """Make an account with a role; return its address."""
        email = f"{role}@example.com"
        person = {"username": role.title(), "email": email, "password": PASSWORD}
        boss = {"email": "boss@example.com", "password": PASSWORD}
        api = self.page.request
        token = api.post(f"{self.url}/auth/login", data=boss).json()["auth_token"]
        headers = {"Authorization": f"Bearer {token}"}
        made = api.post(f"{self.url}/users", data=person, headers=headers)
        self.assertTrue(made.ok, made.text())
        path = f"{self.url}/users/{made.json()['data']['id']}"
        changed = api.patch(path, data={"active": True, "role": role}, headers=headers)
        self.assertTrue(changed.ok, changed.text())
        return email

    def test_viewer_is_told_that_it_is_not_allowed(self) -> None:
        email = self.make("viewer")
        self.page.goto(f"{self.url}/import")
        self.sign_in(email, PASSWORD)

        expect(self.page.get_by_role("heading", name="Not allowed")).to_be_visible()
        expect(self.page.get_by_label("File with users")).to_have_count(0)

    def test_editor_imports_and_stays_named(self) -> None:
        email = self.make("editor")
        self.page.goto(f"{self.url}/import")
        self.sign_in(email, PASSWORD)
        self.upload(self.page, "username,email,role\nAda,ada@example.com,viewer\n")

        expect(self.page.get_by_label("role")).to_have_value("")
        self.page.get_by_role("button", name="Start the import").click()

        expect(self.page.get_by_text("The import is done.")).to_be_visible()
        self.page.goto(f"{self.url}/import")
        expect(self.page.get_by_role("listitem").filter(has_text="people.csv")).to_contain_text(
            "Editor"
        )

    def test_upload_after_the_sign_in_has_ended_leads_back_to_the_form(self) -> None:
        self.page.goto(f"{self.url}/import")
        self.sign_in("boss@example.com", PASSWORD)
        for data in ["username,email\nAda,ada@example.com\n", "username,email\n" * 500_000]:
            self.choose(self.page, data)
            self.page.context.clear_cookies(name="session")

            self.page.get_by_role("button", name="Upload and preview").click()

            expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()
            self.sign_in("boss@example.com", PASSWORD)
            expect(self.page.get_by_label("File with users")).to_be_visible()

    def test_import_whose_person_signs_out_stops_and_says_so(self) -> None:
        self.page.goto(f"{self.url}/import")
        self.sign_in("boss@example.com", PASSWORD)
        rows = "".join(f"u{n},u{n}@example.com\n" for n in range(60_000))
        self.upload(self.page, f"username,email\n{rows}", "many.csv")
        self.page.get_by_role("button", name="Start the import").click()
        expect(self.page.get_by_role("progressbar")).to_be_visible()
        address = self.page.url

        self.page.get_by_role("button", name="Sign out").click()
        self.sign_in("boss@example.com", PASSWORD)
        time.sleep(1)
        self.page.goto(address)

        expect(self.page.get_by_text("You have signed out meanwhile")).to_be_visible()
        self.page.get_by_role("button", name="Continue the import").click()
        expect(self.page.get_by_text("The import is done.")).to_be_visible(timeout=60_000)
        expect(self.page.get_by_role("definition").first).to_have_text("60,000")

"""The first hour of somebody who has never seen the service, with the browser alone."""

import re
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import expect
from python_calamine import CalamineWorkbook

from e2e.processes import GUNICORN, served
from e2e.test_import_pages import EXCEL
from e2e.test_page import PASSWORD, BrowserTestCase
from project.tests.transfer.test_forms import xlsx

GRACE = ("Grace Hopper", "grace@example.com")
HERS = "another fine and long one"


def colleagues() -> bytes:
    """Return an Excel file of 200 colleagues."""
    people = [("Name", "Email", "Active"), (*GRACE, "yes")]
    people += [(f"Colleague {n:03}", f"colleague{n}@example.com", "yes") for n in range(199)]
    header, *rows = [list[str | float | bool](person) for person in people]
    return xlsx(header, *rows)


class StoryTests(BrowserTestCase):
    """A protected service that has just been started, on an empty database."""

    environment = {"ACCESS": "protected"}

    def serve(self, environment: dict[str, str]) -> AbstractContextManager[str]:
        folder = self.enterContext(TemporaryDirectory())
        self.log = Path(folder, "log")
        return served(GUNICORN, self.log, **environment, UPLOADS_DIR=folder)

    def test_directory_is_set_up_filled_and_run(self) -> None:
        self.create_the_first_administrator()
        self.import_200_colleagues()
        self.find_one_and_make_her_an_editor()
        self.hand_her_a_link()
        self.see_in_the_history_that_she_signed_in()
        self.deactivate_three_at_once()
        self.export_the_rest()
        self.assertEqual(self.complaints, [])

    def create_the_first_administrator(self) -> None:
        page = self.page
        expect(page.get_by_role("heading", name="Create the first administrator")).to_be_visible()
        [code] = set(re.findall(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}", self.log.read_text()))
        page.get_by_label("Code from the log").fill(code)
        page.get_by_label("Username").fill("Ada Lovelace")
        page.get_by_label("Email address").fill("ada@example.com")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create administrator").click()
        expect(page.get_by_role("heading", name="All Users")).to_be_visible()

    def import_200_colleagues(self) -> None:
        page = self.page
        page.get_by_role("link", name="Import").click()
        file: Any = {"name": "colleagues.xlsx", "mimeType": EXCEL, "buffer": colleagues()}
        page.get_by_label("File with users").set_input_files(files=[file])
        page.get_by_role("button", name="Upload and preview").click()
        expect(page.get_by_label("Email", exact=True)).to_have_value("email")
        to_create = page.get_by_role("term").filter(has_text="To create")
        expect(to_create.locator("xpath=following-sibling::dd[1]")).to_have_text("200")
        page.get_by_role("button", name="Start the import").click()
        expect(page.get_by_text("The import is done.")).to_be_visible()

    def find_one_and_make_her_an_editor(self) -> None:
        page = self.page
        page.get_by_role("link", name="Users", exact=True).click()
        expect(page.locator("#count")).to_have_text(re.compile("201"))
        page.get_by_role("searchbox").fill("hopper")
        expect(page.get_by_role("listitem").filter(has_text=GRACE[1])).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="Colleague")).to_have_count(0)
        page.get_by_role("link", name=GRACE[0]).click()
        page.get_by_label("Role").select_option("Editor")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("was changed")

    def hand_her_a_link(self) -> None:
        page = self.page
        self.her_page = page.url
        page.get_by_role("button", name="Make a sign-in link").click()
        link = page.get_by_label("One-time link").input_value()
        hers = self.browser.new_context().new_page()
        self.addCleanup(hers.context.close)
        hers.goto(link)
        hers.get_by_label("New password").fill(HERS)
        hers.get_by_role("button", name="Set password and sign in").click()
        expect(hers.get_by_role("heading", name="All Users")).to_be_visible()
        expect(hers.get_by_role("button", name="Submit")).to_be_visible()  # as editors may

    def see_in_the_history_that_she_signed_in(self) -> None:
        page = self.page
        page.goto(self.her_page)
        history = page.get_by_role("region", name="History")
        expect(history.get_by_text("Grace Hopper signed in")).to_be_visible()
        expect(history.get_by_text(re.compile("Ada Lovelace changed the role"))).to_be_visible()

    def deactivate_three_at_once(self) -> None:
        page = self.page
        page.get_by_role("banner").get_by_role("link", name="Users", exact=True).click()
        for number in (0, 1, 2):
            box = page.get_by_role("checkbox", name=f"Select Colleague {198 - number:03}")
            box.check()
        page.get_by_role("button", name="Deactivate", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("3")
        page.get_by_role("button", name="Deactivate", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("3")

    def export_the_rest(self) -> None:
        page = self.page
        page.get_by_role("link", name="Active", exact=True).click()
        expect(page.locator("#count")).to_have_text(re.compile("198"))
        page.get_by_role("link", name="Export these users").click()
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download").click()
        book = CalamineWorkbook.from_path(str(waiting.value.path()))
        _header, *rows = book.get_sheet_by_name("Users").to_python()
        self.assertEqual(len(rows), 198)
        names = {row[1] for row in rows}
        self.assertIn(GRACE[0], names)
        self.assertNotIn("Colleague 198", names)

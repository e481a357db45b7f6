"""The page on which the API can be tried out, in a real Chromium and under its policy."""

import unittest
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

from e2e.processes import GUNICORN, find_chromium, served, test_database
from e2e.test_page import DESKTOP, QUIET


class DocsTests(unittest.TestCase):
    """Swagger UI at /docs."""

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        self.url = self.enterContext(served(GUNICORN, DATABASE_URL=database))
        playwright = self.enterContext(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        self.addCleanup(browser.close)
        self.page = browser.new_page(viewport=DESKTOP)
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{self.url}/docs")

    def test_every_operation_is_shown_and_one_is_tried_out(self) -> None:
        expect(self.page.get_by_role("heading", name="users-service")).to_be_visible()
        paths = self.page.request.get(f"{self.url}/openapi.json").json()["paths"]
        operations = sum(map(len, paths.values()))
        self.assertGreater(operations, 15)
        expect(self.page.locator(".opblock")).to_have_count(operations)

        operation = self.page.locator("#operations-users-create_user")
        operation.click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()

        answer = operation.locator(".live-responses-table")
        expect(answer).to_contain_text("201")
        expect(answer).to_contain_text("ada@example.com was added!")

    def test_list_is_tried_out_without_filling_in_anything(self) -> None:
        operation = self.page.locator("#operations-users-list_users")
        operation.click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()

        expect(operation.locator(".request-url pre")).to_have_text(f"{self.url}/users")
        expect(operation.locator(".live-responses-table")).to_contain_text('"next": null')

    def test_page_asks_no_other_host_and_has_nothing_to_complain_of(self) -> None:
        self.page.locator("#operations-users-list_users").click()
        expect(self.page.get_by_role("button", name="Try it out")).to_be_visible()
        self.page.wait_for_load_state("networkidle")

        asked = {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}
        self.assertEqual(asked, {urlsplit(self.url).netloc})
        self.assertEqual(self.complaints, [])

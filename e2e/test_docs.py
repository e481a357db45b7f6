"""The page on which the API can be tried out, in a real Chromium and under its policy."""

import unittest
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect, sync_playwright

from e2e.processes import GUNICORN, find_chromium, served, test_database
from e2e.test_page import DESKTOP, QUIET

KEY = "usk_a-key-of-this-test"


class DocsTests(unittest.TestCase):
    """Swagger UI at /docs."""

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        self.url = self.enterContext(served(GUNICORN, DATABASE_URL=database))
        playwright = self.enterContext(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        self.addCleanup(browser.close)
        self.page = browser.new_context(viewport=DESKTOP).new_page()
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

    def test_key_outlives_a_reload_and_goes_with_the_tab(self) -> None:
        address = f"{self.url}/docs#/users/list_users"
        self.page.goto(address)
        self.page.get_by_role("button", name="Authorize").click()
        self.page.get_by_label("auth-bearer-value").fill(KEY)
        self.page.get_by_role("button", name="Apply credentials").click()

        self.page.reload()

        self.assertEqual(self.sent_key(self.page), f"Bearer {KEY}")
        other = self.page.context.new_page()
        other.goto(address)
        self.assertIsNone(self.sent_key(other))
        self.page.get_by_role("button", name="Authorize").click()
        self.page.get_by_role("button", name="Remove authorization").click()
        self.page.reload()
        self.assertIsNone(self.sent_key(self.page))

    def sent_key(self, page: Page) -> str | None:
        """Send a request from the page; return its ``Authorization`` header."""
        page.get_by_role("button", name="Try it out").click()
        with page.expect_request(f"{self.url}/users") as sent:
            page.get_by_role("button", name="Execute").click()
        return sent.value.headers.get("authorization")

    def test_page_fits_a_phone(self) -> None:
        self.page.set_viewport_size({"width": 390, "height": 844})
        for name in ["users-create_user", "users-list_users", "transfer-import_users"]:
            operation = self.page.locator(f"#operations-{name}")
            operation.click()
            operation.get_by_role("button", name="Try it out").click()
        self.page.locator("#operations-users-list_users button.execute").click()
        expect(self.page.locator(".live-responses-table")).to_be_visible()

        width = self.page.evaluate("document.documentElement.scrollWidth")

        self.assertEqual(width, 390)

    def test_page_asks_no_other_host_and_has_nothing_to_complain_of(self) -> None:
        for name in ["users-list_users", "scim-scim_create_group"]:  # whose example has a `$ref`
            operation = self.page.locator(f"#operations-{name}")
            operation.click()
            expect(operation.get_by_role("button", name="Try it out")).to_be_visible()
        self.page.wait_for_load_state("networkidle")

        expect(self.page.locator(".errors-wrapper")).to_have_count(0)
        asked = {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}
        self.assertEqual(asked, {urlsplit(self.url).netloc})
        self.assertEqual(self.complaints, [])

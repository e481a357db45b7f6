"""The bar, the languages and the themes as a person uses them, in a real Chromium."""

import re

from playwright.sync_api import Page, expect

from e2e.test_page import DESKTOP, PASSWORD, PHONE, BrowserTestCase, ProtectedTestCase


class BarTests(BrowserTestCase):
    """While access is open."""

    def choose(self, page: Page, name: str) -> None:
        """Choose a language or a theme in the menu."""
        page.locator("header summary").click()
        page.get_by_role("button", name=name, exact=True).click()

    def test_person_chooses_a_language_and_stays_on_the_page(self) -> None:
        for scripts in (True, False):
            with self.subTest(scripts=scripts):
                page = self.open(DESKTOP, scripts=scripts)
                page.goto(f"{self.url}/?q=ada")
                self.choose(page, "简体中文")

                expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
                expect(page.get_by_role("heading", name="所有用户")).to_be_visible()
                expect(page.get_by_role("searchbox")).to_have_value("ada")
                page.goto(f"{self.url}/docs")
                expect(page.get_by_role("link", name="用户", exact=True)).to_be_visible()
                self.choose(page, "English")
                expect(page.locator("html")).to_have_attribute("lang", "en")
                expect(page).to_have_url(re.compile("/docs$"))

    def test_browser_chooses_the_language_at_first(self) -> None:
        context = self.browser.new_context(locale="zh-TW")
        self.addCleanup(context.close)
        page = context.new_page()
        page.goto(self.url)

        expect(page.get_by_text("没有用户！")).to_be_visible()

    def test_theme_follows_the_system_until_the_person_chooses(self) -> None:
        html = self.page.locator("html")
        expect(html).to_have_attribute("data-bs-theme", "light")
        self.page.emulate_media(color_scheme="dark")
        expect(html).to_have_attribute("data-bs-theme", "dark")
        self.page.reload()
        expect(html).to_have_attribute("data-bs-theme", "dark")

        self.choose(self.page, "Light")
        expect(html).to_have_attribute("data-bs-theme", "light")
        self.choose(self.page, "Dark")
        self.page.emulate_media(color_scheme="light")
        expect(html).to_have_attribute("data-bs-theme", "dark")
        self.choose(self.page, "Auto")
        expect(html).to_have_attribute("data-bs-theme", "light")
        self.assertEqual(self.complaints, [])

    def test_menu_closes_by_escape_and_elsewhere(self) -> None:
        menu, first = self.page.locator("details.menu"), self.page.get_by_role("button")
        for leave in (
            lambda: self.page.keyboard.press("Escape"),
            lambda: self.page.get_by_role("heading", name="All Users").click(),
        ):
            menu.locator("summary").click()
            expect(first.get_by_text("English")).to_be_visible()
            leave()
            expect(first.get_by_text("English")).to_be_hidden()
        menu.locator("summary").click()
        self.page.keyboard.press("Escape")
        expect(menu.locator("summary")).to_be_focused()

    def test_keyboard_skips_the_bar(self) -> None:
        self.page.keyboard.press("Tab")
        skip = self.page.get_by_role("link", name="Skip to content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Tab")

        expect(self.page.get_by_label("Username")).to_be_focused()

    def test_without_a_network_the_entries_stay(self) -> None:
        self.page.get_by_label("Username").fill("Ada")
        self.page.get_by_label("Email address").fill("ada@example.com")
        self.page.context.set_offline(True)
        self.page.get_by_role("button", name="Submit").click()

        expect(self.page.get_by_role("alert")).to_contain_text("There is no network.")
        expect(self.page.get_by_label("Username")).to_have_value("Ada")
        self.page.context.set_offline(False)
        expect(self.page.get_by_role("alert")).to_have_count(0)
        self.page.get_by_role("button", name="Submit").click()
        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was added!")

    def test_open_access_is_said_and_the_sign_in_offered(self) -> None:
        for size in (DESKTOP, PHONE):
            page = self.open(size)
            expect(page.get_by_text("Anybody may change this")).to_be_visible()
            page.get_by_role("link", name="Sign in").click()
            expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
            page.get_by_role("link", name="User directory").click()
            expect(page.get_by_role("heading", name="All Users")).to_be_visible()


class ProtectedBarTests(ProtectedTestCase):
    """While access is protected."""

    def test_forbidden_leads_to_another_account(self) -> None:
        self.make("Vera", "vera@example.com", "viewer")
        self.sign_in("vera@example.com", PASSWORD)
        self.page.goto(f"{self.url}/remove/1")
        expect(self.page.get_by_role("heading", name="Not allowed")).to_be_visible()
        expect(self.page.get_by_text("You are signed in as Vera.")).to_be_visible()

        self.page.get_by_role("link", name="Sign in with another account").click()
        self.sign_in("boss@example.com", PASSWORD)

        expect(self.page.get_by_role("heading", name="Remove Boss?")).to_be_visible()

    def test_throttled_sign_in_says_when_to_come_back(self) -> None:
        wrong = {"email": "boss@example.com", "password": "wrong"}
        wait = 0
        while wait < 8:  # until the next attempt, which a slow machine may take long for
            answer = self.page.request.post(f"{self.url}/auth/login", data=wrong)
            wait = int(answer.headers.get("retry-after", 0))
        self.sign_in(**wrong)
        password = self.page.get_by_label("Password")
        expect(password).to_have_accessible_description(
            re.compile(r"^Too many attempts to sign in\. You can try again in \d+ seconds?\.$")
        )

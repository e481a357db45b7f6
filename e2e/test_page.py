"""The page as a person uses it, in a real Chromium.

With PAGE_PICTURES=FOLDER, pictures of the page are written there.
"""

import os
import unittest
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from e2e.processes import GUNICORN, find_chromium, manage, served, test_database

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--no-first-run"]
DESKTOP: ViewportSize = {"width": 1280, "height": 720}
PHONE: ViewportSize = {"width": 375, "height": 667}
PASSWORD = "grey otters paddle home at dusk"
PEOPLE = [
    ("Ada Lovelace", "ada@example.com"),
    ("Bjarne Ødegård", "bjarne@example.com"),
    ("Chidi Okafor", "chidi@example.com"),
    ("דוד לוי", "david@example.com"),
    ("Wolfe" + "schlegelsteinhausenbergerdorff" * 4, "wolfe@example.com"),
    ("Inés Costa", "ines@example.com"),
]


class BrowserTestCase(unittest.TestCase):
    """The page on a new database, in a browser with nothing stored."""

    environment: dict[str, str] = {}
    browser: Browser

    @classmethod
    def setUpClass(cls) -> None:
        playwright = cls.enterClassContext(sync_playwright())
        cls.browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self) -> None:
        self.database = self.enterContext(test_database())
        environment = {"DATABASE_URL": self.database, **self.environment}
        self.url = self.enterContext(self.serve(environment))
        self.page = self.open(DESKTOP)

    def serve(self, environment: dict[str, str]) -> AbstractContextManager[str]:
        """Serve the application; give the address of its page."""
        return served(GUNICORN, **environment)

    def open(self, size: ViewportSize, *, scripts: bool = True) -> Page:
        """Open the page in a window of this size; note whom it asks and what it complains of."""
        context = self.browser.new_context(
            viewport=size, java_script_enabled=scripts, ignore_https_errors=True
        )
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.url)
        return page

    def add(self, username: str, email: str) -> None:
        """Fill in the form and send it."""
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Email address").fill(email)
        self.page.get_by_role("button", name="Submit").click()

    def sign_in(self, email: str, password: str) -> None:
        """Fill in the form to sign in, and send it."""
        self.page.get_by_label("Email address").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def picture(self, page: Page, name: str) -> None:
        """Write a picture of the page, where pictures are wanted."""
        if folder := os.environ.get("PAGE_PICTURES"):
            page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)

    def assert_fits(self, name: str) -> None:
        """Assert that nothing sticks out to the side, and take the picture."""
        self.page.wait_for_load_state()  # without its style sheets, a page is wider
        self.picture(self.page, name)
        sizes = "[document.documentElement.scrollWidth, window.innerWidth]"
        width, available = self.page.evaluate(sizes)
        self.assertLessEqual(width, available)


class PageTests(BrowserTestCase):
    """What everybody may do while access is open."""

    def test_person_adds_a_user(self) -> None:
        expect(self.page).to_have_title("Flask microservice app on Docker")
        expect(self.page.get_by_role("heading", name="All Users")).to_be_visible()
        expect(self.page.get_by_text("No users!")).to_be_visible()

        self.add("Ada Lovelace", "ada@example.com")

        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was added!")
        expect(self.page.get_by_role("listitem")).to_have_count(1)
        expect(self.page.get_by_role("listitem").get_by_text("Ada Lovelace")).to_be_visible()
        expect(self.page.get_by_text("No users!")).to_have_count(0)
        expect(self.page.get_by_label("Username")).to_have_value("")

    def test_person_reloads_without_a_second_submit(self) -> None:
        self.add("Ada", "ada@example.com")
        expect(self.page.get_by_role("status")).to_be_visible()

        self.page.reload()

        expect(self.page.get_by_role("listitem")).to_have_count(1)
        expect(self.page.get_by_role("status")).to_have_count(0)
        expect(self.page.get_by_text("already exists")).to_have_count(0)

    def test_person_sees_beside_the_field_that_the_email_is_taken(self) -> None:
        self.add("Ada", "ada@example.com")
        expect(self.page.get_by_role("status")).to_be_visible()

        self.add("Another Ada", "ADA@example.com")

        email = self.page.get_by_label("Email address")
        expect(email).to_have_accessible_description("Sorry. That email already exists.")
        expect(self.page.get_by_text("Sorry. That email already exists.")).to_be_visible()
        expect(email).to_have_value("ADA@example.com")
        expect(email).to_be_focused()
        expect(self.page.get_by_label("Username")).to_have_value("Another Ada")
        expect(self.page.get_by_role("listitem")).to_have_count(1)

    def test_name_with_markup_is_shown_as_text(self) -> None:
        name = "<img src=x onerror=alert(1)><b>Ada</b>"
        self.page.on("dialog", lambda dialog: self.fail(dialog.message))

        self.add(name, "ada@example.com")

        expect(self.page.get_by_role("listitem").locator("strong")).to_have_text(name)
        expect(self.page.locator("main img, main b")).to_have_count(0)

    def test_address_beyond_ascii_is_kept_as_typed(self) -> None:
        self.add("Büşra", "büşra@bücher.example")

        expect(self.page.get_by_role("status")).to_have_text("büşra@bücher.example was added!")

    def test_empty_field_is_not_sent(self) -> None:
        self.add("", "ada@example.com")

        expect(self.page.get_by_label("Username")).to_be_focused()
        expect(self.page.get_by_role("status")).to_have_count(0)
        self.assertEqual(self.page.locator("input:invalid").count(), 1)

    def test_keyboard_is_enough(self) -> None:
        keyboard = self.page.keyboard
        keyboard.press("Tab")
        keyboard.press("Enter")  # skips the bar
        for key in ["Tab", "Ada", "Tab", "ada@example.com", "Tab"]:
            keyboard.press(key) if key == "Tab" else keyboard.type(key)
        expect(self.page.get_by_role("button", name="Submit")).to_be_focused()
        keyboard.press("Enter")

        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was added!")

    def test_page_asks_no_other_host_and_has_nothing_to_complain_of(self) -> None:
        self.add("Ada", "ada@example.com")
        expect(self.page.get_by_role("status")).to_be_visible()
        self.page.wait_for_load_state("networkidle")

        hosts = {urlsplit(url).netloc for url in self.asked}
        self.assertEqual(hosts, {urlsplit(self.url).netloc})
        self.assertTrue(any("/bootstrap.min.css?v=" in url for url in self.asked))
        self.assertEqual(self.complaints, [])

    def test_person_leafs_through_older_users_and_back(self) -> None:
        for number in range(51):
            self.page.request.post(
                f"{self.url}/users",
                data={"username": f"user{number}", "email": f"user{number}@example.com"},
            )
        self.page.reload()
        expect(self.page.get_by_role("listitem")).to_have_count(50)

        self.page.get_by_role("link", name="Older users").click()
        expect(self.page.get_by_role("listitem")).to_have_count(1)
        expect(self.page.get_by_text("user0", exact=True)).to_be_visible()
        expect(self.page.get_by_role("link", name="Older users")).to_have_count(0)

        self.page.get_by_role("link", name="Newer users").click()
        expect(self.page.get_by_text("user50", exact=True)).to_be_visible()
        expect(self.page.get_by_role("listitem")).to_have_count(50)
        expect(self.page.get_by_role("link", name="Newer users")).to_have_count(0)

    def test_person_finds_a_user_edits_and_removes_it(self) -> None:
        for username, email in PEOPLE[:3]:
            self.add(username, email)
            expect(self.page.get_by_role("status")).to_be_visible()

        self.page.get_by_role("searchbox", name="Find users").fill("BJ")
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("listitem")).to_have_count(1)
        expect(self.page.get_by_text("bjarne@example.com")).to_be_visible()

        self.page.get_by_role("link", name="Bjarne").click()
        self.page.get_by_label("Username").fill("Bjarne Ø.")
        self.page.get_by_label("May sign in").check()
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("status")).to_have_text("bjarne@example.com was changed!")
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Bjarne Ø.")
        self.page.get_by_role("main").get_by_role("link", name="Users").click()
        expect(self.page.get_by_role("listitem").locator("strong")).to_have_text("Bjarne Ø.")
        expect(self.page.get_by_role("searchbox")).to_have_value("BJ")
        self.page.get_by_role("link", name="Bjarne").click()

        for choice in ["Cancel", "Remove"]:
            self.page.get_by_role("link", name="Remove").click()
            expect(self.page.get_by_role("heading")).to_have_text("Remove Bjarne Ø.?")
            if choice == "Cancel":
                self.page.get_by_role("link", name=choice).click()
        self.page.get_by_role("button", name="Remove").click()
        expect(self.page.get_by_role("status")).to_have_text("bjarne@example.com was removed!")
        expect(self.page.get_by_text("No users found")).to_be_visible()

        self.page.get_by_role("link", name="Show all").click()
        expect(self.page.get_by_role("listitem")).to_have_count(2)

    def test_form_sent_twice_adds_one_user(self) -> None:
        self.page.get_by_label("Username").fill("Ada")
        self.page.get_by_label("Email address").fill("ada@example.com")

        self.page.get_by_role("button", name="Submit").dblclick()

        expect(self.page.get_by_role("status").first).to_have_text("ada@example.com was added!")
        expect(self.page.get_by_text("already exists")).to_have_count(0)
        expect(self.page.get_by_role("listitem")).to_have_count(1)

    def test_unknown_path_is_a_page_that_leads_back(self) -> None:
        self.page.goto(f"{self.url}/nowhere")
        self.picture(self.page, "not-found")

        self.page.get_by_role("link", name="Back to all users").click()

        expect(self.page.get_by_role("heading", name="All Users")).to_be_visible()

    def test_page_fits_a_desktop_in_every_state(self) -> None:
        self.walk_through_states("desktop", DESKTOP)

    def test_page_fits_a_phone_in_every_state(self) -> None:
        self.walk_through_states("phone", PHONE)

    def walk_through_states(self, name: str, size: ViewportSize) -> None:
        """Go through the page empty, with users, with an error, and through the other pages."""
        self.page = self.open(size)
        self.assert_fits(f"{name}-empty")
        for username, email in PEOPLE:
            self.add(username, email)
            expect(self.page.get_by_role("status")).to_have_text(f"{email} was added!")
        self.assert_fits(f"{name}-users")
        self.add("Somebody else", "ada@example.com")
        expect(self.page.get_by_text("already exists")).to_be_visible()
        self.assert_fits(f"{name}-error")
        for path in ["/?q=a", "/?q=wolfe", "/?q=nobody", "/user/5", "/remove/5"]:
            self.page.goto(self.url + path)
            self.assert_fits(name + path.translate(str.maketrans("/?=", "---")))


class ProtectedTestCase(BrowserTestCase):
    """The page while access is protected, with an administrator."""

    environment = {"ACCESS": "protected"}

    def setUp(self) -> None:
        super().setUp()
        self.make("Boss", "boss@example.com", "admin")
        self.page.goto(self.url)  # it was the page for the first administrator

    def make(self, username: str, email: str, role: str | None) -> None:
        """Make a user with a password and a role."""
        if role == "admin":
            manage(
                "create_admin", "--username", username, "--email", email, "--password-stdin",
                input=PASSWORD, DATABASE_URL=self.database,
            )  # fmt: skip
            return
        self.api("POST", "/users", {"username": username, "email": email, "password": PASSWORD})
        self.api("PATCH", "/users/2", {"active": True, "role": role})

    def api(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Call the API as the administrator."""
        boss = {"email": "boss@example.com", "password": PASSWORD}
        token = self.page.request.post(f"{self.url}/auth/login", data=boss).json()["auth_token"]
        response = self.page.request.fetch(
            self.url + path,
            method=method,
            data=body,
            headers={"Authorization": f"Bearer {token}"},
        )
        self.assertTrue(response.ok, response.text())


class SignInTests(ProtectedTestCase):
    """What people may do once they have signed in."""

    def test_person_signs_in_adds_a_user_and_signs_out(self) -> None:
        self.page.goto(f"{self.url}/?q=bo")
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()
        self.assert_fits("sign-in")

        self.sign_in("boss@example.com", "wrong")
        password = self.page.get_by_label("Password")
        expect(password).to_have_accessible_description("Email or password is wrong.")
        expect(password).to_have_value("")
        self.sign_in("boss@example.com", PASSWORD)

        expect(self.page.get_by_role("searchbox")).to_have_value("bo")
        expect(self.page.get_by_role("link", name="Boss", exact=True)).to_be_visible()
        self.page.get_by_label("Username").fill("Ada")
        self.page.get_by_label("Email address").fill("ada@example.com")
        self.page.get_by_role("button", name="Submit").click()
        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was added!")
        self.assert_fits("signed-in")

        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_role("status")).to_have_text("You have signed out.")
        self.page.goto(self.url)
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_viewer_sees_users_and_no_way_to_change_them(self) -> None:
        self.make("Vera", "vera@example.com", "viewer")
        self.page.goto(self.url)

        self.sign_in("vera@example.com", PASSWORD)

        expect(self.page.get_by_role("listitem")).to_have_count(2)
        expect(self.page.get_by_role("button", name="Submit")).to_have_count(0)
        self.page.get_by_role("checkbox", name="Select Vera").check()
        expect(self.page.get_by_role("button", name="Export")).to_be_visible()
        expect(self.page.get_by_role("button", name="Remove")).to_have_count(0)
        self.page.goto(f"{self.url}/remove/1")
        expect(self.page.get_by_text("You do not have permission to do that.")).to_be_visible()

    def test_entries_are_there_after_a_sign_in_that_ended_meanwhile(self) -> None:
        self.make("Edda", "edda@example.com", "editor")
        self.api("POST", "/users", {"username": "Ada", "email": "ada@example.com"})
        self.page = self.open(DESKTOP, scripts=False)
        self.sign_in("edda@example.com", PASSWORD)
        self.page.get_by_role("searchbox").fill("ada")
        self.page.keyboard.press("Enter")
        self.page.get_by_role("link", name="Ada - ").click()
        self.page.get_by_label("Username").fill("Ada “Countess” Lovelace")
        self.page.get_by_label("May sign in").check()
        for active in [False, True]:  # this ends her sign-ins
            self.api("PATCH", "/users/2", {"active": active})

        self.page.get_by_role("button", name="Save").click()

        expect(self.page.get_by_role("alert")).to_contain_text("Your sign-in has ended")
        self.picture(self.page, "sign-in-again")
        self.page.set_viewport_size(PHONE)
        self.picture(self.page, "sign-in-again-phone")
        self.sign_in("edda@example.com", "wrong")
        expect(self.page.get_by_text("Email or password is wrong.")).to_be_visible()
        self.sign_in("edda@example.com", PASSWORD)
        expect(self.page.get_by_role("heading", name="Ada", exact=True)).to_be_visible()
        expect(self.page.get_by_role("alert")).to_contain_text("Nothing has been changed yet.")
        expect(self.page.get_by_label("Username")).to_have_value("Ada “Countess” Lovelace")
        expect(self.page.get_by_label("May sign in")).to_be_checked()
        self.picture(self.page, "entries-again-phone")
        self.page.set_viewport_size(DESKTOP)
        self.picture(self.page, "entries-again")
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was changed!")
        self.page.get_by_role("main").get_by_role("link", name="Users").click()
        expect(self.page.get_by_role("searchbox")).to_have_value("ada")
        expect(self.page.get_by_role("listitem").locator("strong")).to_have_text(
            "Ada “Countess” Lovelace"
        )

    def test_ordinary_user_changes_their_own_account(self) -> None:
        self.make("Otto", "otto@example.com", None)
        self.page = self.open(PHONE)

        self.sign_in("otto@example.com", PASSWORD)
        expect(self.page.get_by_role("heading", name="Your account")).to_be_visible()
        self.assert_fits("account")
        self.page.get_by_label("Username").fill("Otto O.")
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("status")).to_have_text("Your account was changed.")
        self.page.get_by_label("Email address").fill("otto.o@example.com")
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_text("Is required for this change.")).to_be_visible()
        self.assert_fits("account without the password")
        self.page.get_by_label("Current password, for a new email").fill(PASSWORD)
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("status")).to_have_text("Your account was changed.")
        self.page.get_by_label("Current password", exact=True).fill(PASSWORD)
        self.page.get_by_label("New password").fill("short")
        self.page.get_by_role("button", name="Change password").click()
        expect(self.page.get_by_text("Must have at least 15 characters")).to_be_visible()

"""One's own account and the sign-in page, as people use them, in a real Chromium."""

import re

from playwright.sync_api import expect

from e2e.test_page import DESKTOP, PASSWORD, PHONE
from e2e.test_user_pages import PeopleTestCase

NEW_PASSWORD = "another fine and long one"


class AccountTests(PeopleTestCase):
    """/account."""

    def test_each_role_sees_what_it_may_give_to_a_key(self) -> None:
        for name, scopes in [
            ("otto", []),
            ("vera", ["users:read", "groups:read"]),
            ("edda", ["users:read", "users:write", "groups:read", "groups:write"]),
            ("boss", ["users:read", "users:write", "groups:read", "groups:write", "admin"]),
        ]:
            with self.subTest(name):
                self.page = self.browser_of(name)
                for size in [DESKTOP, PHONE]:
                    self.page.set_viewport_size(size)
                    self.assert_fits(f"account-{name}-{size['width']}")
                expect(self.page.get_by_role("checkbox")).to_have_count(len(scopes))
                for scope in scopes:
                    label = re.compile(f"^{scope}")
                    expect(self.page.get_by_role("checkbox", name=label)).to_be_visible()

    def test_key_is_made_copied_used_and_revoked(self) -> None:
        self.page = page = self.browser_of("edda")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_label("Name of the key").fill("nightly import")
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_text("Choose at least one.")).to_be_visible()
        expect(page.get_by_label("Name of the key")).to_have_value("nightly import")

        page.get_by_label("users:read").check()
        page.get_by_label("Valid for").select_option("30 days")
        page.get_by_role("button", name="Make the key").click()

        field = page.get_by_label("Your new API key, nightly import")
        expect(field).to_be_focused()
        self.assert_fits("account-key")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        key = page.evaluate("navigator.clipboard.readText()")
        self.assertEqual(key, field.input_value())
        self.assertEqual(self.status(page, key), 200)
        page.goto(f"{self.url}/account")
        self.assertNotIn(key, page.content())
        expect(page.get_by_role("region", name="API keys")).to_contain_text("last used on")

        page.get_by_role("link", name="Revoke nightly import").click()
        page.get_by_role("link", name="Cancel").click()
        self.assertEqual(self.status(page, key), 200)
        page.get_by_role("link", name="Revoke nightly import").click()
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("status")).to_have_text("The API key nightly import was revoked.")
        self.assertEqual(self.status(page, key), 401)

    def test_reload_makes_no_second_key(self) -> None:
        page = self.browser_of("edda")
        page.get_by_label("Name of the key").fill("robot")
        page.get_by_label("users:read").check()
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_label("Your new API key, robot")).to_be_visible()

        page.reload()

        expect(page.get_by_role("status")).to_contain_text("It is not shown again.")
        expect(page.get_by_role("link", name="Revoke robot")).to_have_count(1)

    def test_sessions_elsewhere_end_at_once(self) -> None:
        others = [self.browser_of("vera") for _ in range(2)]
        page = self.browser_of("vera")
        sessions = page.get_by_role("region", name="Sessions")
        expect(sessions.get_by_text("This device")).to_have_count(1)
        expect(sessions.get_by_role("listitem")).to_have_count(3)

        sessions.get_by_role("button", name="End Chrome").first.click()
        expect(page.get_by_role("status")).to_have_text("The session has ended.")
        expect(sessions.get_by_role("listitem")).to_have_count(2)
        sessions.get_by_role("button", name="End all others").click()
        expect(page.get_by_role("status")).to_have_text("All other sessions have ended.")

        expect(sessions.get_by_role("listitem")).to_have_count(1)
        expect(sessions.get_by_role("button")).to_have_count(0)
        for other in others:
            other.reload()
            expect(other.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_person_changes_email_and_password_and_sees_what_they_type(self) -> None:
        page = self.browser_of("otto")
        profile = page.get_by_role("region", name="Name and email")
        profile.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("Nothing was changed.")
        profile.get_by_label("Email address").fill("otto.o@example.com")
        profile.get_by_label("Current password, for a new email").fill(PASSWORD)
        profile.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("Your account was changed.")

        part = page.get_by_role("region", name="Password")
        new = part.get_by_label("New password")
        expect(new).to_have_accessible_description(re.compile("At least 15 characters"))
        part.get_by_label("Current password").fill(PASSWORD)
        new.fill("short")
        part.get_by_role("button", name="Show New password").click()
        expect(new).to_have_attribute("type", "text")
        part.get_by_role("button", name="Change password").click()
        expect(new).to_be_focused()
        expect(new).to_have_accessible_description(re.compile("Must have at least 15 characters"))
        expect(new).to_have_attribute("type", "password")
        part.get_by_label("Current password").fill(PASSWORD)
        new.fill(NEW_PASSWORD)
        part.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("status")).to_contain_text("Your password was changed.")

    def test_keyboard_is_enough(self) -> None:
        page = self.browser_of("edda")
        keyboard = page.keyboard
        page.get_by_label("Name of the key").focus()
        keyboard.type("robot")
        for key in ["Tab", "Space", "Tab", "Tab", "Tab", "Enter"]:
            keyboard.press(key)

        field = page.get_by_label("Your new API key, robot")
        expect(field).to_be_focused()
        keyboard.press("Tab")
        expect(page.get_by_role("button", name="Copy")).to_be_focused()
        keyboard.press("Tab")
        keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Revoke robot?")


class SignInPageTests(PeopleTestCase):
    """/sign-in."""

    def test_password_can_be_seen_while_it_is_typed(self) -> None:
        self.page.goto(f"{self.url}/sign-in")
        password = self.page.get_by_label("Password")
        password.fill("secret")

        self.page.get_by_role("button", name="Show Password").click()
        expect(password).to_have_attribute("type", "text")
        self.page.get_by_role("button", name="Hide Password").click()

        expect(password).to_have_attribute("type", "password")
        expect(password).to_have_value("secret")
        self.assert_fits("sign-in-page")

    def test_without_scripts_there_is_no_button_to_show(self) -> None:
        page = self.open(PHONE, scripts=False)
        page.goto(f"{self.url}/sign-in")

        expect(page.get_by_role("main").get_by_role("button")).to_have_count(1)

    def test_throttled_person_reads_when_to_come_back(self) -> None:
        self.page.goto(f"{self.url}/sign-in")
        for _ in range(9):
            self.sign_in("vera@example.com", "wrong")
            expect(self.page.get_by_label("Password")).to_have_value("")
            if self.page.get_by_text("Too many attempts").count():
                break

        message = re.compile(r"Too many attempts to sign in\. You can try again in \d+ \w+\.")
        expect(self.page.get_by_label("Password")).to_have_accessible_description(message)
        self.assert_fits("sign-in-throttled")

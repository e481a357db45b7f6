"""A user's page as people use it, in a real Chromium."""

from typing import Any

from playwright.sync_api import Page, expect

from e2e.processes import manage
from e2e.test_page import DESKTOP, PASSWORD, PHONE, BrowserTestCase


class PeopleTestCase(BrowserTestCase):
    """Protected access, with an administrator, an editor, a viewer and an ordinary user."""

    environment = {"ACCESS": "protected"}

    def setUp(self) -> None:
        super().setUp()
        manage(
            "create_admin", "--username", "Boss", "--email", "boss@example.com",
            "--password-stdin", input=PASSWORD, DATABASE_URL=self.database,
        )  # fmt: skip
        boss = {"email": "boss@example.com", "password": PASSWORD}
        self.token = self.page.request.post(f"{self.url}/auth/login", data=boss).json()[
            "auth_token"
        ]
        for name, role in [("Edda", "editor"), ("Vera", "viewer"), ("Otto", None)]:
            email = f"{name.lower()}@example.com"
            person = {"username": name, "email": email, "password": PASSWORD, "active": True}
            self.api("POST", "/users", {**person, "role": role})

    def api(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Call the API as the administrator."""
        response = self.page.request.fetch(
            self.url + path,
            method=method,
            data=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        self.assertTrue(response.ok, response.text())
        return response.json()

    def status(self, page: Page, key: str) -> int:
        """Return the status of a request with an API key."""
        headers = {"Authorization": f"Bearer {key}"}
        return page.request.get(f"{self.url}/users", headers=headers).status

    def browser_of(self, name: str, path: str = "/account", scripts: bool = True) -> Page:
        """Return a page of a new browser in which a person is signed in."""
        page = self.open(DESKTOP, scripts=scripts)
        page.goto(self.url + path)
        page.get_by_label("Email address").fill(f"{name}@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(self.url + path)
        return page


class UserPageTests(PeopleTestCase):
    """/user/<id>, by each role."""

    def test_administrator_changes_a_user_and_sees_it_in_the_history(self) -> None:
        self.page = page = self.browser_of("boss", "/user/2")
        self.assert_fits("user")

        page.get_by_label("Username").fill("Edda Lindqvist")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("edda@example.com was changed!")
        expect(page.get_by_role("heading", level=1)).to_have_text("Edda Lindqvist")
        page.get_by_label("Role").select_option("Viewer")
        page.get_by_role("button", name="Save").click()

        history = page.get_by_role("region", name="History").get_by_role("listitem")
        expect(history.nth(0)).to_contain_text(
            "Boss changed the role of Edda Lindqvist from editor to viewer"
        )
        expect(history.nth(1)).to_contain_text("from “Edda” to “Edda Lindqvist”")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("Nothing was changed.")
        expect(history).to_have_count(3)
        history.nth(0).get_by_role("link", name="Boss").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Boss")

    def test_history_is_read_page_by_page(self) -> None:
        for number in range(25):
            self.api("PATCH", "/users/3", {"username": f"Vera {number}"})
        page = self.browser_of("boss", "/user/3")
        history = page.get_by_role("region", name="History")

        expect(history.get_by_role("listitem")).to_have_count(20)
        history.get_by_role("link", name="Older").click()
        expect(history.get_by_role("listitem")).to_have_count(6)
        expect(history).to_contain_text("Boss added")
        history.get_by_role("link", name="Newest").click()
        expect(history).to_contain_text("“Vera 24”")

    def test_two_who_edit_at_once_choose_field_by_field(self) -> None:
        self.page = page = self.browser_of("boss", "/user/2", scripts=False)
        page.get_by_label("Username").fill("Edda L.")
        page.get_by_label("Role").select_option("Administrator")
        self.api("PATCH", "/users/2", {"username": "Edda Lind", "email": "lind@example.com"})

        page.get_by_role("button", name="Save").click()

        expect(page.get_by_role("alert")).to_contain_text("changed by somebody else")
        self.assert_fits("user-conflict")
        self.page.set_viewport_size(PHONE)
        self.assert_fits("user-conflict-phone")
        name = page.get_by_role("group", name="Username")
        email = page.get_by_role("group", name="Email address")
        role = page.get_by_role("group", name="Role")
        expect(name.get_by_role("radio", checked=True)).to_have_count(0)
        expect(email.get_by_label("Current: lind@example.com")).to_be_checked()
        expect(role.get_by_label("Yours: Administrator")).to_be_checked()
        page.get_by_role("button", name="Save").click()  # the name is not chosen yet
        expect(page.get_by_role("alert")).to_be_visible()
        name.get_by_label("Yours: Edda L.").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("lind@example.com was changed!")
        expect(page.get_by_role("heading", level=1)).to_have_text("Edda L.")
        expect(page.get_by_label("Role")).to_have_value("admin")

    def test_session_that_an_administrator_ends_is_out_at_once(self) -> None:
        edda = self.browser_of("edda")
        page = self.browser_of("boss", "/user/2")
        access = page.get_by_role("region", name="Access")
        expect(access).to_contain_text("Chrome on Linux")
        expect(access).to_contain_text("127.0.0.1")

        access.get_by_role("button", name="End Chrome on Linux").click()

        expect(page.get_by_role("status")).to_have_text("The session has ended.")
        expect(access).to_contain_text("Not signed in anywhere.")
        edda.reload()
        expect(edda.get_by_role("heading", name="Sign in")).to_be_visible()
        history = page.get_by_role("region", name="History").get_by_role("listitem")
        expect(history.nth(0)).to_contain_text("Boss ended a session of Edda")

    def test_user_who_may_no_longer_sign_in_is_out_at_once(self) -> None:
        edda = self.browser_of("edda")
        page = self.browser_of("boss", "/user/2")

        page.get_by_role("switch", name="May sign in").uncheck()
        page.get_by_role("button", name="Save").click()

        expect(page.get_by_text("Inactive", exact=True)).to_be_visible()
        edda.reload()
        expect(edda.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_administrator_revokes_a_key_of_somebody_else(self) -> None:
        edda = self.browser_of("edda")
        edda.get_by_label("Name of the key").fill("robot")
        edda.get_by_label("users:read").check()
        edda.get_by_role("button", name="Make the key").click()
        key = edda.get_by_label("Your new API key").input_value()
        self.assertEqual(self.status(edda, key), 200)
        page = self.browser_of("boss", "/user/2")

        page.get_by_role("link", name="Revoke robot").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Revoke robot?")
        page.get_by_role("button", name="Revoke").click()

        expect(page.get_by_role("status")).to_have_text("The API key robot was revoked.")
        expect(page.get_by_role("region", name="Access")).to_contain_text("No API keys.")
        self.assertEqual(self.status(edda, key), 401)

    def test_last_administrator_is_led_to_another_user(self) -> None:
        self.page = page = self.browser_of("boss", "/user/1")
        page.get_by_label("Role").select_option("Viewer")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("The last administrator cannot be")
        self.assert_fits("user-last-administrator")

        page.get_by_role("link", name="choose a user").click()

        expect(page.get_by_role("heading", name="All Users")).to_be_visible()

    def test_viewer_reads_and_editor_changes_no_administrator(self) -> None:
        self.page = vera = self.browser_of("vera", "/user/2")
        expect(vera.get_by_role("definition").get_by_text("edda@example.com")).to_be_visible()
        expect(vera.get_by_role("main").get_by_role("textbox")).to_have_count(0)
        expect(vera.get_by_role("main").get_by_role("button")).to_have_count(0)
        expect(vera.get_by_role("region", name="History")).to_have_count(0)
        self.assert_fits("user-viewer")
        vera.goto(f"{self.url}/user/3")
        vera.get_by_role("link", name="Change your name, email or password").click()
        expect(vera.get_by_role("heading", name="Your account")).to_be_visible()

        edda = self.browser_of("edda", "/user/1")
        expect(edda.get_by_text("Only administrators may change")).to_be_visible()
        expect(edda.get_by_role("main").get_by_role("textbox")).to_have_count(0)
        edda.goto(f"{self.url}/user/3")
        expect(edda.get_by_label("Role")).to_have_count(0)
        edda.get_by_label("Username").fill("Vera V.")
        edda.get_by_role("button", name="Save").click()
        expect(edda.get_by_role("heading", level=1)).to_have_text("Vera V.")

    def test_ordinary_user_is_led_to_their_account(self) -> None:
        otto = self.browser_of("otto")

        otto.goto(f"{self.url}/user/4")
        expect(otto.get_by_role("heading", name="Your account")).to_be_visible()
        otto.goto(f"{self.url}/user/2")
        expect(otto.get_by_text("You do not have permission to do that.")).to_be_visible()

    def test_keyboard_is_enough(self) -> None:
        page = self.browser_of("boss", "/user/2")
        page.get_by_label("Username").focus()
        keyboard = page.keyboard
        keyboard.press("Control+A")
        keyboard.type("Edda L.")
        keyboard.press("Tab")  # the email
        keyboard.press("Tab")
        expect(page.get_by_label("Role")).to_be_focused()
        keyboard.press("V")
        keyboard.press("Tab")
        expect(page.get_by_role("switch", name="May sign in")).to_be_focused()
        keyboard.press("Space")
        keyboard.press("Tab")
        expect(page.get_by_role("button", name="Save")).to_be_focused()
        keyboard.press("Enter")

        expect(page.get_by_role("status")).to_have_text("edda@example.com was changed!")
        expect(page.get_by_role("heading", level=1)).to_have_text("Edda L.")
        expect(page.get_by_label("Role")).to_have_value("viewer")
        expect(page.get_by_role("switch", name="May sign in")).not_to_be_checked()


class OpenUserPageTests(BrowserTestCase):
    """/user/<id> while access is open."""

    def test_anybody_changes_a_user_but_no_role(self) -> None:
        self.add("Ada", "ada@example.com")
        self.page.goto(f"{self.url}/edit/1")
        expect(self.page).to_have_url(f"{self.url}/user/1")
        expect(self.page.get_by_label("Role")).to_have_count(0)
        expect(self.page.get_by_role("region", name="History")).to_have_count(0)

        self.page.get_by_label("Username").fill("Ada Lovelace")
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")
        self.page.get_by_label("Email address").fill("ada")
        self.page.get_by_role("button", name="Save").click()

        email = self.page.get_by_label("Email address")
        expect(email).to_be_focused()
        expect(email).to_have_value("ada")
        self.assert_fits("user-error")
        self.assertEqual([text for text in self.complaints if "400" not in text], [])

"""The list of users as a person uses it, and changing several at once, in a real Chromium."""

import re
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import Locator, Page, Route, ViewportSize, expect

from e2e.processes import manage
from e2e.test_page import DESKTOP, PASSWORD, PHONE, BrowserTestCase

NARROW: ViewportSize = {"width": 320, "height": 640}
PEOPLE = [
    ("Ada Lovelace", "ada@example.com", "true", "editor"),
    ("Ada Lovelace", "lovelace@example.com", "false", ""),
    ("Bjarne Ødegård", "bjarne@example.com", "true", "viewer"),
    ("Chidi Okafor", "chidi@example.com", "false", ""),
    ("דוד לוי", "david@example.com", "true", ""),
]


class ListTestCase(BrowserTestCase):
    """Has helpers to add users and to read the list."""

    def add_people(self, *others: tuple[str, str, str, str]) -> None:
        """Import people, of whom the last is the newest."""
        lines = [",".join(person) for person in (*PEOPLE, *others)]
        response = self.page.request.post(
            f"{self.url}/users/import",
            data="\n".join(["username,email,active,role", *lines]),
            headers={"Content-Type": "text/csv"},
        )
        self.assertTrue(response.ok, response.text())
        engine = sa.create_engine(self.database)
        with engine.begin() as connection:  # only administrators give roles
            for _name, email, _active, role in PEOPLE:
                connection.execute(
                    sa.text("UPDATE users SET role = :role WHERE email = :email"),
                    {"role": role or None, "email": email},
                )
        engine.dispose()

    def add_many(self, number: int) -> None:
        """Import made-up people."""
        self.add_people(
            *((f"Many {each}", f"many{each}@example.com", "true", "") for each in range(number))
        )

    def rows(self, page: Page | None = None) -> Locator:
        """Return the rows of the list."""
        return (page or self.page).get_by_role("main").get_by_role("listitem")

    def expect_names(self, *names: str) -> None:
        """Wait until the list shows these users, from top to bottom."""
        expect(self.rows().locator("strong")).to_have_text([*names])

    def expect_count(self, text: str) -> None:
        """Wait until this stands beside the heading."""
        expect(self.page.locator("#count")).to_have_text(re.compile(rf"^\s*{text}\s*$"))


class ListTests(ListTestCase):
    """What everybody may do while access is open."""

    def test_what_was_typed_before_the_script_came_is_searched_for(self) -> None:
        self.add_people()
        waiting: list[Route] = []
        self.page.route("**/list*.js*", lambda route: waiting.append(route))
        self.page.goto(self.url, wait_until="commit")
        self.page.get_by_role("searchbox", name="Find users").fill("LOVE")

        self.page.wait_for_timeout(100)
        for route in waiting:
            route.continue_()

        self.expect_names("Ada Lovelace", "Ada Lovelace")
        self.assertEqual(len(waiting), 1)

    def test_search_shows_what_is_found_while_one_types(self) -> None:
        self.add_people()
        self.page.goto(self.url)
        self.page.evaluate("window.isSamePage = true")
        search = self.page.get_by_role("searchbox", name="Find users")

        search.press_sequentially("LOVE", delay=30)

        self.expect_names("Ada Lovelace", "Ada Lovelace")
        self.expect_count("2 users")
        expect(search).to_be_focused()
        self.assertEqual(self.page.url, f"{self.url}/?q=LOVE")
        self.assertTrue(self.page.evaluate("window.isSamePage"))
        lists = [url for url in self.asked if "?q=" in url]
        self.assertEqual(len(lists), 1)

        self.page.get_by_role("link", name="Inactive").click()
        self.expect_names("Ada Lovelace")
        expect(self.page.get_by_role("link", name="Inactive")).to_have_attribute(
            "aria-current", "true"
        )
        search.fill("bjarne")
        expect(self.page.get_by_text("No users found")).to_be_visible()
        self.assertEqual(self.page.url, f"{self.url}/?q=bjarne&active=false")
        self.page.reload()
        expect(self.page.get_by_text("No users found")).to_be_visible()
        expect(search).to_have_value("bjarne")
        self.picture(self.page, "search-without-hits")
        self.page.get_by_role("link", name="Show all").click()
        expect(self.rows()).to_have_count(5)
        self.assertEqual(self.complaints, [])

    def test_filters_and_orders_are_in_the_address(self) -> None:
        self.add_people()
        self.page.goto(self.url)
        self.expect_count("5 users")
        for link, path, names in [
            ("Active", "/?active=true", ["דוד לוי", "Bjarne Ødegård", "Ada Lovelace"]),
            ("No role", "/?role=none&active=true", ["דוד לוי"]),
            ("Active", "/?role=none", ["דוד לוי", "Chidi Okafor", "Ada Lovelace"]),
            ("Name", "/?role=none&sort=username", ["Ada Lovelace", "Chidi Okafor", "דוד לוי"]),
            ("Email", "/?role=none&sort=email", ["Chidi Okafor", "דוד לוי", "Ada Lovelace"]),
            ("Newest", "/?role=none", ["דוד לוי", "Chidi Okafor", "Ada Lovelace"]),
            ("Editor", "/?role=editor", ["Ada Lovelace"]),
        ]:
            self.page.get_by_role("link", name=link, exact=True).click()
            self.expect_names(*names)
            self.assertEqual(self.page.url, self.url + path)

        other = self.open(DESKTOP, scripts=False)
        other.goto(f"{self.url}/?role=none&sort=username")
        expect(self.rows(other).locator("strong")).to_have_text(
            ["Ada Lovelace", "Chidi Okafor", "דוד לוי"]
        )
        expect(other.get_by_role("link", name="Name", exact=True)).to_have_attribute(
            "aria-current", "true"
        )

    def test_keys_lead_to_the_search_and_through_the_pages(self) -> None:
        self.add_many(60)
        self.page.goto(self.url)
        self.expect_count("65 users")
        keyboard, search = self.page.keyboard, self.page.get_by_role("searchbox")

        for key, count in [("ArrowRight", 15), ("ArrowLeft", 50)]:
            keyboard.press(key)
            expect(self.rows()).to_have_count(count)
            self.page.wait_for_load_state()  # a page is there before its scripts are
        keyboard.press("/")
        expect(search).to_be_focused()
        keyboard.type("a/")
        keyboard.press("ArrowLeft")
        keyboard.press("ArrowRight")
        expect(search).to_have_value("a/")

    def test_both_ends_of_the_list_lead_on(self) -> None:
        self.add_many(60)
        self.page.goto(self.url)
        self.picture(self.page, "list")
        for place, older, newer in [
            ("above", "Older", "Newer"),
            ("", "Older users", "Newer users"),
        ]:
            name = "Pages above the list" if place else "Pages"
            pages = self.page.get_by_role("navigation", name=name, exact=True)
            pages.get_by_role("link", name=older).click()
            expect(self.rows()).to_have_count(15)
            pages.get_by_role("link", name=newer).click()
            expect(self.rows()).to_have_count(50)

    def test_two_of_one_name_can_be_told_apart(self) -> None:
        self.add_people()
        self.page.goto(f"{self.url}/?q=lovelace")

        for email in ("ada@example.com", "lovelace@example.com"):
            name = f"Select Ada Lovelace, {email}"
            expect(self.page.get_by_role("checkbox", name=name)).to_have_count(1)
            link = self.page.get_by_role("link", name=re.compile(f"Ada Lovelace.*{email}"))
            expect(link).to_have_count(1)
        link.click()
        expect(self.page.get_by_role("textbox", name="Email address")).to_have_value(email)

    def test_rows_are_chosen_one_by_one_as_a_range_and_all(self) -> None:
        self.add_people()
        self.page.goto(self.url)
        boxes = self.page.get_by_role("main").get_by_role("checkbox", name="Select ")
        everybody = self.page.get_by_role("checkbox", name="All on this page")
        toolbar = self.page.get_by_role("group", name="Those chosen")
        expect(boxes).to_have_count(5)
        expect(toolbar).to_be_hidden()

        boxes.nth(1).check()
        expect(toolbar.get_by_text("1 chosen")).to_be_visible()
        boxes.nth(3).click(modifiers=["Shift"])
        expect(toolbar.get_by_text("3 chosen")).to_be_visible()
        expect(boxes.nth(2)).to_be_checked()
        expect(everybody).to_have_js_property("indeterminate", True)
        everybody.check()
        expect(toolbar.get_by_text("5 chosen")).to_be_visible()
        self.picture(self.page, "chosen")
        everybody.uncheck()
        expect(toolbar).to_be_hidden()
        self.page.get_by_role("searchbox").fill("ada")
        expect(boxes).to_have_count(2)
        boxes.first.focus()
        self.page.keyboard.press("Space")
        expect(toolbar.get_by_text("1 chosen")).to_be_visible()

    def choose(self, *emails: str) -> None:
        """Choose users on the list."""
        for email in emails:
            self.page.get_by_role("checkbox", name=f", {email}").check()

    def test_three_are_deactivated_by_a_double_click(self) -> None:
        self.add_people()
        self.page.goto(f"{self.url}/?sort=username")
        self.choose("ada@example.com", "bjarne@example.com", "chidi@example.com")

        self.page.get_by_role("button", name="Deactivate").click()
        expect(self.page.get_by_role("heading", name="Deactivate 2 users?")).to_be_visible()
        expect(self.page.get_by_text("1 user needs no change.")).to_be_visible()
        expect(self.rows().locator("strong")).to_have_text(["Ada Lovelace", "Bjarne Ødegård"])
        self.picture(self.page, "deactivate")
        self.page.get_by_role("button", name="Deactivate").dblclick()

        expect(self.page.get_by_role("status").first).to_have_text("2 users were deactivated.")
        self.assertEqual(self.page.url, f"{self.url}/?sort=username")
        expect(self.rows().get_by_text("Inactive", exact=True)).to_have_count(4)

    def test_cancel_changes_nothing(self) -> None:
        self.add_people()
        self.page.goto(f"{self.url}/?q=ada")
        self.choose("ada@example.com")
        self.page.get_by_role("button", name="Remove").click()

        self.page.get_by_role("link", name="Cancel").click()

        expect(self.rows()).to_have_count(2)
        self.assertEqual(self.page.url, f"{self.url}/?q=ada")

    def test_all_that_the_filter_finds_are_removed_without_scripts(self) -> None:
        self.add_many(60)
        self.page = self.open(DESKTOP, scripts=False)
        self.page.get_by_role("searchbox").fill("many")
        self.page.get_by_role("searchbox").press("Enter")
        self.expect_count("60 users")
        self.choose("many1@example.com")
        self.page.get_by_label("All 60 that this filter finds").check()

        self.page.get_by_role("button", name="Remove").click()
        expect(self.page.get_by_text("and 40 more")).to_be_visible()
        number = self.page.get_by_label("Type 60 to confirm")
        number.fill("6")
        self.page.get_by_role("button", name="Remove").click()
        expect(number).to_have_accessible_description("Is not the number of users to be removed.")
        expect(number).to_be_focused()
        self.picture(self.page, "remove-all")
        number.fill("60")
        self.page.get_by_role("button", name="Remove").click()

        expect(self.page.get_by_role("status")).to_have_text("60 users were removed.")
        self.page.get_by_role("link", name="Show all").click()
        expect(self.rows()).to_have_count(5)

    def test_name_field_has_the_focus_after_adding(self) -> None:
        for size in (DESKTOP, PHONE):
            self.page = self.open(size)
            if size is PHONE:
                self.page.get_by_text("Add a user").click()
            self.add("Ada", f"ada{size['width']}@example.com")
            expect(self.page.get_by_role("status")).to_be_visible()
            expect(self.page.get_by_label("Username")).to_be_focused()

    def test_list_is_on_the_first_screen_of_a_phone(self) -> None:
        self.add_people()
        for scripts in (True, False):
            self.page = self.open(PHONE, scripts=scripts)
            expect(self.page.get_by_label("Username")).to_be_hidden()
            expect(self.rows().nth(1)).to_be_in_viewport(ratio=1)
            self.page.get_by_text("Add a user").click()
            expect(self.page.get_by_label("Username")).to_be_visible()
        self.page = self.open(DESKTOP, scripts=False)
        expect(self.page.get_by_label("Username")).to_be_visible()
        expect(self.page.get_by_text("Add a user")).to_be_hidden()

    def test_pages_fit_a_narrow_screen(self) -> None:
        self.add_many(60)
        self.page = self.open(NARROW)
        self.assert_fits("narrow-list")
        self.page.get_by_role("checkbox", name="All on this page").check()
        self.assert_fits("narrow-chosen")
        self.page.get_by_role("button", name="Remove").click()
        self.assert_fits("narrow-remove")


class ProtectedListTests(ListTestCase):
    """What the roles may do."""

    environment = {"ACCESS": "protected"}

    def setUp(self) -> None:
        super().setUp()
        manage(
            *("create_admin", "--username", "Boss", "--email", "boss@example.com"),
            "--password-stdin",
            input=PASSWORD,
            DATABASE_URL=self.database,
        )

    def make(self, email: str, **values: Any) -> None:
        """Add a user by the API, as the administrator."""
        boss = {"email": "boss@example.com", "password": PASSWORD}
        token = self.page.request.post(f"{self.url}/auth/login", data=boss).json()["auth_token"]
        response = self.page.request.post(
            f"{self.url}/users",
            data={"username": email.partition("@")[0].title(), "email": email, **values},
            headers={"Authorization": f"Bearer {token}"},
        )
        self.assertTrue(response.ok, response.text())

    def test_administrator_sets_the_role_of_several(self) -> None:
        self.make("ada@example.com")
        self.page.goto(f"{self.url}/?role=none")
        self.sign_in("boss@example.com", PASSWORD)
        self.page.get_by_role("link", name="All", exact=True).click()
        self.page.get_by_role("checkbox", name="All on this page").check()

        self.page.get_by_label("New role").select_option("Editor")
        self.page.get_by_role("button", name="Set role").click()

        heading = "Set the role of 1 user to “Editor”?"
        expect(self.page.get_by_role("heading", name=heading)).to_be_visible()
        expect(self.page.get_by_text("1 user is left out:")).to_be_visible()
        expect(self.page.get_by_text("Your own account is not changed")).to_be_visible()
        self.picture(self.page, "set-role")
        self.page.get_by_role("button", name="Set role").click()
        expect(self.page.get_by_role("status")).to_have_text(
            "The role of 1 user was set to “Editor”."
        )
        expect(self.rows().first.get_by_text("Editor", exact=True)).to_be_visible()

    def test_viewer_chooses_for_the_export_only(self) -> None:
        self.make("vera@example.com", role="viewer", active=True, password=PASSWORD)
        self.page.goto(self.url)
        self.sign_in("vera@example.com", PASSWORD)

        self.page.get_by_role("checkbox", name="boss@example.com").check()

        toolbar = self.page.get_by_role("group", name="Those chosen")
        expect(toolbar.get_by_role("button")).to_have_text(["Export"])
        with self.page.expect_request(re.compile(r"/export\?ids=1$")):
            toolbar.get_by_role("button", name="Export").click()

    def test_search_after_the_sign_in_has_ended_leads_to_signing_in(self) -> None:
        self.page.goto(self.url)
        self.sign_in("boss@example.com", PASSWORD)
        expect(self.rows()).to_have_count(1)
        self.page.context.clear_cookies()

        self.page.get_by_role("searchbox").fill("bo")

        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()
        self.sign_in("boss@example.com", PASSWORD)
        expect(self.page.get_by_role("searchbox")).to_have_value("bo")

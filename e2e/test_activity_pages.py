"""The page with the audit trail, in a real Chromium."""

import csv
import unittest
from pathlib import Path

from playwright.sync_api import expect

from e2e.processes import manage
from e2e.test_page import PASSWORD, PEOPLE, BrowserTestCase


class ActivityPageTests(BrowserTestCase):
    """What an administrator, Ada, did with the API, while access is open."""

    def setUp(self) -> None:
        super().setUp()
        (self.admin, email), *others = PEOPLE
        manage(
            *("create_admin", "--username", self.admin, "--email", email, "--password-stdin"),
            input=PASSWORD,
            DATABASE_URL=self.database,
            **self.environment,
        )
        answer = self.page.request.post(
            f"{self.url}/auth/login", data={"email": email, "password": PASSWORD}
        )
        self.headers = {"Authorization": f"Bearer {answer.json()['auth_token']}"}
        for username, email in others:
            self.send("POST", "/users", username=username, email=email)
        self.send("PATCH", "/users/2", email="b.odegard@example.com")
        self.send("PATCH", "/users/3", active=True, role="viewer", password=PASSWORD)
        self.send("DELETE", "/users/6")

    def send(self, method: str, path: str, **body: object) -> None:
        """Call the API as the administrator."""
        response = self.page.request.fetch(
            f"{self.url}{path}", method=method, data=body, headers=self.headers
        )
        self.assertTrue(response.ok, response.text())

    def open_as(self, email: str, path: str = "/activity") -> None:
        """Open an address, and sign in on the way."""
        self.page.context.clear_cookies()
        self.page.goto(f"{self.url}/sign-in")
        self.sign_in(email, PASSWORD)
        expect(self.page.get_by_label("Password")).to_have_count(0)
        self.page.goto(f"{self.url}{path}")

    def test_administrator_reads_what_was_done_in_words(self) -> None:
        self.open_as(PEOPLE[0][1])

        expect(self.page.get_by_role("heading", name="Activity")).to_be_visible()
        events = self.page.get_by_role("main").get_by_role("listitem")
        for sentence in [
            f"{self.admin} changed the email of Bjarne Ødegård from bjarne@example.com to"
            " b.odegard@example.com",
            f"{self.admin} removed Inés Costa, whose email was ines@example.com",
            f"{self.admin} added Chidi Okafor with the email chidi@example.com",
            f"The command create_admin added {self.admin} with the email ada@example.com as"
            " administrator",
        ]:
            expect(events.filter(has_text=sentence)).to_have_count(1)
        self.assert_fits("activity")
        self.page.set_viewport_size({"width": 390, "height": 844})
        self.assert_fits("activity-phone")
        self.page.set_viewport_size({"width": 320, "height": 600})
        self.assert_fits("activity-320")
        self.assertEqual(self.complaints, [])

    def test_administrator_finds_what_was_done_to_a_person(self) -> None:
        self.open_as(PEOPLE[0][1])
        self.page.get_by_label("Person").fill("bjarne")
        self.page.get_by_label("Person").press("Enter")

        events = self.page.get_by_role("main").get_by_role("listitem")
        expect(events).to_have_count(2)
        self.assertRegex(self.page.url, r"/activity\?user=2$")
        self.page.get_by_label("Kind").select_option("User changed")
        self.page.get_by_role("button", name="Find").click()
        expect(events).to_have_count(1)
        self.assert_fits("activity-filtered")

        self.page.get_by_role("link", name="Remove the filter: Bjarne Ødegård").click()
        expect(events).to_have_count(2)
        self.page.get_by_role("link", name="Show all").click()
        self.page.get_by_role("link", name="Chidi Okafor").first.click()
        expect(self.page.get_by_role("heading", name="Chidi Okafor")).to_be_visible()
        self.assertRegex(self.page.url, r"/user/\d+$")
        self.page.go_back()

        self.page.get_by_label("To", exact=True).fill("2020-01-01")
        self.page.get_by_role("button", name="Find").click()
        expect(self.page.get_by_text("No events were found.")).to_be_visible()

    def test_administrator_chooses_between_people_of_one_name(self) -> None:
        self.send("POST", "/users", username="Bjarne Li", email="li@example.com")
        self.open_as(PEOPLE[0][1], "/activity?user=bjarne")

        expect(self.page.get_by_text("Several people match.")).to_be_visible()
        self.assert_fits("activity-choice")
        self.page.get_by_role("link", name="Bjarne Li").click()
        expect(self.page.get_by_role("main").get_by_text("added Bjarne Li")).to_be_visible()

        self.page.goto(f"{self.url}/activity?actor=nobody")
        expect(self.page.get_by_label("Done by")).to_have_accessible_description(
            "Nobody with this name or email address was found."
        )
        expect(self.page.get_by_label("Done by")).to_be_focused()

    def test_administrator_leafs_through_and_downloads_all(self) -> None:
        for number in range(50):
            self.send("PATCH", "/users/4", username=f"David {number}")
        self.open_as(PEOPLE[0][1], "/activity?user=4")
        events = self.page.get_by_role("main").get_by_role("listitem")
        expect(events).to_have_count(50)

        self.page.get_by_role("link", name="Older events").click()
        expect(events).to_have_count(1)
        expect(self.page.get_by_role("link", name="Older events")).to_have_count(0)
        with self.page.expect_download() as waiting:
            self.page.get_by_role("link", name="Download as CSV").click()
        self.assertRegex(waiting.value.suggested_filename, r"^activity-\d{4}-\d\d-\d\d\.csv$")
        text = Path(waiting.value.path()).read_text("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        self.assertEqual(len(rows), 51)
        self.assertEqual(
            rows[0]["event"], f"{self.admin} renamed David 49 from “David 48” to “David 49”"
        )

        self.page.get_by_role("link", name="Newer events").click()
        expect(events).to_have_count(50)
        expect(self.page.get_by_role("link", name="Newer events")).to_have_count(0)
        self.page.get_by_role("link", name="Older events").click()
        self.page.get_by_role("link", name="Newest events").click()
        expect(events).to_have_count(50)

    def test_viewer_does_not_see_it(self) -> None:
        self.open_as("chidi@example.com")

        expect(self.page.get_by_role("heading", name="Not allowed")).to_be_visible()


class ProtectedActivityPageTests(ActivityPageTests):
    """The same while access is protected."""

    environment = {"ACCESS": "protected"}

    def test_person_who_has_not_signed_in_is_led_there_and_back(self) -> None:
        self.page.goto(f"{self.url}/activity?user=2")
        self.sign_in(PEOPLE[0][1], PASSWORD)

        expect(self.page.get_by_role("main").get_by_role("listitem")).to_have_count(2)


if __name__ == "__main__":
    unittest.main()

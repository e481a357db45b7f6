"""Groups in a browser: with and without scripts."""

from playwright.sync_api import expect

from e2e.test_user_pages import PeopleTestCase


class GroupPageTests(PeopleTestCase):
    """From an empty list to a group that is gone again."""

    def test_editor_keeps_a_group(self) -> None:
        for scripts in (True, False):
            with self.subTest(scripts=scripts):
                page = self.browser_of("edda", "/", scripts)
                page.get_by_role("link", name="Groups").click()
                expect(page.get_by_text("No groups yet.")).to_be_visible()

                page.get_by_label("Name of the group").fill("Research")
                page.get_by_role("button", name="Add").click()
                expect(page.get_by_role("status")).to_have_text("Research was added!")
                members = page.get_by_role("region", name="Members")
                for person in ("vera", "edda@example.com"):
                    members.get_by_label("Add a member").fill(person)
                    members.get_by_role("button", name="Add").click()
                    expect(page.get_by_role("status")).to_contain_text("was added to the group")
                expect(members.get_by_role("listitem")).to_have_count(2)
                members.get_by_role("button", name="Remove edda").click()
                expect(members.get_by_role("listitem")).to_have_count(1)

                members.get_by_role("link", name="vera").click()
                groups = page.get_by_role("region", name="Groups")
                groups.get_by_role("link", name="Research").click()
                page.get_by_label("Name of the group").fill("R&D")
                page.get_by_role("button", name="Save").click()
                expect(page.get_by_role("heading", level=1)).to_have_text("R&D")
                page.get_by_role("link", name="Remove").click()
                page.get_by_role("button", name="Remove").click()
                expect(page.get_by_role("status")).to_have_text("R&D was removed!")
                expect(page.get_by_text("No groups yet.")).to_be_visible()

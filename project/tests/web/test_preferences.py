"""The language and the theme that a browser remembers."""

from project import create_app
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user

HOST = "http://localhost"


class PreferencesTest(BaseTestCase):
    """The form in the bar."""

    def choose(self, page: str | None = f"{HOST}/sign-in", **choice: str):
        """Send the form of a page."""
        headers = {"Accept": "text/html"} | ({"Referer": page} if page else {})
        return self.client.post("/preferences", data=choice, headers=headers)

    def test_choice_is_remembered_for_a_year(self):
        response = self.choose(language="zh_Hans")

        self.assertEqual(response.status_code, 303)
        self.assertEqual(response.headers["Location"], "/sign-in")
        cookie = response.headers["Set-Cookie"]
        for part in ["language=zh_Hans;", "Max-Age=31536000", "Path=/", "HttpOnly", "SameSite=Lax"]:
            self.assertIn(part, cookie)
        self.assertNotIn("Secure", cookie)
        self.assertIn('<html lang="zh-Hans"', self.client.get("/sign-in").text)

    def test_theme_is_written_by_the_server(self):
        for theme in ["dark", "light"]:
            self.choose(theme=theme)
            page = self.client.get("/sign-in").text
            self.assertIn(f'<html lang="en" data-bs-theme="{theme}">', page)
            self.assertNotIn("theme.js", page)
        self.choose(theme="auto")
        page = self.client.get("/sign-in").text
        self.assertIn('data-bs-theme="light" data-theme="auto"', page)
        self.assertIn("theme.js", page)

    def test_other_choices_are_ignored(self):
        for choice in [{"language": "klingon"}, {"theme": "<b>"}, {"session": "x"}, {}]:
            response = self.choose(**choice)
            self.assertEqual(response.status_code, 303)
            self.assertNotIn("Set-Cookie", response.headers)
        self.client.set_cookie("theme", "<b>")
        self.assertIn('data-theme="auto"', self.client.get("/sign-in").text)

    def test_form_leads_back_to_its_page_and_nowhere_else(self):
        for page, target in [
            (f"{HOST}/?q=a%20b&cursor=x", "/?q=a%20b&cursor=x"),
            (f"{HOST}/edit/7", "/edit/7"),
            (f"{HOST}//evil.example/", "/"),
            (f"{HOST}/\\evil.example", "/"),
            ("https://evil.example/account", "/"),
            ("nonsense", "/"),
            ("http://[", "/"),
            (None, "/"),
        ]:
            with self.subTest(page):
                response = self.choose(page, theme="dark")
                self.assertEqual(response.headers["Location"], target)

    def test_cookie_over_tls_and_under_a_path(self):
        response = self.client.post(
            "/preferences",
            base_url="https://localhost/directory",
            data={"theme": "dark"},
            headers={"Referer": "https://localhost/directory/docs"},
        )

        self.assertIn("Path=/directory", response.headers["Set-Cookie"])
        self.assertIn("Secure", response.headers["Set-Cookie"])
        self.assertEqual(response.headers["Location"], "/directory/docs")


class ProtectedPreferencesTest(PreferencesTest):
    """Nobody needs to sign in to choose."""

    def create_app(self):
        return create_app(Protected)

    def setUp(self):
        super().setUp()
        make_user(role="admin", active=True, password_hash="x")

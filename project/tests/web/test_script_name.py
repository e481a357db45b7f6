"""The service under a path, from the setting or a trusted proxy; e2e/test_prefix.py uses nginx."""

import re

from flask import Flask

from project import create_app
from project.config import ConfigError, TestingConfig
from project.tests.base import BaseTestCase
from project.tests.factories import make_user

BROWSER = {"Accept": "text/html"}
ADA = {"username": "Ada", "email": "ada@example.com"}
NO_PREFIXES = [
    "directory",
    "/directory//",
    "//evil.example",
    "//evil.example/x",
    "/directory//evil.example",
    "/\\evil.example",
    "/..",
    "/directory/../..",
    "/.",
    "/%2e%2e",
    "/a b",
    "/a;b",
    "/a?b",
    "/a#b",
    "/a:b",
    "/a\tb",
    "/é",
    '/"><script>',
    "https://evil.example",
    "/a, //evil.example",
    "/" + "a" * 200,
]


class UnderPath(TestingConfig):
    """Settings with a path; the page of users once looked for the letters ID in its addresses."""

    SCRIPT_NAME = "/GRID/people"


class BehindProxy(TestingConfig):
    """Settings with a trusted proxy."""

    PROXIES = 1


def addresses(page: str) -> list[str]:
    """Return where links, forms and files of a page lead."""
    return re.findall(r'(?:href|src|action|data-url)="(.*?)"', page)


class SettingTests(BaseTestCase):
    """SCRIPT_NAME."""

    def create_app(self) -> Flask:
        return create_app(UnderPath)

    def test_paths_are_answered_with_the_prefix_and_without(self):
        for path, status in {
            "/GRID/people/ping": 200,
            "/ping": 200,
            "/GRID/people/": 200,
            "/GRID/people": 200,
            "/GRID/peoples/ping": 404,
            "/GRID/people/GRID/people/ping": 404,
            "/GRID/ping": 404,
        }.items():
            with self.subTest(path):
                self.assertEqual(self.client.get(path).status_code, status)

    def test_everything_on_a_page_leads_to_below_the_prefix(self):
        user = make_user()
        for path in ["/", "/?q=a", "/user/1", "/remove/1", "/sign-in", "/docs", "/nowhere"]:
            with self.subTest(path):
                page = self.client.get(f"/GRID/people{path}", headers=BROWSER).text

                found = [each for each in addresses(page) if each != "#main"]
                self.assertGreaterEqual(len(found), 3)
                for address in found:
                    self.assertTrue(address.startswith("/GRID/people/"), address)
        page = self.client.get("/GRID/people/").text
        self.assertIn(f'href="/GRID/people/user/{user.id}"', page)

    def test_files_are_found_at_the_addresses_on_the_page(self):
        page = self.client.get("/GRID/people/").text

        files = [address for address in addresses(page) if "?v=" in address]
        self.assertEqual(len(files), 7)
        for address in files:
            with self.subTest(address), self.client.get(address) as file:
                self.assertEqual(file.status_code, 200)

    def test_form_leads_back_to_below_the_prefix(self):
        response = self.client.post("/GRID/people/", data=ADA)

        self.assertEqual((response.status_code, response.location), (303, "/GRID/people/"))

    def test_api_names_addresses_with_the_prefix(self):
        make_user(email="first@example.com")

        made = self.client.post("/GRID/people/users", json=ADA)
        listed = self.client.get("/GRID/people/users?limit=1")

        self.assertEqual(made.headers["Location"], "/GRID/people/users/2")
        self.assertEqual(self.client.get(made.headers["Location"]).json["data"]["id"], 2)
        self.assertRegex(
            listed.headers["Link"], r"^<http://localhost/GRID/people/users\?limit=1&cursor="
        )

    def test_description_names_the_prefix_as_its_server(self):
        description = self.client.get("/GRID/people/openapi.json").json

        self.assertEqual(description["servers"], [{"url": "/GRID/people"}])

    def test_form_of_errors_is_that_of_the_path_below_the_prefix(self):
        for path, content_type in [("/users/x/y", "application/json"), ("/x", "text/html")]:
            with self.subTest(path):
                response = self.client.get(f"/GRID/people{path}", headers=BROWSER)

                self.assertEqual((response.status_code, response.mimetype), (404, content_type))

    def test_path_of_the_service_itself_is_refused(self):
        for path in ["/users", "/users/x", "/static", "/sign-in"]:

            class Ambiguous(TestingConfig):
                SCRIPT_NAME = path

            with self.subTest(path), self.assertRaisesRegex(ConfigError, f"SCRIPT_NAME: {path} "):
                create_app(Ambiguous)


class ForwardedTests(BaseTestCase):
    """X-Forwarded-Prefix from a trusted proxy, which removes the prefix itself."""

    def create_app(self) -> Flask:
        return create_app(BehindProxy)

    def test_prefix_is_kept(self):
        for sent, prefix in [
            ("/directory", "/directory"),
            ("/directory/", "/directory"),
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
            ("/users", "/users"),
            ("/made-up, /directory", "/directory"),
            ("/", ""),
            ("", ""),
        ]:
            with self.subTest(sent):
                headers = {"X-Forwarded-Prefix": sent, **BROWSER}
                page = self.client.get("/", headers=headers).text
                answer = self.client.post("/", data={}, headers=headers)

                self.assertIn(f'action="{prefix}/"', page)
                self.assertIn(f'href="{prefix}/static/page.css?', page)
                self.assertEqual(answer.status_code, 400)

    def test_each_request_has_its_own_prefix(self):
        urls = [
            self.client.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix}).json["servers"]
            for prefix in ["/a", "/b", ""]
        ]

        self.assertEqual(urls, [[{"url": url}] for url in ["/a", "/b", "/"]])

    def test_what_is_no_prefix_is_ignored(self):
        make_user(email="first@example.com")
        for number, sent in enumerate(NO_PREFIXES):
            with self.subTest(sent):
                headers = {"X-Forwarded-Prefix": sent}
                email = f"u{number}@example.com"
                made = self.client.post("/users", json={**ADA, "email": email}, headers=headers)
                added = self.client.post("/", data={**ADA, "email": f"x{email}"}, headers=headers)
                listed = self.client.get("/users?limit=1", headers=headers)
                page = self.client.get("/", headers={**headers, **BROWSER})

                self.assertEqual(made.headers["Location"], f"/users/{made.json['data']['id']}")
                self.assertEqual(added.headers["Location"], "/")
                self.assertTrue(listed.headers["Link"].startswith("<http://localhost/users?"))
                self.assertNotIn("evil", page.text)


class UntrustedTests(BaseTestCase):
    """X-Forwarded-Prefix while no proxy is trusted."""

    def test_prefix_is_ignored(self):
        headers = {"X-Forwarded-Prefix": "/directory", "Script-Name": "/directory"}

        made = self.client.post("/users", json=ADA, headers=headers)

        self.assertEqual(made.headers["Location"], "/users/1")

"""A client on another origin, as the tutorial's, in a real Chromium."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from playwright.sync_api import Page

from e2e.test_page import BrowserTestCase

PASSWORD = "gray otters"  # 11 characters
# Sends a request as clients in browsers do; what the page may not read, it does not see.
CALL = """async ([method, url, body, headers]) => {
    const options = {method, headers};
    if (body) {
        options.body = JSON.stringify(body);
        options.headers["Content-Type"] = "application/json";
    }
    try {
        const response = await fetch(url, options);
        const text = await response.text();
        return {
            status: response.status,
            headers: Object.fromEntries(response.headers),
            body: text ? JSON.parse(text) : null,
        };
    } catch (error) {
        return {error: error.name};
    }
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class ClientTests(BrowserTestCase):
    """Pages of two origins, one of which is listed, and the service on a third."""

    client: str
    stranger: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client, cls.stranger = cls.serve_page(), cls.serve_page()
        cls.environment = {"CORS_ORIGINS": cls.client, "PASSWORD_MIN_CHARACTERS": "11"}

    @classmethod
    def serve_page(cls) -> str:
        """Serve a page; return its origin."""
        folder = cls.enterClassContext(TemporaryDirectory(prefix="users-client-"))
        Path(folder, "index.html").write_text("<!doctype html><title>Client</title>")
        handler = partial(QuietHandler, directory=folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def page_of(self, origin: str) -> Page:
        """Open the page of an origin."""
        self.page.goto(origin)
        return self.page

    def call(
        self, page: Page, method: str, path: str, body: object = None, **headers: str
    ) -> dict[str, Any]:
        """Let the page send a request; return what it sees."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        found: dict[str, Any] = page.evaluate(CALL, [method, f"{self.url}{path}", body, sent])
        return found

    def test_listed_origin_does_what_the_tutorials_client_does(self) -> None:
        page = self.page_of(self.client)
        ada = {"username": "Ada", "email": "ada@example.com"}

        added = self.call(page, "POST", "/users", ada, Idempotency_Key="1")
        self.assertEqual(added["body"]["message"], "ada@example.com was added!")
        self.assertEqual(added["headers"]["location"], "/users/1")
        again = self.call(page, "POST", "/users", ada)
        self.assertEqual(again["status"], 400)
        self.assertEqual(again["body"]["message"], "Sorry. That email already exists.")
        bob = {"username": "Bob", "email": "bob@example.com", "password": PASSWORD}
        registered = self.call(page, "POST", "/auth/register", bob)
        self.assertEqual(registered["status"], 201)
        self.assertTrue(registered["body"]["auth_token"])
        del bob["username"]
        token = self.call(page, "POST", "/auth/login", bob)["body"]["auth_token"]
        account = self.call(page, "GET", "/auth/status", Authorization=f"Bearer {token}")
        self.assertEqual(account["body"]["data"]["email"], "bob@example.com")
        listed = self.call(page, "GET", "/users?limit=1")
        self.assertEqual(
            [user["email"] for user in listed["body"]["data"]["users"]], [ada["email"]]
        )
        self.assertIn('rel="next"', listed["headers"]["link"])
        self.assertTrue(listed["headers"]["x-request-id"])
        signed_out = self.call(page, "GET", "/auth/logout", Authorization=f"Bearer {token}")
        self.assertEqual(signed_out["status"], 200)
        refused = self.call(page, "GET", "/auth/status", Authorization=f"Bearer {token}")
        self.assertEqual(refused["status"], 401)

    def test_listed_origin_reads_and_sends_etags(self) -> None:
        page = self.page_of(self.client)
        self.call(page, "POST", "/users", {"username": "Ada", "email": "ada@example.com"})

        tag = self.call(page, "GET", "/users/1")["headers"]["etag"]
        known = self.call(page, "GET", "/users/1", If_None_Match=tag)
        changed = self.call(page, "PATCH", "/users/1", {"username": "Ada L."}, If_Match=tag)
        late = self.call(page, "PATCH", "/users/1", {"username": "A."}, If_Match=tag)
        removed = self.call(page, "DELETE", "/users/1")

        statuses = [answer["status"] for answer in (known, changed, late, removed)]
        self.assertEqual(statuses, [304, 200, 412, 200])

    def test_origin_that_is_not_listed_is_refused_by_the_browser(self) -> None:
        page = self.page_of(self.stranger)
        failed = {"error": "TypeError"}
        ada = {"username": "Ada", "email": "ada@example.com"}

        self.assertEqual(self.call(page, "GET", "/users"), failed)
        self.assertEqual(self.call(page, "POST", "/users", ada), failed)
        self.assertEqual(self.call(page, "DELETE", "/users/1"), failed)

        users = self.call(self.page_of(self.client), "GET", "/users")["body"]["data"]["users"]
        self.assertEqual(users, [])

    def test_operators_paths_are_refused_to_everybody(self) -> None:
        page = self.page_of(self.client)

        self.assertEqual(self.call(page, "GET", "/metrics"), {"error": "TypeError"})
        self.assertEqual(self.call(page, "GET", "/health/live"), {"error": "TypeError"})
        self.assertEqual(self.call(page, "GET", "/ping")["body"]["message"], "pong!")

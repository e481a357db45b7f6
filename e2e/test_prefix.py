"""The service under a path of a host, behind a real nginx as docs/operations.md configures it.

A person uses the page in a real Chromium, which notes each address that it asks for.
"""

import re
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
from playwright.sync_api import expect

from e2e.nginx import nginx, own_nginx
from e2e.processes import (
    GUNICORN,
    ROOT,
    RUNSERVER,
    free_port,
    manage,
    served,
    test_database,
)
from e2e.test_page import PASSWORD, BrowserTestCase

PREFIX = "/directory"
BOSS = "boss@example.com"
HOST = """
pid {folder}/pid;
error_log {folder}/error_log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            return 418;  # another application of the host
        }}
        {location}
    }}
}}
"""


def documented_location() -> str:
    """Return nginx's location in docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [location] = re.findall(r"```nginx\n(location /directory/ .+?)```", text, re.DOTALL)
    return str(location)


@contextmanager
def host(location: str) -> Iterator[str]:
    """Run a host with TLS and with this location; give its address."""
    with tempfile.TemporaryDirectory(prefix="users-host-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            + ["-nodes", "-days", "1", "-subj", "/CN=localhost"]
            + ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")],
            check=True,
            capture_output=True,
        )
        file = folder / "nginx.conf"
        file.write_text(HOST.format(folder=folder, port=port, location=location), encoding="utf-8")
        with nginx(folder, file, port):
            yield f"https://127.0.0.1:{port}"


class ForwardedPrefixTests(BrowserTestCase):
    """Production behind our own nginx, which trusts the nginx of the host."""

    environment = {
        "APP_SETTINGS": "project.config.ProductionConfig",
        "SECRET_KEY": "under a path, of a host of others",
    }

    def setUp(self) -> None:
        super().setUp()
        manage(
            "create_admin", "--username", "Boss", "--email", BOSS, "--password-stdin",
            input=PASSWORD, DATABASE_URL=self.database,
        )  # fmt: skip
        manage("seed_db", "--count", "60", DATABASE_URL=self.database)

    @contextmanager
    def serve(self, environment: dict[str, str]) -> Iterator[str]:
        """Serve the application below a path of a host; give the address with the path."""
        with ExitStack() as stack:
            service = stack.enter_context(served(GUNICORN, **environment))
            ours, _process = stack.enter_context(own_nginx(service))
            location = documented_location().replace("http://127.0.0.1:8080", ours)
            yield stack.enter_context(host(location)) + PREFIX

    def assert_all_below_the_path(self) -> None:
        """Assert that the browser has asked for nothing else, and has not complained."""
        others = [url for url in self.asked if not f"{url}/".startswith(f"{self.url}/")]
        self.assertEqual([url for url in others if not url.startswith("data:")], [])
        self.assertEqual(self.complaints, [])

    def test_person_uses_every_page_and_never_leaves_the_path(self) -> None:
        self.page.goto(f"{self.url}/user/1?q=boss")
        expect(self.page).to_have_url(f"{self.url}/sign-in?next={PREFIX}/user/1?q%3Dboss")
        self.sign_in(BOSS, PASSWORD)
        expect(self.page).to_have_url(f"{self.url}/user/1?q=boss")
        [cookie] = self.page.context.cookies()
        self.assertEqual(
            (cookie["name"], cookie["path"], cookie["secure"]), ("__Secure-session", PREFIX, True)
        )

        self.page.get_by_label("Username").fill("The Boss")
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("status")).to_have_text(f"{BOSS} was changed!")
        expect(self.page).to_have_url(f"{self.url}/user/1?q=boss")
        self.page.get_by_role("main").get_by_role("link", name="Users").click()
        expect(self.page).to_have_url(f"{self.url}/?q=boss")
        self.page.get_by_role("link", name="Show all").click()
        expect(self.page).to_have_url(f"{self.url}/")

        self.add("Ada", "ada@example.com")
        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was added!")
        self.picture(self.page, "under-a-path")
        self.page.get_by_role("link", name="Older users").click()
        expect(self.page.get_by_role("listitem")).to_have_count(12)
        self.page.get_by_role("link", name="Newer users").click()
        expect(self.page.get_by_role("listitem")).to_have_count(50)
        self.page.get_by_role("link", name="Ada - ").click()
        self.page.get_by_role("link", name="Remove").click()
        self.page.get_by_role("button", name="Remove").click()
        expect(self.page.get_by_role("status")).to_have_text("ada@example.com was removed!")

        self.page.goto(f"{self.url}/docs")
        operation = self.page.locator("#operations-users-list_users")
        operation.click()
        operation.get_by_role("button", name="Try it out").click()
        self.assert_all_below_the_path()
        operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".request-url pre")).to_have_text(f"{self.url}/users")
        answer = operation.locator(".live-responses-table")
        expect(answer).to_contain_text("Provide a valid auth token.")
        self.complaints.clear()  # of the answer 403

        self.page.goto(self.url)
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page).to_have_url(f"{self.url}/sign-in")
        self.page.goto(self.url)
        expect(self.page).to_have_url(f"{self.url}/sign-in")
        self.assert_all_below_the_path()

        self.page.goto(f"{self.url}/nowhere")
        self.page.get_by_role("link", name="Sign in").click()
        expect(self.page).to_have_url(f"{self.url}/sign-in")

    def test_client_follows_location_and_link(self) -> None:
        api = self.page.request
        signed_in = api.post(
            f"{self.url}/auth/login", data={"email": BOSS, "password": PASSWORD}
        ).json()
        headers = {"Authorization": f"Bearer {signed_in['auth_token']}"}
        ada = {"username": "Ada", "email": "ada@example.com"}

        made = api.post(f"{self.url}/users", data=ada, headers=headers)
        location = made.headers["location"]
        self.assertEqual(location, f"{PREFIX}/users/62")
        found = api.get(urljoin(made.url, location), headers=headers)
        self.assertEqual(found.json()["data"]["email"], "ada@example.com")
        self.assertRegex(found.headers["etag"], '^"')

        first = api.get(f"{self.url}/users?limit=60", headers=headers)
        [following] = re.findall("<(.*)>", first.headers["link"])
        self.assertTrue(following.startswith(f"{self.url}/users?"), following)
        self.assertEqual(len(api.get(following, headers=headers).json()["data"]["users"]), 2)

        rows = "".join(f"Imported {number},i{number}@example.com\n" for number in range(3000))
        imported = api.post(
            f"{self.url}/users/import",
            data=f"username,email\n{rows}",
            headers={**headers, "Content-Type": "text/csv"},
        )
        self.assertEqual(imported.json()["data"]["created"], 3000)

        description = api.get(f"{self.url}/openapi.json").json()
        self.assertEqual(description["servers"], [{"url": PREFIX}])


class ScriptNameTests(ForwardedPrefixTests):
    """Production directly behind the nginx of the host, which leaves the path."""

    environment = {**ForwardedPrefixTests.environment, "SCRIPT_NAME": PREFIX}

    @contextmanager
    def serve(self, environment: dict[str, str]) -> Iterator[str]:
        """Serve the application below a path of a host; give the address with the path."""
        with ExitStack() as stack:
            service = stack.enter_context(served(GUNICORN, **environment))
            location = documented_location().replace("http://127.0.0.1:8080/", service)
            location = location.replace("Prefix /directory;", 'Prefix "";')
            yield stack.enter_context(host(location)) + PREFIX


class ServerTests(unittest.TestCase):
    """SCRIPT_NAME on both servers."""

    def test_paths_are_answered_with_the_prefix_and_without(self) -> None:
        database = self.enterContext(test_database())
        for command in [GUNICORN, RUNSERVER]:
            with served(command, DATABASE_URL=database, SCRIPT_NAME=PREFIX) as url:
                for path, status in {
                    f"{PREFIX}/ping": 200,
                    "/ping": 200,
                    PREFIX: 200,
                    f"{PREFIX}x/ping": 404,
                    f"{PREFIX}{PREFIX}/ping": 404,
                }.items():
                    with self.subTest(command[-1], path=path):
                        self.assertEqual(httpx.get(url + path).status_code, status)
                description = httpx.get(f"{url}/openapi.json").json()
                self.assertEqual(description["servers"], [{"url": PREFIX}])

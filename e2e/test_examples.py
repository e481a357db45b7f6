"""The examples of README.md, docs/ and examples/, against a real server."""

import json
import os
import re
import subprocess
import sys
import unittest
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from e2e.processes import GUNICORN, ROOT, RUNSERVER, manage, served, test_database
from examples.client import add_user, all_users, rename_user
from project.api.transfer.columns import NAMES
from project.config import (
    DEVELOPMENT_SECRET_KEY,
    BaseConfig,
    DevelopmentConfig,
    FromEnvironment,
    ProductionConfig,
    TestingConfig,
)

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ADDRESS = "http://127.0.0.1:5000"
PASSWORD = "grey otters paddle home at dusk"
# What differs each time, whole or cut short: times, tokens, API keys.
VARIES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|eyJ[\w.…-]+|usk_[\w…-]+")
ADA = {"username": "Ada", "email": "ada@example.com"}


class ForgetfulProxy(BaseHTTPRequestHandler):
    """Passes requests on to a server, and loses the answer to the first POST."""

    upstream: str
    has_lost = False

    def do_GET(self) -> None:
        """Pass the request on."""
        connection = HTTPConnection(self.upstream, timeout=30)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if self.command == "POST" and not type(self).has_lost:
            type(self).has_lost = True
            return
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PATCH = do_GET

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class ImportPageTests(unittest.TestCase):
    """docs/imports.md."""

    def test_every_name_of_a_column_is_listed(self):
        page = (ROOT / "docs" / "imports.md").read_text(encoding="utf-8")
        for field, names in NAMES.items():
            with self.subTest(field):
                self.assertIn(f"| `{field}` | {', '.join(names.split())} |\n", page)


class ExamplesTestCase(unittest.TestCase):
    """Runs a server."""

    def setUp(self) -> None:
        self.database = self.enterContext(test_database())
        self.url = self.enterContext(served(GUNICORN, DATABASE_URL=self.database))
        self.api = self.enterContext(httpx.Client(base_url=self.url))

    def fill(self) -> list[dict[str, Any]]:
        """Add 150 users, which are more than a page of the examples; return them."""
        manage("seed_db", "--count", "150", DATABASE_URL=self.database)
        users: list[dict[str, Any]] = self.api.get("/users").json()["data"]["users"]
        return users


class PythonClientTests(ExamplesTestCase):
    """examples/client.py."""

    def test_it_runs(self) -> None:
        command = [sys.executable, "examples/client.py", self.url]

        for count in (1, 2):
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

            self.assertEqual(result.stderr, "")
            self.assertIn("'username': 'Ada Lovelace'", result.stdout)
            self.assertEqual(result.stdout.splitlines()[-1], f"{count} users")

    def test_it_pages_through_everything(self) -> None:
        users = self.fill()

        self.assertEqual(list(all_users(self.api)), users)

    def test_lost_answer_makes_no_second_user(self) -> None:
        ForgetfulProxy.upstream, ForgetfulProxy.has_lost = urlsplit(self.url).netloc, False
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), ForgetfulProxy)
        self.addCleanup(proxy.server_close)
        Thread(target=proxy.serve_forever).start()
        self.addCleanup(proxy.shutdown)

        with httpx.Client(base_url=f"http://127.0.0.1:{proxy.server_port}") as api:
            user = add_user(api, ADA)

        self.assertTrue(ForgetfulProxy.has_lost)
        self.assertEqual(list(all_users(self.api)), [user])

    def test_refusal_is_not_sent_again(self) -> None:
        add_user(self.api, ADA)

        with self.assertRaises(httpx.HTTPStatusError) as caught:
            add_user(self.api, ADA)

        self.assertEqual(caught.exception.response.status_code, 400)

    def test_change_by_somebody_else_is_preserved(self) -> None:
        address = f"/users/{add_user(self.api, ADA)['id']}"

        def change_meanwhile(response: httpx.Response) -> None:
            if response.request.method == "GET":
                other.event_hooks = {"response": []}
                self.api.patch(address, json={"active": True}).raise_for_status()

        with httpx.Client(base_url=self.url, event_hooks={"response": [change_meanwhile]}) as other:
            user = rename_user(other, address, "Ada Lovelace")

        self.assertEqual((user["username"], user["active"]), ("Ada Lovelace", True))


class CurlTests(ExamplesTestCase):
    """examples/curl.sh."""

    def run_script(self) -> subprocess.CompletedProcess[str]:
        """Run the script against the server."""
        script = str(ROOT / "examples" / "curl.sh")
        return subprocess.run([script, self.url], capture_output=True, text=True)

    def test_each_call_succeeds_and_nothing_is_left(self) -> None:
        users = self.fill()

        result = self.run_script()

        self.assertEqual((result.stderr, result.returncode), ("", 0))
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        added, read, renamed, *pages, removed = answers
        self.assertEqual(read["data"], added["data"])
        self.assertEqual(renamed["data"]["username"], "Ada Lovelace")
        listed = [user for page in pages for user in page["data"]["users"]]
        self.assertEqual(listed, [*users, renamed["data"]])
        self.assertIn("was removed!", removed["message"])
        self.assertEqual(list(all_users(self.api)), users)

    def test_refusal_ends_it_with_the_reason(self) -> None:
        self.url += "/nowhere"

        result = self.run_script()

        self.assertNotEqual(result.returncode, 0)
        self.assertIn('"status":"fail"', result.stderr)


def blocks(page: Path) -> list[list[tuple[str, str]]]:
    """Return a page's console blocks: of each, the commands and what they print."""
    texts = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [
        [(command, output) for command, _, output in (each.partition("\n") for each in examples)]
        for examples in (text.split("$ ")[1:] for text in texts)
    ]


class PageTests(unittest.TestCase):
    """The console blocks of README.md and docs/, as a reader types them; links and settings."""

    def read(self, page: Path, server: list[str]) -> int:
        """Follow a page from a new database on; return how many commands it has.

        Each ``make run`` in it starts the server with the settings that stand before it.
        """
        count = 0
        settings: dict[str, str] = {}
        pending: list[tuple[str, str]] = []
        with test_database() as database:
            for command, expected in [each for block in blocks(page) for each in block]:
                count += 1
                if command.endswith("make run"):
                    self.run_all(pending, server, DATABASE_URL=database, **settings)
                    settings = dict(word.split("=") for word in command.split()[:-2])
                    pending = []
                else:
                    pending.append((command, expected))
            self.run_all(pending, server, DATABASE_URL=database, **settings)
        return count

    def run_all(self, examples: list[tuple[str, str]], server: list[str], **settings: str) -> None:
        """Type these commands into one shell, and compare what each prints."""
        if not examples:
            return
        with served(server, **settings) as url:
            script = [
                'curl() { command curl --silent --show-error "$@"; }',
                f'python() {{ {sys.executable} "$@"; }}',
                f'create_admin() {{ python manage.py create_admin "$@" --password-stdin'
                f" <<<'{PASSWORD}'; }}",
            ]
            for command, _ in examples:
                typed = command.replace(ADDRESS, url).replace(".venv/bin/python", "python")
                script += [typed.replace("python manage.py create_admin", "create_admin")]
                script += ["printf '\\0'"]
            result = subprocess.run(
                ["bash", "-c", "\n".join(script)],
                cwd=ROOT,
                env={**os.environ, **settings},
                capture_output=True,
                text=True,
            )
        self.assertEqual(result.stderr, "")
        for (command, expected), printed in zip(
            examples, result.stdout.split("\0")[:-1], strict=True
        ):
            with self.subTest(command):
                self.assertEqual(VARIES.sub("…", printed), VARIES.sub("…", expected))

    def test_commands_print_what_the_page_says(self) -> None:
        counts = {}
        for page in filter(blocks, PAGES):
            for server in (GUNICORN, RUNSERVER):
                with self.subTest(page.name, server=server):
                    counts[page.name] = self.read(page, server)

        self.assertEqual(counts, {"README.md": 12, "import-export.md": 2})

    def test_links_lead_somewhere(self) -> None:
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if link.startswith("http"):
                    continue
                path, _, anchor = link.partition("#")
                target = page.parent / path if path else page
                with self.subTest(page.name, link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                        self.assertIn(anchor, [anchor_of(heading) for heading in headings])

    def test_table_of_settings_shows_each_with_its_default(self) -> None:
        table: dict[str, str] = {}
        page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
        for row in re.findall(r"^\| (`[A-Z].*) \|$", page, re.MULTILINE):
            names, _meaning, defaults = row.split(" | ")
            table |= dict.fromkeys(re.findall(r"`(\w+)` \*", names), defaults)
        settings = [
            setting
            for environment in (BaseConfig, DevelopmentConfig, TestingConfig, ProductionConfig)
            for setting in vars(environment).values()
            if isinstance(setting, FromEnvironment)
        ]

        self.assertEqual(set(table), {"APP_SETTINGS"} | {setting.name for setting in settings})
        for setting in settings:
            shown = str(setting.default)
            if isinstance(setting.default, bool):
                shown = "on" if setting.default else "off"
            elif setting.default in (None, DEVELOPMENT_SECRET_KEY):
                shown = "none"
            elif shown.startswith("sqlite:///"):
                shown = "a SQLite file in `instance/`"
            with self.subTest(setting.name):
                words = re.split(r"[\s,;:]+", table[setting.name])
                self.assertLessEqual(set(shown.split()), set(words))


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")

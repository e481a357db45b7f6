"""The clients in examples/, against a real server."""

import json
import subprocess
import sys
import unittest
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from e2e.processes import GUNICORN, ROOT, manage, served, test_database
from examples.client import add_user, all_users, rename_user

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

    def test_change_of_somebody_else_is_kept(self) -> None:
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

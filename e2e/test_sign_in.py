"""Signing in on real servers: what is counted, and what forms need, holds for all processes."""

import json
import re
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode, urlsplit

from e2e.processes import (
    GUNICORN,
    ROOT,
    manage,
    peak_memory,
    served,
    served_process,
    test_database,
)

PASSWORD = "grey otters paddle home at dusk"
EMAIL = "ada@example.com"
PRODUCTION = {
    "APP_SETTINGS": "project.config.ProductionConfig",
    "SECRET_KEY": "x" * 32,
    "WEB_CONCURRENCY": "2",
}
DOCKERFILE = ROOT / "Dockerfile"
HASH_MIB = 19
FREE = 5  # of failures with an account from an address


class Browser:
    """Sends forms to a server, and keeps its cookie."""

    def __init__(self, url: str) -> None:
        self._place, self.cookie = urlsplit(url).netloc, ""

    def send(self, method: str, path: str, **fields: str) -> tuple[HTTPResponse, str]:
        """Return an answer and its text."""
        connection = HTTPConnection(self._place, timeout=30)
        headers = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection.request(method, path, urlencode(fields), headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        if cookie := response.headers.get("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        return response, text

    def token(self, path: str) -> str:
        """Return the token in a page's first form."""
        [token, *_] = re.findall('name="csrf_token"[^>]*value="([^"]+)"', self.send("GET", path)[1])
        return str(token)

    def sign_in(self) -> int:
        """Sign in as the administrator."""
        form = {"email": EMAIL, "password": PASSWORD, "csrf_token": self.token("/sign-in")}
        return self.send("POST", "/sign-in", **form)[0].status


class SignInTestCase(unittest.TestCase):
    """Has a database with an administrator."""

    def setUp(self) -> None:
        self.environment = {**PRODUCTION, "DATABASE_URL": self.enterContext(test_database())}
        words = ["create_admin", "--username", "Ada", "--email", EMAIL, "--password-stdin"]
        manage(*words, input=PASSWORD, **self.environment)

    def log_in(self, url: str, password: str, email: str = EMAIL) -> tuple[int, int]:
        """Return the status of an attempt, and after how many seconds to try again."""
        connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        body = json.dumps({"email": email, "password": password})
        connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, int(response.headers.get("Retry-After", 0))


class ThrottleTests(SignInTestCase):
    """Wrong passwords are counted over all processes, and over restarts."""

    def test_failures_count_over_two_servers_and_a_restart(self):
        with ExitStack() as stack:
            servers = [stack.enter_context(served(GUNICORN, **self.environment)) for _ in range(2)]
            started = time.monotonic()
            with ThreadPoolExecutor(16) as pool:
                at_once = list(
                    pool.map(
                        lambda n: self.log_in(servers[n % 2], "wrong", "nobody@example.com")[0],
                        range(16),
                    )
                )
            # Waits of 1, 2, 4 s … may pass meanwhile. The service's clock has whole seconds, so one
            # may begin at any moment.
            seconds = int(time.monotonic() - started) + 1
            waits = (seconds + 1).bit_length() - 1
            self.assertLessEqual(at_once.count(401), FREE + waits)
            self.assertLessEqual(set(at_once), {401, 429, 503})
            for number in range(FREE):
                self.assertEqual(self.log_in(servers[number % 2], "wrong")[0], 401)
            for number in range(3):  # until the wait is long enough to be seen
                status, wait = self.log_in(servers[number % 2], "wrong")
                if status == 429:  # a wait of 1 s may be over: the clock has whole seconds
                    time.sleep(wait)
                    status, _wait = self.log_in(servers[number % 2], "wrong")
                self.assertEqual(status, 401)
            answers = [self.log_in(url, PASSWORD) for url in servers]
            self.assertEqual([status for status, _ in answers], [429, 429])
            self.assertGreater(min(wait for _, wait in answers), 4)

        with served(GUNICORN, **self.environment) as url:
            # When the wait is over by now, one more is looked at; a fresh start would have five.
            self.assertIn(429, [self.log_in(url, "wrong")[0] for _ in range(2)])


class SignInTests(SignInTestCase):
    """A server in production's settings."""

    def setUp(self) -> None:
        super().setUp()
        # As in the image: what a hash has taken goes back.
        self.environment |= dict(re.findall(r"\b(MALLOC_\w+)=(\d+)", DOCKERFILE.read_text()))

    def test_sign_ins_at_once_take_the_memory_of_one(self):
        environment = {**self.environment, "WEB_CONCURRENCY": "1"}
        with (
            served_process(GUNICORN, **environment) as (url, process),
            ThreadPoolExecutor(24) as pool,
        ):
            for number in range(4):
                self.log_in(url, "wrong", f"first{number}@example.com")
            before, started = peak_memory(process.pid), time.monotonic()
            answers = list(
                pool.map(lambda n: self.log_in(url, "wrong", f"u{n}@example.com"), range(24))
            )
            took, peak = time.monotonic() - started, peak_memory(process.pid)

            self.assertEqual({status for status, _ in answers}, {401, 503})
            self.assertEqual({wait for status, wait in answers if status == 503}, {2})
            self.assertLess(peak - before, HASH_MIB / 2, (before, peak))
            self.assertLess(took, 10)
            self.assertEqual(self.log_in(url, PASSWORD)[0], 200)

    def test_sign_in_ends_the_one_before_and_forged_forms_do_nothing(self):
        with served(GUNICORN, **self.environment) as url:
            browser, thief = Browser(url), Browser(url)
            self.assertEqual(browser.sign_in(), 303)
            thief.cookie = browser.cookie
            self.assertEqual(thief.send("GET", "/account")[0].status, 200)
            self.assertEqual(browser.sign_in(), 303)
            self.assertEqual(thief.send("GET", "/account")[0].status, 303)

            user = {"username": "Bea", "email": "bea@example.com"}
            added = browser.send("POST", "/", **user, csrf_token=browser.token("/"))[0]
            self.assertEqual(added.status, 303)
            for path in ["/user/2", "/remove/2"]:
                for token in [{}, {"csrf_token": "x"}, {"csrf_token": thief.token("/sign-in")}]:
                    with self.subTest(path, token=token):
                        form = {"username": "Eve", "email": "eve@example.com", "version": "1"}
                        response, text = browser.send("POST", path, **form, **token)

                        self.assertEqual(response.status, 400)
                        self.assertIn("The form has expired.", text)
            self.assertIn("<strong>Bea", browser.send("GET", "/")[1])
            form = {"version": "1", "csrf_token": browser.token("/remove/2")}
            self.assertEqual(browser.send("POST", "/remove/2", **form)[0].status, 303)
            self.assertNotIn("<strong>Bea", browser.send("GET", "/")[1])

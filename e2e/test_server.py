"""Real server processes over HTTP: races, and what only a socket can send.

On the database of DATABASE_TEST_URL, or else on a SQLite file.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from e2e.processes import (
    GUNICORN,
    ROOT,
    RUNSERVER,
    free_port,
    manage,
    served,
    served_process,
    test_database,
)
from e2e.stacks import until
from project.version import VERSION

WORKERS = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": "--threads 4"}
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
PASSWORD = "grey otters paddle home at dusk"


class ServerTestCase(unittest.TestCase):
    """Runs a server, and speaks HTTP with it."""

    command: list[str]

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        server = served(self.command, self.log, DATABASE_URL=database, **WORKERS)
        self.url = self.enterContext(server)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def raw(self, request: bytes, half_close: bool = False) -> bytes:
        """Send these bytes, and perhaps say that they are all; return what comes back."""
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), 30) as connection:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def assert_held_up_by_nobody(self, *requests: tuple[bytes, ...]) -> None:
        """Let forty clients trickle the body of each request, and others call meanwhile.

        :param requests: a request line without the version, and headers.
        """
        for line, *headers in requests:
            for framing in [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"]:
                head = b"\r\n".join([line + b" HTTP/1.1", b"Host: x", *headers, framing, b"", b""])
                with self.subTest(line, headers=headers, framing=framing), self.trickling(head):
                    self.assert_ping_is_answered_at_once()

    def assert_ping_is_answered_at_once(self) -> None:
        """Ask twenty times, on new connections; who is held up waits for 2 s or more."""
        for _ in range(20):
            started = time.monotonic()
            status, _answer = self.request("GET", "/ping")

            self.assertEqual(status, 200)
            self.assertLess(time.monotonic() - started, 1.5)

    @contextmanager
    def trickling(self, head: bytes, part: bytes = b"1\r\nx\r\n") -> Iterator[None]:
        """Let forty clients send a request, and then its body little by little."""
        stop, parts = Event(), urlsplit(self.url)
        have_sent = Barrier(41)

        def trickle() -> None:
            address = (parts.hostname or "", parts.port or 0)
            with suppress(OSError), socket.create_connection(address) as connection:
                connection.sendall(head)
                have_sent.wait()
                while not stop.wait(0.2):
                    connection.sendall(part)

        with ThreadPoolExecutor(40) as pool:
            for _ in range(40):
                pool.submit(trickle)
            have_sent.wait()
            try:
                yield
            finally:
                stop.set()


if TYPE_CHECKING:
    ServerTestBase = ServerTestCase
else:
    ServerTestBase = object  # unittest runs only what has a server


class AnyServerTests(ServerTestBase):
    """What holds under every server."""

    def test_body_over_the_limit_is_refused(self):
        body = b'"' + b"x" * 2_000_000 + b'"'

        status, answer = self.request("POST", "/users", body, **JSON)

        self.assertEqual(status, 413)
        self.assertEqual(answer["status"], "fail")

    def test_odd_requests_are_answered_in_json(self):
        for line, status in [
            (b"FOO /users", 405),
            (b"GET /users/%ff", 400),
            (b"GET /users/%00", 400),
            (b"GET /users/" + b"9" * 4000, 404),
            (b"GET /users?limit=%ff", 400),
            (b"GET /users/../users/x", 404),
            (b"DELETE /users", 405),
            (b"DELETE /users/1", 404),
        ]:
            with self.subTest(line[:40]):
                answer = self.raw(line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

                head, _, body = answer.partition(b"\r\n\r\n")
                self.assertIn(b" %d " % status, head.splitlines()[0])
                self.assertIn(b"Content-Type: application/json", head)
                self.assertEqual(json.loads(body)["status"], "fail")

    def test_headers_that_only_a_proxy_may_send_change_nothing(self):
        for header in ["SCRIPT_NAME: /x", "SCRIPT_NAME: /ping", "PATH_INFO: /users"]:
            with self.subTest(header):
                request = f"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"

                head, _, body = self.raw(request.encode()).partition(b"\r\n\r\n")

                self.assertIn(b" 200 ", head.splitlines()[0])
                self.assertEqual(json.loads(body)["message"], "pong!")

    def test_import_in_chunks_is_read_as_it_comes(self):
        rows = [b"u%d,u%d@example.com\n" % (number, number) for number in range(5000)]

        status, answer = self.request(
            "POST", "/users/import", iter([b"username,email\n", *rows]), **CSV
        )

        self.assertEqual((status, answer["data"]["created"]), (200, 5000))

    def test_import_that_is_cut_off_tells_what_was_taken(self):
        rows = b"".join(b"u%d,u%d@example.com\n" % (number, number) for number in range(6000))
        body = b"username,email\n" + rows
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        for framing, sent in [
            (b"Content-Length: 1000000", body),
            (b"Transfer-Encoding: chunked", chunk),
            (b"Transfer-Encoding: chunked", chunk + b"x\r\n"),
        ]:
            with self.subTest(framing):
                head = b"POST /users/import HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                answer = self.raw(head + framing + b"\r\n\r\n" + sent, half_close=True)

                head, _, text = answer.partition(b"\r\n\r\n")
                self.assertIn(b" 400 ", head.splitlines()[0])
                self.assertIn("up to line 5,001 were imported", json.loads(text)["message"])

    def test_body_that_is_cut_off_or_in_broken_chunks_is_refused(self):
        for path, content_type, body in [
            ("POST /users", b"application/json", b'{"username": "u", "email": "a@example.com"}'),
            ("POST /users", b"application/json\r\nIdempotency-Key: k", b'{"username": "u"}'),
            ("PATCH /users/1", b"application/json", b'{"username": "u"}'),
            ("POST /auth/login", b"application/json", b'{"email": "a@example.com"}'),
            ("POST /", b"application/x-www-form-urlencoded", b"username=u&email=a%40example.com"),
            ("POST /users/import", b"text/csv", b"username,email\nu,a@example.com\n"),
        ]:
            head = b"%b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n" % (path.encode(), content_type)
            for framing, sent in [
                (b"Content-Length: 1000", body),
                (b"Transfer-Encoding: chunked", b"zz\r\n"),
                (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\nx" % (len(body), body)),
            ]:
                with self.subTest(path, framing=framing, sent=sent[:2]):
                    answer = self.raw(head + framing + b"\r\n\r\n" + sent, half_close=True)

                    head_lines, _, text = answer.partition(b"\r\n\r\n")
                    self.assertIn(b" 400 ", head_lines.splitlines()[0])
                    self.assertIn(
                        "incomplete, or its chunked encoding is invalid",
                        json.loads(text)["message"],
                    )
        self.assertEqual(self.request("GET", "/users")[1]["data"]["users"], [])

    def test_export_is_sent_whole(self):
        rows = "".join(f"u{number},u{number}@example.com\n" for number in range(5000))
        self.request("POST", "/users/import", f"username,email\n{rows}", **CSV)

        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        connection.request("GET", "/users/export")
        response = connection.getresponse()
        lines = response.read().splitlines()
        connection.close()

        self.assertEqual(response.headers["Transfer-Encoding"], "chunked")
        self.assertEqual(len(lines), 5001)
        self.assertTrue(lines[-1].startswith(b'5000,"u4999","u4999@example.com",false,'))

    def test_head_of_an_export_has_no_body(self):
        answer = self.raw(b"HEAD /users/export HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        self.assertIn(b" 200 ", answer.splitlines()[0])
        self.assertTrue(answer.endswith(b"\r\n\r\n"), answer[-100:])


class GunicornTests(AnyServerTests, ServerTestCase):
    """The server of production, with two worker processes."""

    command = GUNICORN

    def test_thirty_writers_over_all_workers_make_one_user(self):
        barrier = Barrier(30)

        def write(number: int) -> tuple[int, str]:
            barrier.wait()
            user = {"username": f"u{number}", "email": "race@example.com"}
            status, answer = self.request("POST", "/users", user)
            return status, answer["message"]

        with ThreadPoolExecutor(30) as pool:
            answers = sorted(pool.map(write, range(30)))

        taken = (400, "Sorry. That email already exists.")
        self.assertEqual(answers, [(201, "race@example.com was added!")] + [taken] * 29)
        self.assertEqual(len(self.request("GET", "/users")[1]["data"]["users"]), 1)

    def test_thirty_requests_with_one_key_get_one_answer(self):
        barrier = Barrier(30)

        def write(_number: int) -> tuple[int, str]:
            barrier.wait()
            user = {"username": "u", "email": "race@example.com"}
            status, answer = self.request("POST", "/users", user, **{"Idempotency-Key": "k"})
            return status, json.dumps(answer)

        with ThreadPoolExecutor(30) as pool:
            answers = set(pool.map(write, range(30)))

        self.assertEqual(len(answers), 1)
        self.assertEqual(answers.pop()[0], 201)

    def test_two_hundred_writers_lose_no_user(self):
        def write(number: int) -> int:
            user = {"username": f"u{number}", "email": f"u{number}@example.com"}
            return self.request("POST", "/users", user)[0]

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(write, range(200)))

        self.assertEqual(set(statuses), {201})
        self.assertEqual(len(self.request("GET", "/users")[1]["data"]["users"]), 200)

    def test_body_of_just_the_limit_is_read(self):
        body = b'{"username": "u", "email": "u@example.com"}'.ljust(65_536)

        status, _answer = self.request("POST", "/users", body, **JSON)

        self.assertEqual(status, 201)

    def test_large_body_that_is_refused_unread_gets_its_answer(self):
        body = b"no,header\n" + b"x,y\n" * 5_000_000

        for content_type, expected in [("text/csv", 400), ("image/png", 415)]:
            with self.subTest(content_type):
                headers = {"Content-Type": content_type}
                status, answer = self.request("POST", "/users/import", body, **headers)
                self.assertEqual((status, answer["status"]), (expected, "fail"))

    def test_clients_that_trickle_what_nobody_wants_hold_no_thread(self):
        self.assert_held_up_by_nobody(
            (b"POST /users/import?no=parameter", b"Content-Type: text/csv"),
            (b"POST /users/import", b"Content-Type: image/png"),
            (b"PATCH /users/1", b"Content-Type: text/plain"),
            (b"GET /ping",),
        )

    def test_clients_that_keep_their_end_open_hold_up_nobody(self):
        with self.trickling(
            b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", part=b""
        ):
            self.assert_ping_is_answered_at_once()

    def test_answer_to_a_body_that_is_not_read_says_that_the_connection_ends(self):
        head = b"POST /users/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

        whole = self.raw(head % 1 + b"x" + b"GET /users/1 HTTP/1.0\r\n\r\n")
        started = time.monotonic()
        cut = self.raw(head % 1000 + b"x")

        self.assertLess(time.monotonic() - started, 1.5)
        self.assertIn(b"\r\nConnection: close\r\n", cut)
        self.assertEqual([whole.count(b" 415 "), whole.count(b" 404 ")], [1, 1])

    def test_body_over_the_limit_is_refused_when_sent_in_chunks(self):
        chunks = (b"x" * 100_000 for _ in range(20))

        status, answer = self.request("POST", "/users", chunks, **JSON)

        self.assertEqual(status, 413)
        self.assertEqual(answer["message"], "The body is larger than 65,536 bytes.")


class LostRightTests(ServerTestCase):
    """An editor is deactivated while an import or export of theirs is under way."""

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        environment = {"DATABASE_URL": database, "ACCESS": "protected", **WORKERS}
        self.url = self.enterContext(served(GUNICORN, self.log, **environment))
        options = ["--username", "Boss", "--email", "boss@example.com", "--password-stdin"]
        manage("create_admin", *options, input=PASSWORD, DATABASE_URL=database)
        self.admin = self.sign_in("boss@example.com")
        editor = {"username": "Ed", "email": "ed@example.com", "password": PASSWORD}
        _status, answer = self.request("POST", "/users", editor, **self.admin)
        self.path = f"/users/{answer['data']['id']}"
        self.request("PATCH", self.path, {"active": True, "role": "editor"}, **self.admin)
        self.editor = self.sign_in("ed@example.com")

    def sign_in(self, email: str) -> dict[str, str]:
        """Return the header that tells who calls."""
        login = {"email": email, "password": PASSWORD}
        _status, answer = self.request("POST", "/auth/login", login)
        return {"Authorization": f"Bearer {answer['auth_token']}"}

    def deactivate(self) -> None:
        status, _answer = self.request("PATCH", self.path, {"active": False}, **self.admin)
        self.assertEqual(status, 200)

    def count(self) -> int:
        """Return how many users there are beside the administrator and the editor."""
        _status, answer = self.request("GET", "/users?limit=1&total=true", **self.admin)
        total: int = answer["data"]["total"]
        return total - 2

    def test_import_of_a_slow_client_ends_with_the_batch_that_was_saved(self):
        def body() -> Iterator[bytes]:
            yield b"username,email\n"
            yield from rows[:8_700]
            deadline = time.monotonic() + 30
            while self.count() < 7500 and time.monotonic() < deadline:
                time.sleep(0.1)
            self.deactivate()
            yield b"".join(rows[8_700:])

        rows = [b"u%d,u%d@example.com\n" % (number, number) for number in range(20_000)]

        status, answer = self.request("POST", "/users/import", body(), **CSV, **self.editor)

        self.assertEqual(status, 401)
        self.assertRegex(
            answer["message"], r"The rows up to line 7,501 were imported\. So far: created 7,500, "
        )
        self.assertEqual(self.count(), 7500)
        _status, trail = self.request("GET", "/audit?limit=9", **self.admin)
        counts = [e["after"] for e in trail["data"]["events"] if e["action"] == "users.imported"]
        self.assertEqual([count["created"] for count in counts], [7500])

    def test_export_to_a_slow_client_is_cut_off(self):
        domain = f"{'x' * 60}.{'y' * 40}.example"
        rows = "".join(f"{'u' * 120},u{number}@{domain}\n" for number in range(40_000))
        self.request("POST", "/users/import", f"username,email\n{rows}", **CSV, **self.editor)
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/users/export", headers=self.editor)
        response = connection.getresponse()
        self.assertTrue(response.read(1_000).startswith(b"id,username,email,active,"))

        self.deactivate()

        # Far less than the 12 MB of it is in the buffers between.
        with self.assertRaises(IncompleteRead):
            response.read()
        self.assertEqual(self.log.read_text().count("export cut off"), 1)


class ProductionTestCase(ServerTestCase):
    """gunicorn with production's settings, and the log that it writes."""

    command = GUNICORN
    more: dict[str, str] = {}

    def setUp(self) -> None:
        production = {"APP_SETTINGS": "project.config.ProductionConfig", "SECRET_KEY": "x" * 32}
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        environment = {"DATABASE_URL": self.enterContext(test_database()), **production, **WORKERS}
        environment |= self.more
        self.url = self.enterContext(served(self.command, self.log, **environment))

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log, each of which must be a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class ProductionTests(ProductionTestCase):
    """Logs and metrics, with open access."""

    more = {"ACCESS": "open"}

    def test_open_access_is_warned_of_once(self):
        warnings = until(self.warnings)  # another worker may have answered before the first warns

        self.assertEqual([line["level"] for line in warnings], ["warning"])
        self.request("GET", "/users")
        self.assertEqual(len(self.warnings()), 1)

    def warnings(self) -> list[dict[str, Any]]:
        """Return the lines about open access."""
        return [line for line in self.lines() if line["event"].startswith("ACCESS=open")]

    def test_version_is_logged_once(self):
        started = [line for line in self.lines() if line["event"] == "started"]

        self.assertEqual([line["version"] for line in started], [VERSION])

    def test_each_request_is_one_line_without_personal_data(self):
        user = {"username": "Secret Name", "email": "secret@example.com"}
        self.request("POST", "/users", user, **{"X-Request-ID": "first"})
        self.request("POST", "/users", user, **{"X-Request-ID": "second"})
        self.request("GET", "/users/secret@example.com?q=secret", **{"X-Request-ID": "third"})
        self.request("GET", "/health/live", **{"X-Request-ID": "fourth"})

        requests = [line for line in self.lines() if line["event"] == "request"]
        self.assertEqual(
            [
                (line["request_id"], line["method"], line["route"], line["status"])
                for line in requests
                if line["route"] != "/ping"
            ],
            [
                ("first", "POST", "/users", 201),
                ("second", "POST", "/users", 400),
                ("third", "GET", "/users/<user_id>", 400),
            ],
        )
        for line in requests:
            self.assertEqual(line["level"], "info")
            self.assertGreater(line["ms"], 0)
            self.assertRegex(line["timestamp"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        self.assertNotIn("secret", self.log.read_text().lower())

    def test_request_that_the_server_cannot_read_leaves_no_email_in_the_log(self):
        for path in ["/users?q=secret@josé.example", "/users/secret @example.com"]:
            with self.subTest(path):
                answer = self.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

                self.assertIn(b" 400 ", answer.splitlines()[0])
        self.request("GET", "/users")

        self.assertEqual(self.lines()[-1]["event"], "request")
        self.assertNotIn("secret", self.log.read_text().lower())

    def test_log_of_the_server_itself_is_json_too(self):
        events = [line["event"] for line in self.lines()]

        self.assertTrue(any("Listening at" in event for event in events), events)

    def test_metrics_are_those_of_all_workers(self):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: self.request("GET", "/users/1"), range(100)))

        labels = '{method="GET",route="/users/<user_id>",status="404"}'
        self.assertIn(f"http_request_duration_seconds_count{labels} 100.0", self.metrics())

    def test_no_thread_holds_more_than_two_connections(self):
        def write_and_read(number: int) -> tuple[int, int]:
            user = {"username": "u", "email": f"u{number}@example.com"}
            written, _ = self.request("POST", "/users", user)
            return written, self.request("GET", "/users?limit=1")[0]

        with ThreadPoolExecutor(32) as pool:
            answers = set(pool.map(write_and_read, range(200)))

        self.assertEqual(answers, {(201, 200)})
        for engine in ["read", "write"]:
            name = f'database_connections_open{{engine="{engine}"}}'
            (count,) = re.findall(rf"^{re.escape(name)} (\d+)", self.metrics(), re.MULTILINE)
            self.assertLessEqual(int(count), 2 * 4, engine)  # workers, threads

    def metrics(self) -> str:
        """Return the text that Prometheus reads."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text


class SharedMemoryTests(unittest.TestCase):
    """What gunicorn's master loads, for its workers to share."""

    def test_master_loads_every_library_and_nothing_of_ours(self):
        script = """
            import runpy, sys

            settings = runpy.run_path("gunicorn.conf.py")
            settings["on_starting"](None)
            shared = set(sys.modules)
            import manage

            print(*sorted(shared), "|", *sorted(set(sys.modules) - shared))
        """
        shared, own = self.run_python(script).split("|")
        ours = {"manage", "project"}

        self.assertEqual({name.partition(".")[0] for name in shared.split()} & ours, set())
        self.assertEqual({name.partition(".")[0] for name in own.split()} - ours, set())

    def run_python(self, script: str) -> str:
        """Run a script at the root of the project; return what it prints."""
        command = [sys.executable, "-c", textwrap.dedent(script)]
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="users-metrics-"))
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
        return subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout


class LostOutputTests(ServerTestCase):
    """Servers whose logs and metrics cannot be written: what is asked of them is done."""

    command: list[str] = []
    production = {
        "APP_SETTINGS": "project.config.ProductionConfig",
        "SECRET_KEY": "x" * 32,
        "ACCESS": "open",
    }

    def setUp(self) -> None:
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")

    @contextmanager
    def served(self, command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server on an empty database; give its process."""
        with test_database() as database:
            environment = {"DATABASE_URL": database, **WORKERS, **environment}
            with served_process(command, self.log, **environment) as (self.url, process):
                yield process

    def assert_works(self) -> None:
        """Assert that no acknowledged write is lost, and that errors have the right form."""
        user = {"username": "u", "email": "u@example.com"}
        self.assertEqual(self.request("POST", "/users", user)[0], 201)
        self.assertEqual(self.request("POST", "/users", user)[0], 400)
        for _ in range(8):  # so that each worker has some
            _, answer = self.request("GET", "/users")
            self.assertEqual([one["email"] for one in answer["data"]["users"]], ["u@example.com"])
        self.assertEqual(self.request("GET", "/users/9")[0], 404)

    def metrics(self) -> str:
        """Return what Prometheus would read."""
        with urlopen(f"{self.url}/metrics") as answer:
            return str(answer.read().decode())

    def test_full_disk_takes_no_line_and_no_request_fails(self):
        for target in ["/dev/full", "/dev/full 2>&1"]:
            command = ["sh", "-c", f"exec {shlex.join(GUNICORN)} >{target}"]
            with self.subTest(target), self.served(command, **self.production) as process:
                self.assert_works()
                lost = re.findall(r"^log_failures_total (\d+)", self.metrics(), re.MULTILINE)
                self.assertGreaterEqual(int(lost[0]), 12)

                process.terminate()
                self.assertEqual(process.wait(30), 0)
                self.assertEqual(self.log.read_text(), "")

    def test_pipe_that_nobody_reads_any_more_fails_no_request(self):
        for server in [GUNICORN, RUNSERVER]:
            command = ["sh", "-c", f"{shlex.join(server)} 2>&1 | true"]
            with self.subTest(server), self.served(command):
                self.assert_works()
                self.assertRegex(self.metrics(), r"(?m)^log_failures_total [1-9]")

    def test_metrics_without_a_folder_fail_no_request(self):
        folder = f"{os.devnull}/x"
        with self.served(GUNICORN, PROMETHEUS_MULTIPROC_DIR=folder, **self.production):
            self.assert_works_without_metrics()

    def test_metrics_whose_folder_is_removed_fail_no_request(self):
        with tempfile.TemporaryDirectory(prefix="users-removed-") as parent:
            folder = f"{parent}/metrics"
            os.mkdir(folder)
            with self.served(GUNICORN, PROMETHEUS_MULTIPROC_DIR=folder, **self.production):
                shutil.rmtree(folder)
                self.assert_works_without_metrics()

    def assert_works_without_metrics(self) -> None:
        """Assert the same where each worker counts for itself, and that each says so once."""
        self.assert_works()
        count = 'http_request_duration_seconds_count{method="GET",'
        self.assertTrue(any(count in self.metrics() for _ in range(20)))  # not of an idle worker
        events = [json.loads(line)["event"] for line in self.log.read_text().splitlines()]
        self.assertIn(events.count("metrics lost"), {1, 2})


class ProtectedTests(ProductionTestCase):
    """The same with protected access, the default in production."""

    more = {"REGISTRATION": "on"}

    def test_who_calls_is_known_but_nothing_secret_is_in_the_log(self):
        person = {"email": "secret@example.com", "password": "grey otters paddle home at dusk"}
        self.assertEqual(self.request("GET", "/users")[0], 403)
        self.request("POST", "/auth/register", {**person, "username": "Secret Name"})
        self.request("POST", "/auth/login", {**person, "password": "a wrong secret"})
        token = self.request("POST", "/auth/login", person)[1]["auth_token"]
        self.assertEqual(self.request("GET", "/users/1", Authorization=f"Bearer {token}")[0], 200)

        requests = [line for line in self.lines() if line["event"] == "request"]
        self.assertEqual(requests[-1]["principal"], "user:1")
        self.assertNotIn("principal", requests[-2])
        text = self.log.read_text()
        self.assertNotIn("secret", text.lower())
        self.assertNotIn("otters", text)
        self.assertNotIn(token, text)
        self.assertNotIn("ACCESS=open", text)

    def test_clients_that_are_refused_hold_no_thread(self):
        for path in [b"POST /users/import", b"POST /users"]:
            self.assert_held_up_by_nobody(
                (path, b"Content-Type: text/csv"),
                (path, b"Content-Type: text/csv", b"Authorization: Bearer x"),
            )


class StartTests(unittest.TestCase):
    """gunicorn, where the service must not start."""

    def test_production_without_a_secret_key_gives_up_and_says_why(self):
        environment = {"APP_SETTINGS": "project.config.ProductionConfig", "SECRET_KEY": ""}
        command = [word.format(port=free_port()) for word in GUNICORN]

        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

        # 3, or 1 when a second worker fails while gunicorn is ending because of the first.
        self.assertIn(result.returncode, {1, 3})
        self.assertIn("SECRET_KEY is not set. Production requires its own.", result.stderr)


class RunserverTests(AnyServerTests, ServerTestCase):
    """The server of development."""

    command = RUNSERVER

    def test_version_is_logged_once(self):
        self.assertEqual(re.findall(r"started +version=(.+)", self.log.read_text()), [VERSION])

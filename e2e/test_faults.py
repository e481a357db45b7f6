"""What production does to a service, done to gunicorn on a MariaDB of its own.

Each test counts what was acknowledged and finds all of it afterwards.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPMessage, IncompleteRead
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from e2e.processes import GUNICORN, ROOT, MariaDB, manage, mariadb, served, served_process
from e2e.stacks import copy_tracked_files
from project import create_app
from project.api.auth import service as auth
from project.api.users import service as users
from project.config import TestingConfig
from project.database import close_thread_connections, in_transaction
from project.version import VERSION

CLIENTS = 6
WAITING_FOR_A_TABLE = (
    "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata%'"
)
WORKERS = {"WEB_CONCURRENCY": "2"}
CSV = {"Content-Type": "text/csv"}


class Answer:
    """What a request got: its status (0: no answer), its JSON, and the seconds that it took."""

    def __init__(self, url: str, method: str, path: str, body: Any = None, **headers: str) -> None:
        started = time.monotonic()
        connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        try:
            sent = json.dumps(body) if isinstance(body, dict) else body
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, sent, {"Content-Type": "application/json", **named})
            response = connection.getresponse()
            self.status, self.headers = response.status, response.headers
            self.json = json.loads(response.read())
        except (OSError, HTTPException):
            self.status, self.json, self.headers = 0, {}, HTTPMessage()
        finally:
            connection.close()
        self.seconds = time.monotonic() - started


class Load:
    """Clients that add users until they are stopped; a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.acknowledged: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[n]) for n in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stop.wait(0.005):  # polite: it is not the load that is tested
            number += 1
            email = f"u{client}-{number}@example.com"
            answer = self._add({"username": "u", "email": email})
            if answer.status == 201:
                self.acknowledged.append(email)

    def _add(self, user: dict[str, str]) -> Answer:
        answer = Answer(self.url, "POST", "/users", user, **self.headers(user["email"]))
        self.answers.append(answer)
        return answer

    def headers(self, _email: str) -> dict[str, str]:
        """Return what is sent beside the user."""
        return {}

    def wait_for(self, count: int) -> None:
        """Wait until that many more users are acknowledged, for 60 s at most."""
        goal, deadline = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"no more users: {Counter(a.status for a in self.answers)}")
            time.sleep(0.02)

    def refused(self) -> list[Answer]:
        """Return the answers that acknowledge no user."""
        return [answer for answer in self.answers if answer.status != 201]

    def statuses(self) -> set[int]:
        """Return all statuses that came back; 0 stands for no answer."""
        return {answer.status for answer in self.answers}


class RetryingLoad(Load):
    """Clients that send each request, with a key of its own, until they get an answer."""

    def headers(self, email: str) -> dict[str, str]:
        return {"Idempotency_Key": email}

    def _add(self, user: dict[str, str]) -> Answer:
        answer = super()._add(user)
        while answer.status in {0, 503}:
            answer = super()._add(user)
        return answer


class FaultTestCase(unittest.TestCase):
    """A migrated MariaDB, and gunicorn with two workers before it."""

    folder = ROOT

    def setUp(self) -> None:
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        self.database = self.enterContext(MariaDB())
        manage("db", "upgrade", DATABASE_URL=self.database.url)
        environment = {"DATABASE_URL": self.account(), **WORKERS}
        server = served_process(GUNICORN, self.log, self.folder, **environment)
        self.url, self.server = self.enterContext(server)

    def account(self) -> str:
        """Return the database's URL for the service."""
        return self.database.url

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.server.pid)], capture_output=True, text=True
        ).stdout
        return [int(pid) for pid in children.split()]

    def get(self, path: str) -> Answer:
        return Answer(self.url, "GET", path)

    def emails(self) -> list[str]:
        """Return the emails of all users, page by page."""
        emails: list[str] = []
        path = "/users"
        while path:
            answer = self.get(path)
            self.assertEqual(answer.status, 200)
            emails += [user["email"] for user in answer.json["data"]["users"]]
            path = answer.headers.get("Link", "<>").split(">")[0][1:].removeprefix(self.url)
        return emails

    def assert_none_lost(self, load: Load) -> None:
        """Assert that each acknowledged user is there, once."""
        emails = Counter(self.emails())
        self.assertEqual([email for email in load.acknowledged if emails[email] != 1], [])
        self.assertEqual([email for email, count in emails.items() if count > 1], [])

    def recovery_seconds(self, probe: Callable[[], bool]) -> float:
        """Return how long it takes until a probe is content, 30 s at most."""
        started = time.monotonic()
        while not probe():
            if time.monotonic() - started > 30:
                raise AssertionError("no recovery within 30 s")
            time.sleep(0.05)
        return time.monotonic() - started


class DatabaseFaultTests(FaultTestCase):
    """What the database does to the service."""

    def test_database_killed_under_load_loses_nothing_and_comes_back(self):
        with Load(self.url) as load:
            load.wait_for(50)
            self.database.kill()
            away = [self.get("/users/1") for _ in range(3)]
            self.database.start()
            seconds = self.recovery_seconds(lambda: self.get("/users/1").status == 200)
            load.wait_for(50)

        for answer in away:
            self.assert_unavailable(answer)
            self.assertLess(answer.seconds, 5)
        self.assertLess(seconds, 5)
        self.assertLessEqual(load.statuses(), {201, 503})
        self.assert_none_lost(load)

    def test_frozen_database_lets_nobody_wait_for_a_connection(self):
        self.database.freeze()
        self.addCleanup(self.database.thaw)
        with ThreadPoolExecutor(4) as pool:  # no more than one worker has threads
            frozen = [pool.submit(self.get, "/users") for _ in range(2)]
            frozen += [pool.submit(self.post, f"u{number}@example.com") for number in range(2)]
            ping = self.get("/ping")
            answers = [future.result() for future in frozen]
        self.database.thaw()

        self.assertEqual(ping.status, 200)
        for answer in answers:
            self.assert_unavailable(answer)
            self.assertLess(answer.seconds, 4.5)
        self.assertLess(self.recovery_seconds(lambda: self.get("/users").status == 200), 5)

    def test_database_frozen_under_load_hangs_nobody_and_loses_nothing(self):
        with Load(self.url) as load:
            load.wait_for(50)
            self.database.freeze()
            self.addCleanup(self.database.thaw)
            self.recovery_seconds(lambda: len(load.refused()) >= CLIENTS)
            self.database.thaw()
            load.wait_for(50)

        for answer in load.refused():
            self.assert_unavailable(answer)
            # 15 s, perhaps for a thread alone, and then 3 s to connect.
            self.assertLess(answer.seconds, 20)
        self.assert_none_lost(load)

    def test_frozen_database_is_not_waited_for_twice_by_a_read(self):
        for _ in range(20):  # so that every worker's threads have a connection
            self.get("/users")
        self.database.freeze()
        self.addCleanup(self.database.thaw)

        answer = self.get("/users")

        self.database.thaw()
        self.assert_unavailable(answer)
        self.assertLess(answer.seconds, 17)

    def post(self, email: str) -> Answer:
        return Answer(self.url, "POST", "/users", {"username": "u", "email": email})

    def assert_unavailable(self, answer: Answer) -> None:
        """Assert that the answer is a 503 as all clients know it."""
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["status"], "error")
        self.assertIn("request_id", answer.json)
        self.assertEqual(answer.headers["Retry-After"], "2")

    def test_readiness_follows_the_database(self):
        self.assertEqual(self.get("/health/ready").status, 200)
        self.database.freeze()
        self.addCleanup(self.database.thaw)

        answer = self.get("/health/ready")

        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["message"], "The database does not respond.")
        self.assertLess(answer.seconds, 3)
        self.assertEqual(self.get("/health/live").status, 200)

    def test_stale_connections_reach_no_client_as_an_error(self):
        for number in range(20):  # so that every worker's threads have connections
            Answer(self.url, "POST", "/users", {"username": "u", "email": f"u{number}@example.com"})
            self.get("/users")
        for round_number in range(3):
            self.kill_connections()
            for number in range(4):
                email = f"stale{round_number}-{number}@example.com"
                user = {"username": "u", "email": email}
                self.assertEqual(Answer(self.url, "POST", "/users", user).status, 201)
                self.assertEqual(self.get("/users/1").status, 200)

    def test_import_that_the_database_leaves_is_sent_again_as_a_whole(self):
        rows = [b"u%d,u%d@example.com\n" % (number, number) for number in range(12_000)]

        def body(kill: bool) -> Iterator[bytes]:
            yield b"username,email\n" + b"".join(rows[:6_000])
            if kill:
                self.recovery_seconds(
                    lambda: self.get("/users?limit=1&total=true").json["data"]["total"] == 5_000
                )
                # Rows are seen before their COMMIT is acknowledged; a later one comes after it.
                self.assertEqual(self.post("later@example.com").status, 201)
                self.database.kill()
            yield b"".join(rows[6_000:])

        cut_off = Answer(self.url, "POST", "/users/import", body(kill=True), **CSV)
        self.database.start()
        again = Answer(self.url, "POST", "/users/import", body(kill=False), **CSV)

        self.assertEqual(cut_off.status, 503)
        self.assertEqual(
            cut_off.json["message"],
            "The database is unavailable. The rows up to line 5,001 were imported. Send the"
            " whole file again: what is already there is skipped.",
        )
        self.assertEqual(again.json["data"]["created"], 7_000)
        self.assertEqual(again.json["data"]["skipped"], 5_000)
        self.assertEqual(len(self.emails()), 12_000 + 1)

    def test_export_that_the_database_leaves_is_cut_off(self):
        rows = "".join(f"{'u' * 120},u{number}@example.com\n" for number in range(100_000))
        Answer(self.url, "POST", "/users/import", f"username,email\n{rows}", **CSV)
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        self.addCleanup(connection.close)
        connection.request("GET", "/users/export")
        response = connection.getresponse()

        self.assertTrue(response.read(1_000).startswith(b"id,username,email,active,"))
        self.database.kill()

        # Far less than the 20 MB of it is in the buffers between.
        with self.assertRaises(IncompleteRead):
            response.read()
        self.assertEqual(self.get("/users/export").status, 503)

    def kill_connections(self) -> None:
        """End all connections to the database but our own, as a restart or a time limit does."""
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist"
                " WHERE db = 'users_test' AND id <> connection_id()"
            )
            for (number,) in cursor.fetchall():
                try:
                    cursor.execute("KILL %s", (number,))
                except pymysql.err.OperationalError:
                    continue  # it has ended by itself

    def test_migrations_at_once_are_run_once(self):
        manage("db", "downgrade", "base", DATABASE_URL=self.database.url)
        command = [sys.executable, "manage.py", "db", "upgrade"]
        environment = {**os.environ, "DATABASE_URL": self.database.url}
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
            for _ in range(4)
        ]

        self.assertEqual([process.wait(60) for process in processes], [0, 0, 0, 0])
        self.assertEqual(self.get("/health/ready").status, 200)

    def test_migration_that_waits_for_a_long_transaction_gives_up_and_says_so(self):
        manage("db", "downgrade", "0007", DATABASE_URL=self.database.url)
        command = [sys.executable, "manage.py", "db", "upgrade"]
        environment = {**os.environ, "DATABASE_URL": self.database.url}
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM users_test.users")  # begins a transaction
            migration = subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
            )
            with self.database.connect() as waiting, waiting.cursor() as writer:
                self.recovery_seconds(lambda: bool(writer.execute(WAITING_FOR_A_TABLE)))
                started = time.monotonic()
                writer.execute("UPDATE users_test.users SET username = 'x' WHERE id = 1")
                waited = time.monotonic() - started
            _, message = migration.communicate(timeout=60)

        self.assertLess(waited, 8)
        self.assertEqual(migration.returncode, 1)
        self.assertIn("A migration after revision 0007 failed: (1205, ", message)
        self.assertIn("A long transaction uses the table, such as a backup", message)
        manage("db", "upgrade", DATABASE_URL=self.database.url)
        self.assertEqual(self.get("/health/ready").status, 200)

    def test_deadlock_ends_well_for_both(self):
        script = [sys.executable, "-m", "e2e.deadlock"]
        environment = {**os.environ, "DATABASE_URL": self.database.url}

        result = subprocess.run(
            script, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.split(), ["attempts:", "3"])


class EndedSignInTests(unittest.TestCase):
    """Two workers with one database; each recalls callers, and neither recalls one too long."""

    SIGN_INS, CLIENTS = 10_000, 8

    def setUp(self) -> None:
        url = self.enterContext(mariadb())
        manage("recreate_db", "--yes", DATABASE_URL=url)
        environment = {"DATABASE_URL": url, "ACCESS": "protected", "WEB_CONCURRENCY": "1"}
        self.workers = [self.enterContext(served(GUNICORN, **environment)) for _ in range(2)]
        self.tokens = self.make_tokens(url)

    def make_tokens(self, url: str) -> list[str]:
        """Return the tokens of many sign-ins of a viewer; to hash so many passwords takes long."""

        class Settings(TestingConfig):
            SQLALCHEMY_DATABASE_URI = url

        with create_app(Settings).app_context():
            create = in_transaction(users.create_user)
            user = create("Ada", "ada@example.com", active=True, role="viewer")
            tokens = in_transaction(
                lambda: [auth._sign_in(user, 0).token for _ in range(self.SIGN_INS)]
            )()
            close_thread_connections()
        return tokens

    def end_some(self, tokens: Sequence[str], ended: int) -> Counter[tuple[int, ...]]:
        """End sign-ins on one worker; return the answers of both before, and of the other then."""
        connections = [HTTPConnection(urlsplit(url).netloc, timeout=60) for url in self.workers]

        def send(worker: int, method: str, path: str, token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            connections[worker].request(method, path, headers=headers)
            response = connections[worker].getresponse()
            response.read()
            return response.status

        statuses: Counter[tuple[int, ...]] = Counter()
        for token in tokens:
            before = [send(worker, "GET", "/users/1", token) for worker in (0, 1)]
            out = send(ended, "GET", "/auth/logout", token)
            statuses[*before, out, send(1 - ended, "GET", "/users/1", token)] += 1
        for connection in connections:
            connection.close()
        return statuses

    def test_token_that_one_worker_ended_is_refused_by_the_other_at_once(self):
        parts = [self.tokens[client :: self.CLIENTS] for client in range(self.CLIENTS)]

        with ThreadPoolExecutor(self.CLIENTS) as pool:
            ends = pool.map(self.end_some, parts, cycle([0, 1]))
            statuses = sum(ends, Counter())

        self.assertEqual(statuses, {(200, 200, 200, 401): self.SIGN_INS})


class ReadOnlyTests(FaultTestCase):
    """A database server that takes no writes for a while, as one that lost its role in a group."""

    def account(self) -> str:
        """Make an account that may not write while the server is read-only."""
        self.administer("CREATE USER service@'%'", "GRANT ALL ON users_test.* TO service@'%'")
        return self.database.url.replace("root@", "service@")

    def administer(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements as the administrator; return the rows of the last one."""
        with self.database.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def connections(self) -> set[int]:
        """Return the service's connections."""
        rows = self.administer(
            "SELECT id FROM information_schema.processlist WHERE user = 'service'"
        )
        return {number for (number,) in rows}

    def test_server_that_takes_no_writes_is_left_and_makes_the_service_not_ready(self):
        with Load(self.url) as load:
            load.wait_for(50)
            before = self.connections()
            self.administer("SET GLOBAL read_only = ON")
            self.recovery_seconds(lambda: len(load.refused()) >= 10 * CLIENTS)
            reading, ready = self.get("/users?limit=1"), self.get("/health/ready")
            self.administer("SET GLOBAL read_only = OFF")
            load.wait_for(50)
            again = self.get("/health/ready")

        self.assertEqual((reading.status, ready.status, again.status), (200, 503, 200))
        self.assertEqual(ready.json["message"], "The database server is read-only.")
        self.assertEqual(load.statuses(), {201, 503})
        self.assertLess(max(answer.seconds for answer in load.refused()), 2)
        self.assertLess(len(before & self.connections()), len(before))
        self.assert_none_lost(load)


class ProcessFaultTests(FaultTestCase):
    """What happens to the service's own processes, which run a copy of the code."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="users-code-")))
        copy_tracked_files(self.folder)
        super().setUp()

    def test_worker_killed_under_load_loses_nothing(self):
        with Load(self.url) as load:
            load.wait_for(50)
            os.kill(self.workers()[0], signal.SIGKILL)
            load.wait_for(100)

        # What the worker had in hand when it died got no answer.
        self.assertLessEqual(load.statuses(), {201, 0})
        self.assert_none_lost(load)
        self.assertEqual(len(self.workers()), 2)

    def test_retry_gets_the_answer_of_a_killed_worker(self):
        with RetryingLoad(self.url) as load:
            for _ in range(5):
                load.wait_for(20)
                os.kill(self.workers()[0], signal.SIGKILL)
            load.wait_for(50)

        # A 400 would say that the email is taken: by the very request that got no answer.
        self.assertEqual(load.statuses(), {201, 0})
        self.assert_none_lost(load)

    def test_answer_that_got_lost_is_given_again(self):
        user = {"username": "u", "email": "u@example.com"}
        body = json.dumps(user)
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname, parts.port), 10) as connection:
            connection.sendall(
                b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Idempotency-Key: k\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode())
            )
            self.recovery_seconds(lambda: self.emails() == ["u@example.com"])
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)

        again = Answer(self.url, "POST", "/users", user, Idempotency_Key="k")

        self.assertEqual(again.status, 201)
        self.assertEqual(again.json["message"], "u@example.com was added!")

    def test_reload_under_load_loads_all_code_anew_and_fails_no_request(self):
        views = self.folder / "project" / "api" / "ops" / "views.py"
        pyproject = self.folder / "pyproject.toml"
        before = set(self.workers())
        with Load(self.url) as load:
            load.wait_for(50)
            views.write_text(views.read_text().replace("pong!", "pong of the new code!"))
            pyproject.write_text(pyproject.read_text().replace(VERSION, "99.0.0"))
            os.kill(self.server.pid, signal.SIGHUP)
            self.recovery_seconds(lambda: not before & set(self.workers()))
            load.wait_for(50)
        messages = {self.get("/ping").json["message"] for _ in range(20)}

        self.assertEqual(messages, {"pong of the new code!"})
        self.assertRegex(self.log.read_text(), r"reloaded +version=99\.0\.0\n")
        self.assertEqual(load.statuses(), {201})
        self.assert_none_lost(load)

    def test_termination_lets_requests_in_flight_finish(self):
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLES users_test.users WRITE")
            with ThreadPoolExecutor(2) as pool:
                user = {"username": "u", "email": "u@example.com"}
                waiting = pool.submit(Answer, self.url, "POST", "/users", user)
                self.recovery_seconds(lambda: self.waits_for_the_lock(cursor))
                started = time.monotonic()
                os.kill(self.server.pid, signal.SIGTERM)
                self.recovery_seconds(self.refuses_connections)
                cursor.execute("UNLOCK TABLES")
                answer = waiting.result()
            self.assertEqual(self.server.wait(30), 0)

        self.assertEqual(answer.status, 201)
        self.assertLess(time.monotonic() - started, 30)
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT email FROM users_test.users")
            self.assertEqual(cursor.fetchall(), (("u@example.com",),))

    def refuses_connections(self) -> bool:
        """Return whether nobody listens any more."""
        parts = urlsplit(self.url)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 0), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    def waits_for_the_lock(self, cursor: Any) -> bool:
        """Return whether the INSERT has come to the table that is locked."""
        cursor.execute("SHOW PROCESSLIST")
        return any("INSERT" in str(row) for row in cursor.fetchall())

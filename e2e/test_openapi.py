"""The API against its own description: OpenAPI's rules, and what Schemathesis makes of it."""

import json
import os
import subprocess
import sys
import unittest
from urllib.request import Request, urlopen

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from e2e.processes import GUNICORN, ROOT, manage, served, test_database

# gunicorn's own 414 is a page of its own; in production nginx answers first, as it is described.
ENVIRONMENT = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": "--limit-request-line 0"}
ADMINISTRATOR = {"email": "ada@example.com", "password": "grey otters paddle home at dusk"}


class OpenAPITests(unittest.TestCase):
    """GET /openapi.json of a real server, and all that it describes."""

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        options = ["--username=Ada", f"--email={ADMINISTRATOR['email']}", "--password-stdin"]
        password = ADMINISTRATOR["password"]
        manage("create_admin", *options, input=password, DATABASE_URL=database)
        self.url = self.enterContext(served(GUNICORN, DATABASE_URL=database, **ENVIRONMENT))

    def test_description_is_openapi_3_1(self) -> None:
        with urlopen(f"{self.url}/openapi.json", timeout=30) as response:
            description = json.load(response)

        self.assertRegex(description["openapi"], r"^3\.1\.")
        validate(description)

    def test_examples_are_what_the_schemas_allow(self) -> None:
        with urlopen(f"{self.url}/openapi.json", timeout=30) as response:
            description = json.load(response)
        parts = description["components"]

        for path, method, operation in [
            (path, method, operation)
            for path, operations in description["paths"].items()
            for method, operation in operations.items()
        ]:
            answers = [
                parts["responses"][answer["$ref"].rpartition("/")[2]]
                if "$ref" in answer
                else answer
                for status, answer in operation["responses"].items()
                if status not in ("204", "304")
            ]
            for body in [operation.get("requestBody", {"content": {}}), *answers]:
                for media_type, content in body["content"].items():
                    named = content.get("examples", {}).values()
                    for example in [each["value"] for each in named] or [content["example"]]:
                        with self.subTest(f"{method} {path} {media_type}"):
                            schema = {**content["schema"], "components": parts}
                            Draft202012Validator(schema).validate(example)

    def test_schemathesis_finds_nothing(self) -> None:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{self.url}/openapi.json"]

        result = subprocess.run(
            [*command, "--no-color"],
            cwd=ROOT,
            env={
                **os.environ,
                "ADMINISTRATOR": json.dumps(ADMINISTRATOR),
                "ADMINISTRATOR_TOKEN": self.sign_in(),
            },
            capture_output=True,
            text=True,
            timeout=600,
        )

        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"]:
            self.assertIn(f"✅ {phase}", result.stdout)
        print(result.stdout[result.stdout.index("SUMMARY") :])

    def sign_in(self) -> str:
        """Return a token of the administrator."""
        body = json.dumps(ADMINISTRATOR).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/auth/login", body, headers), timeout=30) as response:
            token: str = json.load(response)["auth_token"]
        return token

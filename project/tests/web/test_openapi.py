"""The API's description, against the application that it describes."""

import re
from collections.abc import Iterator
from inspect import getdoc
from io import BytesIO
from typing import Any

from flask import current_app
from pydantic import BaseModel

from project.api.auth.schemas import APIKeyCreate, Registration
from project.api.users import schemas
from project.tests.base import BaseTestCase
from project.web.contract import validate
from project.web.openapi import describe
from project.web.openapi.operations import find_operations
from project.web.openapi.responses import answer_to

EVERYWHERE = {"414", "431", "500", "502", "503", "504"}


class DescribeTests(BaseTestCase):
    """What is described."""

    def setUp(self) -> None:
        super().setUp()
        self.document = describe(current_app)
        self.operations: dict[str, dict[str, Any]] = {
            operation["operationId"]: operation
            for path in self.document["paths"].values()
            for operation in path.values()
        }

    def test_every_route_of_the_api_is_described(self):
        routes = {
            (re.sub(r"<(.+?)>", r"{\1}", rule.rule), method.lower())
            for rule in current_app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if "refuse " not in rule.endpoint and "//" not in rule.rule
            if rule.rule.startswith(
                ("/ping", "/users", "/groups", "/health", "/metrics", "/auth", "/audit", "/scim")
            )
        } - {("/auth/logout", "get")}

        described = {
            (path, method) for path, item in self.document["paths"].items() for method in item
        }
        self.assertEqual(described, routes)

    def test_every_operation_is_named_and_summed_up(self):
        self.assertEqual(len(self.operations), len(set(self.operations)))
        tags = {tag["name"]: tag["description"] for tag in self.document["tags"]}
        for name, operation in self.operations.items():
            with self.subTest(name):
                self.assertRegex(operation["summary"], r"^[A-Z][^`]*[^.`]$")
                self.assertRegex(operation["description"], r"^[A-Z`*]")
                self.assertTrue(operation["description"].endswith("."))
                self.assertNotIn(":raises", operation["description"])
                self.assertTrue(set(operation["tags"]) <= set(tags))
        self.assertEqual(self.operations["get_user"]["summary"], "Return one user")

    def test_every_status_is_described(self):
        writes = EVERYWHERE | {"429"}
        guarded = EVERYWHERE | {"401", "403"}
        changes = guarded | writes | {"200", "400", "404", "409", "412"}
        for name, statuses in {
            "ping": EVERYWHERE | {"200"},
            "live": EVERYWHERE | {"200"},
            "ready": EVERYWHERE | {"200"},
            "show_metrics": EVERYWHERE | {"200"},
            "list_users": guarded | {"200", "400"},
            "create_user": guarded | writes | {"201", "400", "408", "409", "413", "415", "422"},
            "export_users": guarded | {"200", "400"},
            "import_users": guarded | writes | {"200", "400", "408", "413", "415"},
            "get_user": guarded | {"200", "304", "400", "404"},
            "update_user": changes | {"408", "413", "415"},
            "replace_user": changes | {"408", "413", "415"},
            "delete_user": changes,
            "register": writes | {"201", "400", "403", "408", "413", "415"},
            "log_in": writes | {"200", "400", "401", "408", "413", "415"},
            "log_out": guarded | writes | {"200"},
            "get_status": guarded | {"200"},
            "change_password": guarded | writes | {"200", "400", "408", "413", "415"},
            "list_keys": guarded | {"200", "400", "404"},
            "create_key": guarded | writes | {"201", "400", "408", "409", "413", "415"},
            "update_key": guarded | writes | {"200", "400", "404", "408", "413", "415"},
            "list_events": guarded | {"200", "400"},
            "delete_key": guarded | writes | {"200", "400", "404"},
        }.items():
            with self.subTest(name):
                self.assertEqual(set(self.operations[name]["responses"]), statuses)

    def test_parameters_are_those_of_the_declarations(self):
        for name, expected in {
            "list_users": [
                *("limit", "cursor", "sort", "q"),
                *("email", "active", "role", "group", "ids", "total"),
            ],
            "create_user": ["Idempotency-Key"],
            "get_user": ["user_id", "If-None-Match"],
            "update_user": ["user_id", "If-Match"],
            "delete_user": ["user_id", "If-Match"],
        }.items():
            with self.subTest(name):
                found = [self.resolve(each) for each in self.operations[name]["parameters"]]

                self.assertEqual([parameter["name"] for parameter in found], expected)
                for parameter in found:
                    self.assertTrue(parameter["description"])

    def test_parameter_says_what_the_service_takes(self):
        found = {each["name"]: each for each in self.operations["list_users"]["parameters"]}

        self.assertEqual(
            found["limit"]["schema"], {"type": "integer", "minimum": 1, "maximum": 1000}
        )
        self.assertEqual(found["active"]["schema"], {"type": "boolean"})
        self.assertEqual(
            found["sort"]["schema"]["enum"],
            [
                *("id", "created_at", "username", "email", "last_sign_in_at"),
                *("-id", "-created_at", "-username", "-email", "-last_sign_in_at"),
            ],
        )
        self.assertIs(found["ids"]["explode"], True)
        self.assertEqual(found["ids"]["schema"]["maxItems"], 500)
        self.assertNotIn("null", str(found))

    def test_body_says_what_the_service_takes(self):
        patch = self.operations["update_user"]["requestBody"]
        content = patch["content"]["application/merge-patch+json"]
        body = self.resolve(content["schema"])

        self.assertTrue(patch["required"])
        self.assertEqual(
            list(body["properties"]),
            ["username", "email", "active", "password", "role", "current_password"],
        )
        self.assertIs(body["additionalProperties"], False)
        self.assertNotIn("required", body)
        self.assertEqual(body["properties"]["username"]["maxLength"], 128)
        self.assertNotIn("default", str(body))
        put = self.operations["replace_user"]["requestBody"]["content"]["application/json"]
        self.assertEqual(self.resolve(put["schema"])["required"], ["username", "email"])

    def test_what_nobody_need_sign_in_for_says_so(self):
        without = {name for name, each in self.operations.items() if each["security"] == []}

        self.assertEqual(without, {"ping", "live", "ready", "show_metrics", "register", "log_in"})

    def test_examples_of_bodies_are_accepted(self):
        bodies: dict[str, type[BaseModel]] = {
            "create_user": schemas.UserCreate,
            "update_user": schemas.UserUpdate,
            "replace_user": schemas.UserReplace,
            "register": Registration,
            "create_key": APIKeyCreate,
        }
        for name, schema in bodies.items():
            with self.subTest(name):
                for content in self.operations[name]["requestBody"]["content"].values():
                    validate(schema, content["example"])

    def test_answer_is_shown_in_its_envelope(self):
        created = self.operations["create_user"]["responses"]["201"]
        content = created["content"]["application/json"]

        self.assertEqual(content["example"]["status"], "success")
        self.assertEqual(content["example"]["message"], "ada@example.com was added!")
        self.assertEqual(list(content["example"]["data"]), list(schemas.UserRead.model_fields))
        self.assertEqual(content["schema"]["required"], ["status", "message", "data"])
        self.assertEqual(set(created["headers"]), {"ETag", "Location", "X-Request-ID"})

    def test_answer_leads_to_what_can_be_done_with_it(self):
        links = self.operations["create_user"]["responses"]["201"]["links"]

        self.assertEqual(set(links), {"get_user", "update_user", "replace_user", "delete_user"})
        for name, link in links.items():
            self.assertEqual(link["operationId"], name)
            self.assertEqual(link["parameters"], {"user_id": "$response.body#/data/id"})

    def test_files_are_described_with_the_fields_of_their_rows(self):
        answer = self.operations["export_users"]["responses"]["200"]["content"]
        header, row, _ = answer["text/csv"]["example"].split("\r\n")
        self.assertEqual(header.split(","), list(schemas.UserRead.model_fields))
        self.assertIn("ada@example.com", row.split(","))
        body = self.operations["import_users"]["requestBody"]["content"]
        (users,) = body["application/json"]["schema"]["properties"].values()
        self.assertEqual(users["items"], {"$ref": "#/components/schemas/UserImport"})
        binary = {"type": "string", "format": "binary"}
        self.assertEqual(body["application/octet-stream"]["schema"], binary)
        self.assertEqual(body["multipart/form-data"]["schema"]["properties"], {"file": binary})

    def test_files_that_are_examples_are_imported(self):
        body = self.operations["import_users"]["requestBody"]["content"]
        for media_type, content in body.items():
            example, sent = content["example"], dict[str, Any]()
            if media_type == "multipart/form-data":
                sent = {"data": {"file": (BytesIO(example["file"].encode()), "users.csv")}}
            else:
                text = example if isinstance(example, str) else current_app.json.dumps(example)
                sent = {"data": text.encode(), "content_type": media_type}
            with self.subTest(media_type):
                answer = self.client.post("/users/import?dry_run=true", **sent)

                self.assertEqual(answer.json["data"]["created"], 1, answer.json)

    def test_reason_of_the_view_stands_before_that_of_the_whole_service(self):
        answer = self.operations["log_in"]["responses"]["429"]

        self.assertEqual(
            answer["description"],
            "Too many attempts failed before. Too many writes from one address. Try again in a"
            " second.",
        )
        self.assertEqual(set(answer["headers"]), {"X-Request-ID", "Retry-After"})
        examples = answer["content"]["application/json"]["examples"]
        self.assertEqual([each["value"]["status"] for each in examples.values()], ["fail", "fail"])
        answer = self.operations["ready"]["responses"]["503"]
        content = answer["content"]["application/json"]
        self.assertEqual(content["schema"], {"$ref": "#/components/schemas/Error"})

    def test_error_is_described_by_its_reason_and_example(self):
        refused = self.operations["create_user"]["responses"]["400"]
        content = refused["content"]["application/json"]

        self.assertIn("Another user has this mailbox.", refused["description"])
        self.assertNotIn("(400)", refused["description"])
        taken = content["examples"]["Sorry. That email already exists."]["value"]
        self.assertEqual([problem["field"] for problem in taken["errors"]], ["email"])
        invalid = content["examples"]["Invalid payload."]["value"]
        self.assertEqual(
            [each["field"] for each in invalid["errors"]], ["username", "email", "role"]
        )
        self.assertEqual(content["schema"], {"$ref": "#/components/schemas/Fail"})

    def test_status_in_a_docstring_is_that_of_the_error(self):
        for operation in find_operations(current_app):
            answers = [answer_to(error, operation.form) for error, _reason in operation.raises]
            statuses = re.findall(r":raises .*?\((\d{3})\)\.$", getdoc(operation.view) or "", re.M)
            with self.subTest(operation.name):
                self.assertEqual(statuses, [str(each.status_code) for each in answers])

    def test_every_reference_leads_somewhere(self):
        references = list(self.references(self.document))

        self.assertGreater(len(references), 10)
        for reference in references:
            with self.subTest(reference):
                self.resolve({"$ref": reference})

    def references(self, node: Any) -> Iterator[str]:
        """Give every reference below a node."""
        if isinstance(node, dict):
            if str(node.get("$ref")).startswith("#"):  # SCIM has an attribute of this name
                yield node["$ref"]
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from self.references(each)

    def resolve(self, node: dict[str, Any]) -> Any:
        """Return what a node refers to, or the node itself."""
        found: Any = node
        if "$ref" in node:
            found = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
        return found

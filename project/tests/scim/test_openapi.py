"""SCIM in the API's description, against what the service takes and answers."""

import subprocess
import sys
from typing import Any

from flask import current_app

from project.api.scim import library, schemas
from project.tests.factories import make_user
from project.tests.scim.base import SCIMTestCase
from project.web.openapi import describe

MEDIA_TYPE = "application/scim+json"
EVERYWHERE = {"401", "403", "414", "431", "500", "502", "503", "504"}
WRITES = EVERYWHERE | {"400", "429"}
BODIES = WRITES | {"408", "409", "413", "415"}
CHANGES = BODIES | {"404", "412", "200"}
PYTHON_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str}
PYTHON_TYPES |= {"boolean": bool, "integer": int}
JSON_TYPES = {"boolean": "boolean", "complex": "object"}


class DescribeTests(SCIMTestCase):
    """The operations below /scim/v2 in GET /openapi.json."""

    def setUp(self) -> None:
        super().setUp()
        self.document = describe(current_app)
        self.operations: dict[str, dict[str, Any]] = {
            operation["operationId"]: operation
            for path, methods in self.document["paths"].items()
            if path.startswith("/scim/")
            for operation in methods.values()
        }

    def test_operations_have_names_and_a_tag_of_their_own(self):
        users, groups = (
            {
                f"scim_list_{kind}s",
                *(f"scim_{verb}_{kind}" for verb in ("create", "get", "replace")),
                *(f"scim_{verb}_{kind}" for verb in ("update", "delete")),
            }
            for kind in ("user", "group")
        )
        others = {"get_config", "list_resource_types", "get_resource_type"}
        others |= {"list_schemas", "get_schema"}

        self.assertEqual(set(self.operations), users | groups | {f"scim_{each}" for each in others})
        for name, operation in self.operations.items():
            with self.subTest(name):
                self.assertEqual(operation["tags"], ["scim"])
                self.assertEqual(operation["security"], [{"bearer": []}])
        (tag,) = [each for each in self.document["tags"] if each["name"] == "scim"]
        self.assertIn("RFC 7643", tag["description"])

    def test_every_status_is_described(self):
        for name, statuses in {
            "list_users": EVERYWHERE | {"200", "400", "501"},
            "list_groups": EVERYWHERE | {"200", "400", "501"},
            "create_user": BODIES | {"201"},
            "create_group": BODIES | {"201"},
            "get_user": EVERYWHERE | {"200", "304", "400", "404"},
            "get_group": EVERYWHERE | {"200", "304", "400", "404"},
            "replace_user": CHANGES,
            "update_user": CHANGES,
            "replace_group": CHANGES,
            "update_group": CHANGES | {"204"},
            "delete_user": WRITES | {"204", "404", "409", "412"},
            "delete_group": WRITES | {"204", "404", "412"},
            "get_config": EVERYWHERE | {"200"},
            "list_resource_types": EVERYWHERE | {"200"},
            "get_resource_type": EVERYWHERE | {"200", "404"},
            "list_schemas": EVERYWHERE | {"200"},
            "get_schema": EVERYWHERE | {"200", "404"},
        }.items():
            with self.subTest(name):
                self.assertEqual(set(self.operations[f"scim_{name}"]["responses"]), statuses)

    def test_parameters_are_what_the_service_reads(self):
        chosen = ["attributes", "excludedAttributes"]
        for name, expected in {
            "list_users": ["filter", "startIndex", "count", "cursor", *chosen],
            "list_groups": ["filter", "startIndex", "count", "cursor", *chosen],
            "create_user": chosen,
            "get_user": ["user_id", *chosen, "If-None-Match"],
            "replace_user": ["user_id", *chosen, "If-Match"],
            "update_group": ["group_id", *chosen, "If-Match"],
            "delete_group": ["group_id", "If-Match"],
            "get_config": [],
            "get_schema": ["urn"],
        }.items():
            with self.subTest(name):
                found = self.operations[f"scim_{name}"]["parameters"]

                names = [each.get("name") or each["$ref"].rpartition("/")[2] for each in found]
                self.assertEqual(names, expected)

    def test_errors_are_in_the_form_of_scim(self):
        for name, operation in self.operations.items():
            for status, answer in operation["responses"].items():
                if int(status) < 400:
                    continue
                with self.subTest(f"{name} {status}"):
                    found = self.resolve(answer)
                    content = found["content"][MEDIA_TYPE]
                    self.assertEqual(content["schema"], {"$ref": "#/components/schemas/SCIMError"})
                    for example in content["examples"].values():
                        self.assertEqual(example["value"]["status"], status)
                        self.check(content["schema"], example["value"])
        taken = self.operations["scim_create_group"]["responses"]["409"]
        (example,) = taken["content"][MEDIA_TYPE]["examples"].values()
        self.assertEqual(example["value"]["scimType"], "uniqueness")
        self.assertIn("displayName", example["value"]["detail"])
        missing = self.operations["scim_get_user"]["responses"]["401"]
        self.assertIn("Provide a valid auth token.", missing["content"][MEDIA_TYPE]["examples"])

    def test_examples_of_bodies_are_accepted_and_answered_as_described(self):
        user = self.send("scim_create_user", 201)["id"]
        self.send("scim_replace_user", 200, user_id=user)
        self.send("scim_update_user", 200, user_id=user)
        make_user()  # more ids, of which the examples of members are
        group = self.send("scim_create_group", 201)["id"]
        self.send("scim_replace_group", 200, group_id=group)
        self.send("scim_update_group", 200, group_id=group)
        self.send("scim_get_user", 200, user_id=user)
        self.send("scim_get_group", 200, group_id=group)
        for name in ("users", "groups", "resource_types", "schemas"):
            self.assertTrue(self.send(f"scim_list_{name}", 200)["Resources"])
        self.send("scim_get_config", 200)
        self.send("scim_get_resource_type", 200, name="User")
        self.send("scim_get_schema", 200, urn=schemas.USER)
        self.send("scim_delete_group", 204, group_id=group)

    def test_examples_of_answers_are_what_the_service_answers(self):
        config = self.operations["scim_get_config"]["responses"]["200"]["content"][MEDIA_TYPE]
        answer = self.call("GET", "/ServiceProviderConfig").json
        described = config["example"]

        for each in (answer, described):
            self.assertTrue(each["meta"].pop("location"))
        self.assertEqual(described, answer)

    def test_attributes_are_those_of_the_schemas(self):
        read, written = (
            self.document["components"]["schemas"][name]["properties"]
            for name in ("SCIMUser", "SCIMUserWrite")
        )
        for found, known in [
            (read, schemas.USER),
            (read[schemas.ENTERPRISE_USER]["properties"], schemas.ENTERPRISE_USER),
            (self.document["components"]["schemas"]["SCIMGroup"]["properties"], schemas.GROUP),
        ]:
            attributes = library.describe(known)["attributes"]
            self.compare(found, [each for each in attributes if each["name"] != "password"])
        extra = {"schemas", "id", "meta", "externalId", schemas.ENTERPRISE_USER}
        names = {each["name"] for each in library.describe(schemas.USER)["attributes"]}
        self.assertEqual(read.keys() - extra, names - {"password"})
        self.assertEqual(read.keys() - written.keys(), {"id", "meta", "groups"})

    def test_description_does_without_the_library(self):
        program = (
            "import sys; from project import create_app; from project.web.openapi import describe\n"
            "app = create_app('project.config.TestingConfig')\n"
            "with app.app_context(): describe(app)\n"
            "sys.exit('scim2_models' in sys.modules)"
        )

        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def compare(self, found: dict[str, Any], attributes: list[dict[str, Any]]) -> None:
        """Check that properties have the names and types of the attributes of a schema."""
        for attribute in attributes:
            with self.subTest(attribute["name"]):
                schema = found[attribute["name"]]
                if attribute["multiValued"]:
                    self.assertEqual(schema["type"], "array")
                    schema = schema["items"]
                self.assertEqual(schema["type"], JSON_TYPES.get(attribute["type"], "string"))
                if parts := attribute.get("subAttributes"):
                    self.assertEqual(set(schema["properties"]), {each["name"] for each in parts})
                    self.compare(schema["properties"], parts)

    def send(self, name: str, status: int, /, **arguments: str) -> Any:
        """Send an operation with its example; return the answer, which must be as described."""
        (path, method), operation = next(
            ((path, method), operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if operation["operationId"] == name
        )
        body = None
        if "requestBody" in operation:
            contents = operation["requestBody"]["content"]
            self.assertEqual(list(contents), [MEDIA_TYPE, "application/json"])
            body = contents[MEDIA_TYPE]["example"]
            self.check(contents[MEDIA_TYPE]["schema"], body)
        answer = self.call(method.upper(), path.format(**arguments)[len("/scim/v2") :], body)
        described = operation["responses"][str(status)]

        self.assertEqual(answer.status_code, status, answer.text)
        self.assertEqual("ETag" in answer.headers, "ETag" in described["headers"])
        self.assertEqual("Location" in answer.headers, "Location" in described["headers"])
        if status == 204:
            self.assertNotIn("content", described)
            return None
        content = described["content"][answer.content_type]
        self.check(content["schema"], answer.json)
        self.check(content["schema"], content["example"])
        if name in ("scim_create_user", "scim_create_group"):
            self.assertLessEqual(answer.json.keys(), content["example"].keys())
        return answer.json

    def check(self, schema: dict[str, Any], value: Any) -> None:
        """Check the types and required names of a value; ``make test-openapi`` checks all else."""
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "type" in schema:
            self.assertIsInstance(value, PYTHON_TYPES[schema["type"]])
        if isinstance(value, list):
            for each in value:
                self.check(schema["items"], each)
        elif isinstance(value, dict):
            self.assertLessEqual({*schema.get("required", ())}, value.keys())
            for name, part in schema.get("properties", {}).items():
                if name in value:
                    self.check(part, value[name])

    def resolve(self, answer: dict[str, Any]) -> Any:
        """Return an answer, or the one to which it refers."""
        if "$ref" not in answer:
            return answer
        return self.document["components"]["responses"][answer["$ref"].rpartition("/")[2]]

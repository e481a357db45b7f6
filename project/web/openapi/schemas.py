"""The JSON schemas of requests and responses, generated from the pydantic models."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import (
    GenerateJsonSchema,
    JsonSchemaMode,
    JsonSchemaValue,
    models_json_schema,
)
from pydantic_core import core_schema

from project.web.openapi.operations import Operation


class Generator(GenerateJsonSchema):
    """Generates the schema of what a client may send.

    Defaults appear in descriptions only, since Swagger UI would send them. A field that may be None
    may be omitted; a client cannot send None.
    """

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Omit the default."""
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Omit null, except in responses."""
        if self.mode == "serialization":
            return super().nullable_schema(schema)
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Omit titles: they would repeat the names."""
        return False


def describe_models(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the schemas of all request bodies, responses and rows of bodies, by name."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for operation in operations:
        if operation.contract.body:
            models[operation.contract.body, "validation"] = None
        if operation.contract.data:
            models[operation.contract.data, "serialization"] = None
        if operation.contract.row and operation.contract.body_types:  # as JSON, too
            models[operation.contract.row, "validation"] = None
    _, found = models_json_schema(
        list(models), ref_template=reference("{model}")["$ref"], schema_generator=Generator
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def reference(name: str) -> dict[str, str]:
    """Return a reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def example_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the first example of each field that has one."""
    fields = schema["properties"].items()
    return {name: field["examples"][0] for name, field in fields if "examples" in field}

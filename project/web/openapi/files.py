"""Describes files, as bodies and as responses: a schema and an example for each media type.

The example has one row, made of the examples in the schema of a row.
"""

import csv
import io
import json
from typing import Any

from project.web.contract import Contract
from project.web.openapi.schemas import example_of, reference

Json = dict[str, Any]

_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}
_SHEET = (_BYTES, "PK…")


def describe_files(contract: Contract, models: Json) -> Json:
    """Return the ``content`` of the file that an operation takes or sends."""
    types = contract.body_types or contract.answer_types
    if contract.row is None:
        return {media_type: {"schema": _TEXT, "example": contract.example} for media_type in types}
    name, rows = contract.row.__name__, contract.rows_name
    row = example_of(models.get(name) or contract.row.model_json_schema(mode="serialization"))
    table = _csv(row)
    forms: dict[str, tuple[Json, Any]] = {
        "text/csv": (_TEXT, table),
        "application/x-ndjson": (_TEXT, f"{json.dumps(row)}\n"),
        # Not an array, which makes the functions of openapi-python-client fail.
        "application/json": (
            _object(rows, {"type": "array", "items": reference(name)}),
            {rows: [row]},
        ),
        "application/octet-stream": (_BYTES, table),
        "multipart/form-data": (_object("file", _BYTES), {"file": table}),
    }
    return {
        media_type: dict(zip(("schema", "example"), forms.get(media_type, _SHEET), strict=True))
        for media_type in types
    }


def _csv(row: Json) -> str:
    text = io.StringIO()
    cells = [json.dumps(each) if isinstance(each, bool) else each for each in row.values()]
    csv.writer(text).writerows([row, cells])
    return text.getvalue()


def _object(name: str, schema: Json) -> Json:
    return {"type": "object", "properties": {name: schema}, "required": [name]}

"""What a user is: each list follows from the model's columns and the schemas' fields.

Whoever adds a field adds a column to ``User``, and the field to the schemas that take or show it;
JSON, CSV, exports, imports, the trail and the rows that writes ask for follow from here.
"""

from collections import namedtuple
from typing import Any

from project.api.users.models import FOLDED, User
from project.api.users.schemas import UserImport, UserRead, UserUpdate
from project.database.rendering import csv_line, json_object

COLUMNS = User.__table__.c

SHOWN = tuple(UserRead.model_fields)
"""What clients see, in this order."""

RECORDED = tuple(name for name in UserUpdate.model_fields if name in COLUMNS)
"""What may be changed, and what the trail therefore records."""

IMPORTED = tuple(name for name in UserImport.model_fields if name in RECORDED)
"""What a row of an import may change."""

STORED = tuple(dict.fromkeys([*SHOWN, *RECORDED, "version", "password_version"]))
"""What a write asks of a user's row."""

_stored = namedtuple("_stored", STORED)  # type: ignore[misc]
StoredUser: Any = _stored
"""A user as a write has left the row."""

JSON = json_object([COLUMNS[name] for name in SHOWN]).label("json")
CSV = csv_line([COLUMNS[name] for name in SHOWN]).label("csv")

DEFAULTS: dict[str, Any] = {
    name: column.default.arg if (column := COLUMNS[name]).default is not None else None
    for name in STORED
    if name not in {"id", "version", "created_at", "updated_at"}
}
"""What a new user has where nobody says otherwise."""


def with_folded(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, with the folded forms that follow from them."""
    folded = dict(values)
    for name, (column, fold) in FOLDED.items():
        if name in values:
            folded[column] = fold(values[name])
    return folded

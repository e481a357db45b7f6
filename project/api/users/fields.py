"""The lists of a user's fields, all derived from the model's columns and the schemas' fields.

To add a field, add a column to ``User`` and the field to the schemas that accept or return it.
JSON, CSV, exports, imports, the audit trail and the rows that writes return follow from these
lists.
"""

from collections import namedtuple
from typing import Any

from project.api.users.models import FOLDED, User
from project.api.users.schemas import UserImport, UserRead, UserUpdate
from project.database.rendering import joined, json_object

COLUMNS = User.__table__.c

SHOWN = tuple(UserRead.model_fields)
"""The fields that clients see, in this order."""

RECORDED = tuple(name for name in UserUpdate.model_fields if name in COLUMNS)
"""The fields that can be changed and are therefore recorded in the audit trail."""

IMPORTED = tuple(name for name in UserImport.model_fields if name in RECORDED)
"""The fields that an import may change."""

STORED = tuple(dict.fromkeys([*SHOWN, *RECORDED, "version", "password_version"]))
"""The columns that a write reads from a user's row."""

_StoredUser = namedtuple("StoredUser", STORED)  # type: ignore[misc]
StoredUser: Any = _StoredUser
"""A user's row after a write."""

JSON = json_object([COLUMNS[name] for name in SHOWN]).label("json")

LISTED = joined(
    [
        COLUMNS[name]
        for name in ("id", "created_at", "role", "active", "last_sign_in_at", "email", "username")
    ]
).label("listed")
"""What the page's list shows of a user."""

DEFAULTS: dict[str, Any] = {
    name: column.default.arg if (column := COLUMNS[name]).default is not None else None
    for name in STORED
    if name not in {"id", "version", "created_at", "updated_at"}
}
"""The values of a new user's fields, unless given."""


def with_folded(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values together with their folded forms."""
    folded = dict(values)
    for name, (column, fold) in FOLDED.items():
        if name in values:
            folded[column] = fold(values[name])
    return folded

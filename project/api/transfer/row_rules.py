"""Validates a row of an import by the rules of ``UserImport``."""

import re
from contextlib import suppress
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from project.api.users.folding import is_simple_email
from project.api.users.schemas import UserImport
from project.errors import FieldError, Invalid
from project.web.contract import validate
from project.web.fields import is_simple_text, read_id

REQUIRED = tuple(name for name, field in UserImport.model_fields.items() if field.is_required())
OPTIONAL = tuple(name for name in UserImport.model_fields if name not in REQUIRED)
ONLY_BY_ADMINISTRATORS = ("role",)

_READERS = {
    name: TypeAdapter(kind).validate_python
    for name, kind in get_type_hints(UserImport, include_extras=True).items()
    if name in OPTIONAL
}


def optional_columns(by_admin: bool) -> tuple[str, ...]:
    """Return the optional columns of an import.

    :param by_admin: whether the caller is an administrator; other callers cannot import roles.
    """
    return tuple(name for name in OPTIONAL if by_admin or name not in ONLY_BY_ADMINISTRATORS)


def read_row(values: dict[str, Any]) -> dict[str, Any]:
    """Return a row's validated values, by field.

    Most rows are simple and pass a fast check, which takes a tenth of the schema's time.

    :raises Invalid: a value violates a rule; ``errors`` lists each (400).
    """
    username, email = values.get("username"), values.get("email")
    if is_simple_text(username) and is_simple_email(email):
        row: dict[str, Any] = {"username": username, "email": email}
        with suppress(ValidationError):  # below, the schema lists all errors
            return row | {
                name: read(values[name]) for name, read in _READERS.items() if name in values
            }
    return validate(UserImport, values).model_dump(exclude_unset=True)


def read_user_id(values: dict[str, Any]) -> int | None:
    """Return the user's id in a row; None: the row has none.

    :raises Invalid: it is not a positive decimal integer (400).
    """
    if "id" not in values:
        return None
    text = str(values["id"])
    if re.fullmatch(r"0*[1-9][0-9]*", text) is None:
        raise Invalid(errors=[FieldError("id", "Must be a positive integer.")])
    return read_id(text)

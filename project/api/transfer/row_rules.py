"""What a row of an import may say, checked by the rules of ``UserImport``."""

import re
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
    """Return what a row may say beside what it must.

    :param by_admin: whether an administrator imports; from others no role is taken.
    """
    return tuple(name for name in OPTIONAL if by_admin or name not in ONLY_BY_ADMINISTRATORS)


def read_row(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a row says, by field.

    Most rows are plain and known at a glance to be right, in a tenth of the time that the schema
    takes.

    :raises Invalid: a value breaks a rule; ``errors`` names each (400).
    """
    username, email = values.get("username"), values.get("email")
    if is_simple_text(username) and is_simple_email(email):
        row: dict[str, Any] = {"username": username, "email": email}
        try:
            return row | {
                name: read(values[name]) for name, read in _READERS.items() if name in values
            }
        except ValidationError:
            pass  # below, all that is wrong is named
    return validate(UserImport, values).model_dump(exclude_unset=True)


def read_user_id(values: dict[str, Any]) -> int | None:
    """Return the id of the user whom a row is about; None: it does not say.

    :raises Invalid: it is no positive decimal integer (400).
    """
    if "id" not in values:
        return None
    text = str(values["id"])
    if re.fullmatch(r"0*[1-9][0-9]*", text) is None:
        raise Invalid(errors=[FieldError("id", "Must be a whole number above 0.")])
    return read_id(text)

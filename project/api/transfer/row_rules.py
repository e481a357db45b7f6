"""Validates a row of an import by the rules of ``UserImport``."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from project.api.transfer.cells import is_empty, read_flag, read_moment
from project.api.users.folding import is_simple_email
from project.api.users.schemas import UserImport
from project.errors import FieldError, Invalid, Message, error_text, joined
from project.web.contract import message_of, validate
from project.web.fields import is_simple_text, read_id

REQUIRED = tuple(name for name, field in UserImport.model_fields.items() if field.is_required())
OPTIONAL = tuple(name for name in UserImport.model_fields if name not in REQUIRED)
ONLY_BY_ADMINISTRATORS = ("role", "password_hash")
SECRET = ("password_hash",)
LONGEST_QUOTE = 40


def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return the function that reads a field of this type; it raises ValueError."""
    readers: dict[Any, Callable[[Any], Any]] = {bool: read_flag, datetime: read_moment}
    return readers.get(kind) or TypeAdapter(kind).validate_python


_READERS = {
    name: _reader(kind)
    for name, kind in get_type_hints(UserImport, include_extras=True).items()
    if name in OPTIONAL
}


def _accepts_null(read: Callable[[Any], Any]) -> bool:
    try:
        read(None)
    except ValueError:
        return False
    return True


_NULLABLE = {name for name, read in _READERS.items() if _accepts_null(read)}


def importable_fields(by_admin: bool, with_id: bool) -> tuple[str, ...]:
    """Return the fields that an import reads.

    :param by_admin: whether the caller is an administrator; other callers cannot import roles.
    :param with_id: whether users are found by their id.
    """
    optional = (name for name in OPTIONAL if by_admin or name not in ONLY_BY_ADMINISTRATORS)
    return (*REQUIRED, *optional, *(("id",) if with_id else ()))


def read_row(values: dict[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return a row's validated values, by field, and a warning for each that was left out.

    Most rows are simple and pass a fast check, which takes a tenth of the schema's time.

    :raises Invalid: a required value violates a rule; ``errors`` lists each (400).
    """
    username, email = values.get("username"), values.get("email")
    if is_simple_text(username) and is_simple_email(email):
        row: dict[str, Any] = {"username": username, "email": email}
    else:
        row = _validated(_texts(values))
    warnings: list[FieldError] = []
    for name, read in _READERS.items():
        value = values.get(name)
        if is_empty(value) and not (value is None and name in values and name in _NULLABLE):
            continue
        try:
            row[name] = read(value)
        except ValueError as error:
            reason = joined([_sentence(error)])
            if name in SECRET:
                text = Message("The value was left out. %(reason)s", reason=reason)
            else:
                text = Message(
                    "%(value)s was left out. %(reason)s", value=_quoted(value), reason=reason
                )
            warnings.append(FieldError(name, text))
    return row, warnings


def _validated(texts: dict[str, str]) -> dict[str, Any]:
    """Return the required values.

    :raises Invalid: one violates a rule; ``errors`` lists each, with the value (400).
    """
    try:
        return validate(UserImport, texts).model_dump(exclude_unset=True)
    except Invalid as error:
        raise Invalid(
            errors=[
                FieldError(
                    each.field,
                    Message(
                        "%(value)s was refused. %(reason)s",
                        value=_quoted(texts[each.field]),
                        reason=joined([each.message]),
                    ),
                )
                if texts[each.field]
                else each
                for each in error.errors
            ]
        ) from error


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Return the required values.

    :raises Invalid: one is missing or no text; ``errors`` lists each (400).
    """
    required = {name: values.get(name) for name in REQUIRED}
    problems = [
        FieldError(
            name,
            Message("Is missing.")
            if value is None
            else Message("%(value)s is no text.", value=_quoted(value)),
        )
        for name, value in required.items()
        if not isinstance(value, str)
    ]
    if problems:
        raise Invalid(errors=problems)
    return required  # type: ignore[return-value]


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    shown = text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"
    return f"\u201c{shown if shown.isprintable() else ascii(shown)}\u201d"


def _sentence(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return message_of(error.errors(include_url=False, include_input=False)[0])
    return error_text(error)


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

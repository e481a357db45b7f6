"""The types that the forms and schemas of several features share."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from project.errors import Invalid

TEXT_LENGTH = 128
# What bytes that are not UTF-8 become in a form of parts, before anything here sees them.
UNREADABLE = "\ufffd"
# Embeddings, overrides and isolates (UAX #9): with one, a text reads as another, and so may what
# stands behind it.
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class WrongId(Invalid):
    """What stands in the path is no id."""

    message = "Param id error"


def parse_id(text: str) -> int:
    """Read an id from a path.

    A ``<int:>`` route would answer 404 where the first API answers 400.

    :raises WrongId: the text is no ASCII decimal integer (400).
    """
    if not re.fullmatch(r"-?[0-9]+", text):
        raise WrongId
    return read_id(text)


def read_id(digits: str) -> int:
    """Read a decimal integer; one of more digits than any id has becomes 0, which is no row's."""
    significant = digits.lstrip("-0")  # int() refuses more than 4,300 digits, zeros too
    number = int(significant or 0) if len(significant) <= 10 else 0
    return -number if digits.startswith("-") else number


def is_plain_text(text: object) -> TypeGuard[str]:
    """Say whether a text is certainly right.

    What can be printed is no control character, no surrogate and changes no direction, and other
    than U+0020 it is no space.
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= TEXT_LENGTH
        and text.isprintable()
        and UNREADABLE not in text
        and not text.isspace()
    )


def read_time(text: Any, *, message: str, first_year: int = 1) -> datetime:
    """Read an ISO 8601 date or time as UTC, in whole seconds; one without a zone is UTC.

    :param message: what a client is answered that sends anything else.
    :param first_year: an earlier time is refused too.
    :raises PydanticCustomError: a validator of pydantic raises it.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        if moment.year < first_year:
            raise ValueError(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise PydanticCustomError("time", message) from error
    return moment.replace(microsecond=0)


def _check_text(text: str) -> str:
    if is_plain_text(text):
        return text
    if len(text) > TEXT_LENGTH:
        raise PydanticCustomError(
            "too_long",
            "Must have at most {limit} characters; this has {length}.",
            {"limit": TEXT_LENGTH, "length": len(text)},
        )
    categories = {unicodedata.category(character) for character in text}
    if categories & {"Cc", "Cs"}:
        raise PydanticCustomError("control", "Must not contain control characters.")
    if DIRECTIONS.intersection(text):
        raise PydanticCustomError(
            "direction", "Must not contain characters that change the direction of the text."
        )
    if UNREADABLE in text:
        raise PydanticCustomError(
            "unreadable", "Must not contain U+FFFD, which stands for what was not valid UTF-8."
        )
    if all(category[0] in "ZC" for category in categories):
        raise PydanticCustomError("blank", "Must not be blank.")
    return text


def _read_flag(text: Any) -> Any:
    if text not in ("true", "false"):
        raise PydanticCustomError("flag", "Must be true or false.")
    return text == "true"


def _read_user(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise PydanticCustomError("user", "Must be a user's id.")
    return int(text)


# The rules of a text for the API's description, as far as JSON Schema can say them.
_NOT_IN_TEXT = r"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd"
_TEXT_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "maxLength": TEXT_LENGTH,
    "pattern": rf"^[^{_NOT_IN_TEXT}]*[^\s{_NOT_IN_TEXT}][^{_NOT_IN_TEXT}]*$",
    "description": "Any text that is not blank, without control characters, those that change the"
    " direction of text (U+202A to U+202E, U+2066 to U+2069) and U+FFFD.",
    "examples": ["Ada Lovelace"],
}

Text = Annotated[str, Field(strict=True), AfterValidator(_check_text), WithJsonSchema(_TEXT_SCHEMA)]
Moment = Annotated[datetime, Field(examples=["2026-11-23T15:12:58Z"])]
Flag = Annotated[bool, BeforeValidator(_read_flag)]
"""True or false in a query string."""
AnyUserId = Annotated[
    int,
    BeforeValidator(_read_user),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 9_999_999_999}),
]
"""A user's id in a query string, whether or not there is such a user."""

"""Types that the forms and schemas of several features share."""

import re
import unicodedata
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from project.errors import Invalid, Message

TEXT_LENGTH = 128
# Werkzeug replaces invalid UTF-8 in a multipart form with this.
UNREADABLE = "\ufffd"
# Embeddings, overrides and isolates (UAX #9): each can make a text, and what follows it, look like
# another.
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class WrongId(Invalid):
    """The id in the path is invalid (400)."""

    message = "Param id error"


def parse_id(text: str) -> int:
    """Parse an id from a path.

    A ``<int:>`` route would respond with 404 where the first API responds with 400.

    :raises WrongId: the text is not an ASCII decimal integer (400).
    """
    if not re.fullmatch(r"-?[0-9]+", text):
        raise WrongId
    return read_id(text)


def read_id(digits: str) -> int:
    """Parse a decimal integer; one with more digits than any id becomes 0, which no row has."""
    significant = digits.lstrip("-0")  # int() refuses more than 4,300 digits, zeros included
    number = int(significant or 0) if len(significant) <= 10 else 0
    return -number if digits.startswith("-") else number


def is_simple_text(text: object, limit: int = TEXT_LENGTH) -> TypeGuard[str]:
    """Return whether a text is valid at first sight; any other must be checked in detail.

    Printable characters include no control characters, surrogates or characters that change the
    direction, and no space but U+0020.
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= limit
        and text.isprintable()
        and UNREADABLE not in text
        and not text.isspace()
    )


def read_time(text: Any, *, message: str, first_year: int = 1) -> datetime:
    """Parse an ISO 8601 date or time as naive UTC in whole seconds; one without a zone is UTC.

    :param message: the client's message for anything else.
    :param first_year: the earliest year that is accepted.
    :raises PydanticCustomError: the value is not such a time; for use in a pydantic validator.
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


def _check_text(text: str, limit: int = TEXT_LENGTH) -> str:
    if is_simple_text(text, limit):
        return text
    if len(text) > limit:
        raise PydanticCustomError(
            "too_long",
            "{reason}",
            {
                "reason": Message(
                    "Must have at most %(limit)s characters; this has %(length)s.",
                    limit=limit,
                    length=len(text),
                )
            },
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
            "unreadable", "Must not contain U+FFFD, the replacement for invalid UTF-8."
        )
    if all(category[0] in "ZC" for category in categories):
        raise PydanticCustomError("blank", "Must not be blank.")
    return text


def _read_flag(text: Any) -> Any:
    if text not in ("true", "false"):
        raise PydanticCustomError("flag", "Must be true or false.")
    return text == "true"


def _read_count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise PydanticCustomError("count", "Must be an integer, 0 or more.")
    return int(text)


def _read_user(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise PydanticCustomError("user", "Must be a user's id.")
    return int(text)


def _read_group(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise PydanticCustomError("group", "Must be a group's id.")
    return int(text)


# The rules for a text in the API's description, as far as JSON Schema can express them.
_NOT_IN_TEXT = r"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd"
_TEXT_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "maxLength": TEXT_LENGTH,
    "pattern": rf"^[^{_NOT_IN_TEXT}]*[^\s{_NOT_IN_TEXT}][^{_NOT_IN_TEXT}]*$",
    "description": "Any text that is not blank and has no control characters, no characters that"
    " change the direction of text (U+202A to U+202E, U+2066 to U+2069) and no U+FFFD.",
    "examples": ["Ada Lovelace"],
}

Text = Annotated[str, Field(strict=True), AfterValidator(_check_text), WithJsonSchema(_TEXT_SCHEMA)]


def text_check(limit: int) -> AfterValidator:
    """Return the check of a text by the rules of ``Text``, with another limit of characters."""
    return AfterValidator(partial(_check_text, limit=limit))


def text_schema(limit: int, example: str) -> dict[str, Any]:
    """Return the JSON schema of a text that ``text_check`` checks."""
    return {**_TEXT_SCHEMA, "maxLength": limit, "examples": [example]}


Moment = Annotated[datetime, Field(examples=["2026-11-23T15:12:58Z"])]
REPEATABLE = object()
"""In the metadata of a list in a query string: the parameter may occur several times."""

Flag = Annotated[bool, BeforeValidator(_read_flag)]
"""True or false in a query string."""
Count = Annotated[
    int,
    BeforeValidator(_read_count),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 9_999_999_999}),
]
"""How many, in a query string."""
AnyUserId = Annotated[
    int,
    BeforeValidator(_read_user),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 9_999_999_999}),
]
"""A user's id in a query string; the user need not exist."""
AnyGroupId = Annotated[
    int,
    BeforeValidator(_read_group),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 9_999_999_999}),
]
"""A group's id in a query string; the group need not exist."""

"""The errors of the domain.

AppError
├── Unauthenticated     the client's credentials are invalid
├── Forbidden           the client does not have permission
├── Invalid             the input is invalid
├── NotFound            the object does not exist
├── Conflict            the request conflicts with the current state or with another request
├── TooManyRequests     the client has to wait
├── PreconditionFailed  the object has changed since the client read it
├── TooLarge            the input exceeds a limit
├── UnsupportedInput    the input has an unsupported media type or encoding
├── Unprocessable       the input contradicts an earlier request
├── StorageFull         the service has no room for the input
└── Unavailable         the service is temporarily unavailable
    └── OutcomeUnknown  a change may or may not have been saved

They may be raised anywhere. ``project.web.error_handlers`` renders them and maps each kind to its
status. Features derive their own errors from these. Knows no HTTP.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


class Message(str):
    """A sentence that contains values. Pages show it in the person's language.

    As a text, it is the English sentence; sentences without values need no ``Message``.

    :param template: the sentence with placeholders such as ``%(limit)s``: its key in the
        catalogues.
    :param values: the values by name; a ``Message`` among them is translated too.
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> "Message":
        """Put the values into the sentence."""
        message = super().__new__(cls, template % values if values else template)
        message.template, message.values = template, values
        return message


def error_text(error: Exception) -> str:
    """Return the sentence with which an error was raised, a ``Message`` as it is."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Message) else str(error)


def joined(sentences: Iterable[str]) -> str:
    """Return sentences as one text, each of which pages translate."""
    parts = [each if isinstance(each, Message) else Message(each) for each in sentences]
    if len(parts) == 1:
        return parts[0]
    values = {f"part_{place}": part for place, part in enumerate(parts)}
    template = " ".join(f"%({name})s" for name in values)
    return Message(template, **values)


@dataclass(frozen=True)
class FieldError:
    """An error in one field of the input.

    :param field: the field's name as the client knows it.
    :param message: a full sentence for people.
    """

    field: str
    message: str


class AppError(Exception):
    """The base of all errors that clients see.

    :param message: overrides the class's message.
    :param errors: the errors of single fields; empty if the error concerns no field.
    """

    message: str

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        self.message = message or type(self).message
        self.errors = tuple(errors)
        super().__init__(self.message)


class Unauthenticated(AppError):
    """The client's credentials are invalid."""

    message = "Invalid token. Please log in again."


class Forbidden(AppError):
    """The client does not have permission."""

    message = "You do not have permission to do that."


class Invalid(AppError):
    """The input is invalid."""

    message = "Invalid payload."


class NotFound(AppError):
    """The object does not exist."""

    message = "Not found."


class Conflict(AppError):
    """The request conflicts with the current state or with another request; retrying may help."""

    message = "The request conflicts with another one in progress. Try again later."


class TooManyRequests(AppError):
    """The client has to wait.

    :param retry_after: the number of seconds.
    """

    reason = "Too many requests."
    """What pages show, with the time to wait."""
    message = f"{reason} Try again later."
    field = "email"
    """The form field that shows the message."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class PreconditionFailed(AppError):
    """The object has changed since the client read it."""

    message = "It has changed in the meantime. Reload it before you change it."


class TooLarge(AppError):
    """The input exceeds a limit."""

    message = "The data is too large."


class UnsupportedInput(AppError):
    """The input has an unsupported media type or encoding."""

    message = "The body must be application/json."


class Unprocessable(AppError):
    """The input is well-formed but contradicts an earlier request."""

    message = "The request contradicts an earlier one."


class StorageFull(AppError):
    """The service has no room for the input."""

    message = "The server has no room for this file, so nothing was stored. Tell whoever runs it."


class Unavailable(AppError):
    """The service is temporarily unavailable; the same request may succeed later."""

    message = "The service is not available at the moment. Please try again."


class OutcomeUnknown(Unavailable):
    """The connection to the database was lost while a change was being saved."""

    message = (
        "The database connection was lost while the change was being saved."
        " It may or may not have been saved; check before you send it again."
    )

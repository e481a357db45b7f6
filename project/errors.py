"""What can go wrong, in the service's own words.

AppError
├── Unauthenticated     who the client says it is cannot be believed
├── Forbidden           the client may not do that
├── Invalid             what the client sent cannot be accepted
├── NotFound            what the client asked for does not exist
├── Conflict            what the client asked for cannot be done beside something else
├── TooManyRequests     the client has to wait
├── PreconditionFailed  what the client wants to change is not what it was when the client looked
├── TooLarge            what the client sent is more than is taken
├── UnsupportedInput    what the client sent is in no form that can be read here
├── Unprocessable       what the client sent contradicts what it sent before
└── Unavailable         what the service needs is not there at the moment
    └── OutcomeUnknown  a change may or may not have been saved

Raised anywhere, rendered once: ``project.web.error_handlers`` gives each kind its status. Features
derive their own errors from these. Nothing here knows HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of the input.

    :param field: the field's name as the client wrote it.
    :param message: a full sentence for the person who reads it.
    """

    field: str
    message: str


class AppError(Exception):
    """The base of all errors that a client is told about.

    :param message: overrides the class's message.
    :param errors: what is wrong, field by field; empty when no field is to blame.
    """

    message: str

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        self.message = message or type(self).message
        self.errors = tuple(errors)
        super().__init__(self.message)


class Unauthenticated(AppError):
    """Who the client says it is cannot be believed."""

    message = "Invalid token. Please log in again."


class Forbidden(AppError):
    """The client may not do that."""

    message = "You do not have permission to do that."


class Invalid(AppError):
    """What the client sent cannot be accepted."""

    message = "Invalid payload."


class NotFound(AppError):
    """What the client asked for does not exist."""

    message = "Not found."


class Conflict(AppError):
    """What the client asked for cannot be done beside something else; it may work later."""

    message = "Something else is being done at the moment. Send it again later."


class TooManyRequests(AppError):
    """The client has to wait.

    :param retry_after: for how many seconds.
    """

    message = "Too many requests. Try again later."
    field = "email"
    """Beside which field of a form it is said."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class PreconditionFailed(AppError):
    """What the client wants to change is not what it was when the client looked."""

    message = "It was changed meanwhile. Look at it again before you change it."


class TooLarge(AppError):
    """What the client sent is more than is taken."""

    message = "The data is too large."


class UnsupportedInput(AppError):
    """What the client sent is in no form that can be read here."""

    message = "The body must be application/json."


class Unprocessable(AppError):
    """What the client sent is well-formed, but contradicts what it sent before."""

    message = "This contradicts an earlier request."


class Unavailable(AppError):
    """What the service needs is not there at the moment; the same request may work later."""

    message = "The service is not available at the moment. Please try again."


class OutcomeUnknown(Unavailable):
    """The connection to the database was lost while a change was being saved."""

    message = (
        "The connection to the database was lost while the change was being saved."
        " Whether it was saved is unknown; look before you send it again."
    )

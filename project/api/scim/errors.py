"""Errors of SCIM, and their form (RFC 7644 section 3.12)."""

from typing import Any

from flask import Response

from project.api.scim.responses import respond
from project.errors import AppError, Conflict, Invalid, Message, NotFound, TooLarge
from project.web.error_handlers import Failure
from project.web.guard import MissingCredentials

SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
MAX_CHARACTERS = 1000


class InvalidRequest(Invalid):
    """The request is wrong in a way that has a keyword of RFC 7644, table 9 (400).

    :param detail: what is wrong; a ``Message`` if it contains what was sent.
    """

    def __init__(self, scim_type: str, detail: str) -> None:
        super().__init__(detail)
        self.scim_type = scim_type


class Taken(Conflict):
    """Another user has this value of a unique attribute (409)."""

    scim_type = "uniqueness"
    kind = "user"

    def __init__(self, attribute: str = "userName", value: str = "ada@example.com") -> None:
        detail = Message(f"{attribute}: Another {self.kind} has %(value)s.", value=repr(value))
        super().__init__(detail)


class DisplayNameTaken(Taken):
    """Another group has this displayName (409)."""

    kind = "group"

    def __init__(self, value: str = "Research") -> None:
        super().__init__("displayName", value)


class ResourceNotFound(NotFound):
    """No resource of this type has this id (404)."""

    def __init__(self, kind: str = "resource") -> None:
        super().__init__(f"There is no {kind} with this id.")


class NotSupported(Invalid):
    """The request asks for what ``/ServiceProviderConfig`` declares as not supported (501)."""

    scim_type = None
    message = "This is not supported; see /ServiceProviderConfig."


class TooManyAttributes(TooLarge):
    """A user's attributes are too large to be kept (413)."""

    message = "The attributes of one user are too large."


def render(failure: Failure) -> Response:
    """Render an error in the form of SCIM."""
    error: Any = failure.error
    status = _STATUS.get(type(error), failure.status)
    return render_error(status, _detail(failure), getattr(error, "scim_type", _scim_type(error)))


def render_error(status: int, detail: str, scim_type: str | None = None) -> Response:
    """Return the response to a request that failed."""
    body = {"schemas": [SCHEMA], "status": str(status), "detail": detail[:MAX_CHARACTERS]}
    if scim_type is not None:
        body["scimType"] = scim_type
    return respond(body, status)


_STATUS = {
    MissingCredentials: 401,  # RFC 6750 section 3.1; the first API answers 403
    NotSupported: 501,  # no failure of the service, as which it would be counted
}


def _scim_type(error: Exception) -> str | None:
    return "invalidSyntax" if isinstance(error, Invalid) else None


def _detail(failure: Failure) -> str:
    sentences = [failure.message]
    if isinstance(failure.error, AppError):
        sentences += [f"{each.field}: {each.message}" for each in failure.errors]
    if failure.request_id is not None:
        sentences.append(f"The log has more about the request {failure.request_id}.")
    return " ".join(sentences)

"""Every error becomes an answer here: domain errors, the framework's own, and the unexpected.

JSON in the envelope; a person's browser (``Accept: text/html``) gets a page instead, except on the
API's paths. A blueprint's own handlers would not do: they never see an unknown URL below its
prefix.
"""

import structlog
from flask import Flask, Response, current_app, make_response, render_template, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from project.database.failures import is_outage
from project.errors import (
    AppError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedInput,
)
from project.web import envelope
from project.web.guard import MissingCredentials
from project.web.request_id import request_id

_STATUS: dict[type[AppError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    TooLarge: 413,
    UnsupportedInput: 415,
    Unprocessable: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}
RETRY_AFTER_SECONDS = 2
_KIND = "users.error_kind"

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(AppError, handle_app_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(SQLAlchemyError, _handle_database_error)
    app.register_error_handler(Exception, _handle_unexpected_error)


def status_of(kind: type[AppError]) -> int:
    """Return the status with which a kind of error is answered."""
    return next(_STATUS[each] for each in kind.__mro__ if each in _STATUS)


def handle_app_error(error: AppError) -> Response:
    """Render an error of the domain."""
    status = status_of(type(error))
    if status >= 500:
        log.warning("unavailable", request_id=request_id(), reason=error.message)
        return _server_error(error.message, status, type(error).__name__)
    if isinstance(error, Unauthenticated | MissingCredentials):
        response = envelope.fail(error.message, status, error.errors)
        # RFC 6750 section 3: what went wrong is said only to those who have sent a token.
        reason = ', error="invalid_token"' if status == 401 else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="users"{reason}'
        return response
    if isinstance(error, TooManyRequests):
        response = envelope.fail(error.message, status)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    if wants_page():
        reasons = [each.message for each in error.errors[: envelope.MAX_ERRORS]]
        return _page(" ".join([error.message, *reasons]), status)
    return envelope.fail(error.message, status, error.errors)


def _handle_database_error(error: SQLAlchemyError) -> Response:
    if not is_outage(error):
        return _handle_unexpected_error(error)
    log.warning("database away", request_id=request_id(), reason=str(getattr(error, "orig", error)))
    return _server_error(Unavailable.message, 503, "database away")


def _handle_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    message = error.description or HTTP_STATUS_CODES[status]
    if isinstance(error, RequestEntityTooLarge):
        message = _too_large()
    if status >= 500:
        response = _server_error(message, status, type(error).__name__)
    else:
        response = _client_error(message, status)
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value  # such as Allow, which 405 must have
    return response


def _too_large() -> str:
    limit = request.max_content_length or 0
    if (request.content_length or 0) <= limit and request.stream.tell() < limit:
        return f"The form has more than {request.max_form_parts:,} fields."
    return f"The body is larger than {limit:,} bytes."


def _handle_unexpected_error(error: Exception) -> Response:
    log.error("unexpected error", request_id=request_id(), exc_info=error)
    return _server_error("Something went wrong on our side.", 500, type(error).__name__)


def _client_error(message: str, status: int) -> Response:
    return _page(message, status) if wants_page() else envelope.fail(message, status)


def _server_error(message: str, status: int, kind: str) -> Response:
    request.environ[_KIND] = kind
    if wants_page():
        response = _page(message, status, request_id())
    else:
        response = envelope.error(message, status, request_id())
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def error_kind() -> str:
    """Return what kind of error the request has ended in, once it is answered 500 or above."""
    return request.environ.get(_KIND, "other")  # type: ignore[no-any-return]


def wants_page() -> bool:
    """Say whether a person's browser asks, for what is no path of the API."""
    first_folder = "/" + request.path.split("/")[1]
    if first_folder in current_app.config["API_PATHS"]:
        return False
    # The first of the two wins where both will do, as for curl's */*.
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _page(message: str, status: int, number: str | None = None) -> Response:
    page = render_template(
        "error.html", name=HTTP_STATUS_CODES[status], message=message, number=number
    )
    return make_response(page, status)

"""Turns every error into a response: domain errors, the framework's errors and unexpected ones.

The path determines the form of the response. A feature registers the path prefixes of its API, each
with a renderer for its errors. Elsewhere, a browser (``Accept: text/html``) gets a page and other
clients get JSON. A blueprint's error handlers do not run for an unknown URL below its prefix.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from flask import Flask, Response, current_app, make_response, render_template, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from project import errors
from project.database.failures import is_outage
from project.errors import AppError, FieldError, Message
from project.web import envelope
from project.web.addresses import previous_path
from project.web.forms import entries, is_own_form
from project.web.guard import MissingCredentials
from project.web.languages import translated, try_again
from project.web.request_id import request_id

_STATUS: dict[type[AppError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedInput: 415,
    errors.Unprocessable: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
}
RETRY_AFTER_SECONDS = 2
_PAGE_TEXTS = {
    404: Message("There is no page at this address. Perhaps it was moved, or mistyped."),
    405: Message("This address does not take what was sent to it. Nothing was changed."),
}
"""What pages say instead of the framework's descriptions."""
_KIND = "users.error_kind"
_RENDERERS = "error_renderers"
_SHARED = "shared_prefixes"

log = structlog.get_logger()


@dataclass(frozen=True)
class Failure:
    """An error as a renderer gets it.

    :param error: what was raised; its class may be more specific than the status.
    :param status: 400 to 599.
    :param request_id: identifies the error in the log; None below 500.
    """

    error: Exception
    status: int
    message: str
    errors: Sequence[FieldError] = ()
    request_id: str | None = None


Renderer = Callable[[Failure], Response]


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.extensions[_RENDERERS] = {}
    app.extensions[_SHARED] = []
    app.register_error_handler(AppError, handle_app_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(SQLAlchemyError, _handle_database_error)
    app.register_error_handler(Exception, _handle_unexpected_error)


def render_json(failure: Failure) -> Response:
    """Render an error in the JSON envelope."""
    if failure.request_id is not None:
        return envelope.error(failure.message, failure.status, failure.request_id)
    return envelope.fail(failure.message, failure.status, failure.errors)


def render_page(failure: Failure) -> Response:
    """Render an error as an HTML page, in the person's language, which says how to go on."""
    is_read = request.method in ("GET", "HEAD")
    may_pass = failure.status >= 500 or failure.status == 429
    keeps = may_pass and not is_read and not isinstance(failure.error, errors.OutcomeUnknown)
    page = render_template(
        "error.html",
        status=failure.status,
        number=failure.request_id,
        messages=_sentences(failure),
        path=f"{request.root_path}{request.full_path.rstrip('?')}" if is_read else None,
        may_pass=may_pass,
        entries=entries() if keeps and is_own_form() else [],
        previous=previous_path(),
    )
    return make_response(page, failure.status)


def _sentences(failure: Failure) -> list[str]:
    """Return what a page says about an error."""
    error, message = failure.error, failure.message
    if isinstance(error, errors.TooManyRequests):
        return [translated(error.reason), try_again(error.retry_after)]
    if isinstance(error, HTTPException) and message == type(error).description:
        message = _PAGE_TEXTS.get(failure.status, "")
    reasons = [each.message for each in failure.errors[: envelope.MAX_ERRORS]]
    return [translated(each) for each in (message, *reasons) if each]


def register_prefix(
    app: Flask, prefix: str, renderer: Renderer = render_json, *, shared: bool = True
) -> None:
    """Render all errors at and below a path with one renderer, even where no view runs.

    Headers such as ``Allow`` and ``Retry-After`` are added to what the renderer returns; it may
    choose another status. nginx/flask.conf must list the prefix too, for nginx's own errors.

    :param prefix: a slash and one path segment, such as ``/users``.
    :param shared: whether the pages of ``CORS_ORIGINS`` may call it; not what is for operators.
    :raises ValueError: the prefix has another form or is already registered.
    """
    renderers = app.extensions[_RENDERERS]
    if not re.fullmatch("/[^/]+", prefix):
        raise ValueError(f"{prefix!r} must be a slash and one path segment.")
    if prefix in renderers:
        raise ValueError(f"{prefix} is already registered.")
    renderers[prefix] = renderer
    if shared:
        app.extensions[_SHARED].append(prefix)


def watch_prefix(app: Flask, prefix: str, see: Callable[[Failure, Response], None]) -> None:
    """Call a function with each error at and below a registered path, and its response."""
    render = app.extensions[_RENDERERS][prefix]

    def render_and_tell(failure: Failure) -> Response:
        response: Response = render(failure)
        see(failure, response)
        return response

    app.extensions[_RENDERERS][prefix] = render_and_tell


def prefixes(app: Flask) -> tuple[str, ...]:
    """Return the registered prefixes."""
    return tuple(app.extensions[_RENDERERS])


def shared_prefixes(app: Flask) -> tuple[str, ...]:
    """Return the registered prefixes that pages of other origins may call."""
    return tuple(app.extensions[_SHARED])


def status_of(kind: type[AppError]) -> int:
    """Return the HTTP status of a kind of error."""
    return next(_STATUS[each] for each in kind.__mro__ if each in _STATUS)


def handle_app_error(error: AppError) -> Response:
    """Render an error of the domain."""
    status = status_of(type(error))
    if status >= 500:
        log.warning("unavailable", request_id=request_id(), reason=error.message)
        return _server_error(error, error.message, status)
    response = _renderer()(Failure(error, status, error.message, error.errors))
    if isinstance(error, errors.Unauthenticated | MissingCredentials):
        # RFC 6750 section 3: the error code is only for clients that have sent a token.
        reason = ', error="invalid_token"' if status == 401 else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="users"{reason}'
    elif isinstance(error, errors.TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _handle_database_error(error: SQLAlchemyError) -> Response:
    if not is_outage(error):
        return _handle_unexpected_error(error)
    log.warning("database away", request_id=request_id(), reason=str(getattr(error, "orig", error)))
    return _server_error(error, errors.Unavailable.message, 503, "database away")


def _handle_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    message = error.description or HTTP_STATUS_CODES[status]
    if isinstance(error, RequestEntityTooLarge):
        message = _too_large()
    if status >= 500:
        response = _server_error(error, message, status)
    else:
        response = _renderer()(Failure(error, status, message))
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value  # such as Allow, which a 405 must have
    return response


def _too_large() -> str:
    limit = request.max_content_length or 0
    if (request.content_length or 0) <= limit and request.stream.tell() < limit:
        return Message("The form has more than %(limit)s fields.", limit=request.max_form_parts)
    return Message("The body is larger than %(limit)s bytes.", limit=f"{limit:,}")


def _handle_unexpected_error(error: Exception) -> Response:
    log.error("unexpected error", request_id=request_id(), exc_info=error)
    return _server_error(error, Message("Something went wrong on our side."), 500)


def _server_error(error: Exception, message: str, status: int, kind: str | None = None) -> Response:
    request.environ[_KIND] = kind or type(error).__name__
    response = _renderer()(Failure(error, status, message, request_id=request_id()))
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def error_kind() -> str:
    """Return the kind of error behind this request's response of 500 or above."""
    return request.environ.get(_KIND, "other")  # type: ignore[no-any-return]


def wants_page() -> bool:
    """Return whether a browser requests a path outside the APIs."""
    return _renderer() is render_page


def _renderer() -> Renderer:
    first_segment = "/" + request.path.split("/")[1]
    registered: Renderer | None = current_app.extensions[_RENDERERS].get(first_segment)
    if registered is not None:
        return registered
    # The first of the two wins where both are acceptable, as for curl's */*.
    preferred = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return render_page if preferred == "text/html" else render_json

"""Every error becomes an answer here: domain errors, the framework's own, and the unexpected.

JSON in the envelope; a person's browser (``Accept: text/html``) gets a page instead, except on the
API's paths. A blueprint's own handlers would not do: they never see an unknown URL below its
prefix.
"""

from uuid import uuid4

from flask import Flask, Response, current_app, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from project.errors import AppError, Invalid, NotFound
from project.web import envelope

STATUS: dict[type[AppError], int] = {Invalid: 400, NotFound: 404}


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(AppError, _handle_app_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_unexpected_error)


def _handle_app_error(error: AppError) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if _wants_page():
        return _page(error.message, status)
    return envelope.fail(error.message, status, error.errors)


def _handle_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    message = error.description or HTTP_STATUS_CODES[status]
    if isinstance(error, RequestEntityTooLarge):
        message = f"The body is larger than {request.max_content_length:,} bytes."
    response = _server_error(message, status) if status >= 500 else _client_error(message, status)
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)  # such as Allow, which 405 must have
    return response


def _handle_unexpected_error(error: Exception) -> Response:
    return _server_error("Something went wrong on our side.", 500)


def _client_error(message: str, status: int) -> Response:
    return _page(message, status) if _wants_page() else envelope.fail(message, status)


def _server_error(message: str, status: int) -> Response:
    request_id = uuid4().hex
    current_app.logger.exception("%s %s failed (%s)", request.method, request.path, request_id)
    if _wants_page():
        return _page(message, status, request_id)
    return envelope.error(message, status, request_id)


def _wants_page() -> bool:
    first_folder = "/" + request.path.split("/")[1]
    if first_folder in current_app.config["API_PATHS"]:
        return False
    # The first of the two wins where both will do, as for curl's */*.
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _page(message: str, status: int, request_id: str | None = None) -> Response:
    page = render_template(
        "error.html", name=HTTP_STATUS_CODES[status], message=message, request_id=request_id
    )
    return make_response(page, status)

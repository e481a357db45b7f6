"""Cross-origin requests (CORS): which pages of other origins may call the API.

Only paths of the API are shared, and without credentials, since the API takes no cookies.
nginx/flask.conf adds the same headers to its own responses.
"""

import re

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from project.web.error_handlers import shared_prefixes

ALLOWED_HEADERS = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"]
EXPOSED_HEADERS = ["ETag", "Link", "Location", "Retry-After", "X-Request-ID"]
MAX_AGE_SECONDS = 600  # as long as Safari allows; a removed origin may send for as long
_ALLOWED_METHODS = "Access-Control-Allow-Methods"


def init_app(app: Flask) -> None:
    """Share the API with the pages of ``CORS_ORIGINS``; call it when all prefixes are registered.

    Without origins, nothing is added and no request pays for it.
    """
    if not app.config["CORS_ORIGINS"]:
        return
    paths = _any_of(shared_prefixes(app), "(/|\\Z)")

    def finish(response: Response) -> Response:
        """Complete what Flask-CORS leaves out or cannot know."""
        if paths.match(request.path):
            # Always: a cache must not give one origin the response to another, or to none.
            response.vary.add("Origin")
            if _ALLOWED_METHODS in response.headers and response.allow:
                response.headers[_ALLOWED_METHODS] = ", ".join(sorted(response.allow))
        return response

    app.after_request(finish)  # runs after that of Flask-CORS: the last registered is the first
    CORS(
        app,
        resources=[paths],
        # One pattern, since Flask-CORS would read an IPv6 address as one, and ignores case.
        origins=_any_of(app.config["CORS_ORIGINS"], "\\Z"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=MAX_AGE_SECONDS,
        vary_header=False,  # it would leave it out for most responses
        always_send=False,  # it would name all origins where none has asked
        intercept_exceptions=False,  # Flask calls the hook for errors, too
    )


def is_listed(origin: str | None) -> bool:
    """Return whether pages of this origin may call the API."""
    return origin in (current_app.config["CORS_ORIGINS"] or [])


def _any_of(texts: tuple[str, ...] | list[str], end: str) -> re.Pattern[str]:
    return re.compile(f"({'|'.join(map(re.escape, texts))}){end}")

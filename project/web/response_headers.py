"""Headers of every response: browser security policy and caching.

They are added at the WSGI level, which costs least. nginx adds the same to its own responses.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from project.web import languages

# Bootstrap's style sheet embeds its icons as data URLs.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
ALWAYS = [
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
]
OVER_TLS = ("Strict-Transport-Security", "max-age=31536000")
# Responses contain personal data and must not be stored. One with an ETag may be stored by its
# client alone, which must revalidate it before each use (RFC 9111 section 5.2.2).
NO_STORE = ("Cache-Control", "no-store")
REVALIDATE = ("Cache-Control", "private, no-cache")
StartResponse = Callable[..., Any]


def init_app(app: Flask) -> None:
    """Add these headers to all responses of the app."""
    wsgi_app = app.wsgi_app

    def with_headers(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            headers += ALWAYS
            if languages.CHOSEN in environ:
                headers[:] = [each for each in headers if each != ("Vary", "Cookie")]
                headers += languages.response_headers(environ)
            if environ["wsgi.url_scheme"] == "https":
                headers.append(OVER_TLS)
            names = {name for name, _value in headers}
            if "Cache-Control" not in names:
                headers.append(REVALIDATE if "ETag" in names else NO_STORE)
            return start_response(status, headers, *exc_info)

        return wsgi_app(environ, start)

    app.wsgi_app = with_headers  # type: ignore[method-assign]

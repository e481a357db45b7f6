"""Headers of every answer: what a browser may do with it, and whether it may be kept.

They are added below Flask, where it costs least. nginx has the same on its own answers.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

# Bootstrap's style sheet has its icons as data.
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
# Answers hold personal data: nobody keeps them. One with an ETag is kept by its client alone, who
# asks each time whether it still holds (RFC 9111 section 5.2.2).
NOT_KEPT = ("Cache-Control", "no-store")
ASKED_AGAIN = ("Cache-Control", "private, no-cache")
StartResponse = Callable[..., Any]


def init_app(app: Flask) -> None:
    """Let all answers of the app have these headers."""
    answer = app.wsgi_app

    def with_headers(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            headers += ALWAYS
            if environ["wsgi.url_scheme"] == "https":
                headers.append(OVER_TLS)
            names = {name for name, _value in headers}
            if "Cache-Control" not in names:
                headers.append(ASKED_AGAIN if "ETag" in names else NOT_KEPT)
            return start_response(status, headers, *exc_info)

        return answer(environ, start)

    app.wsgi_app = with_headers  # type: ignore[method-assign]

"""A refusal reaches its client also when the request's body was not read to its end.

A server that closes a connection with bytes unread resets it, and the answer may be lost with it
(RFC 9112 section 9.6). gunicorn throws away the first 64 KiB only.
"""

from contextlib import suppress
from time import monotonic

from flask import Flask, Response, request

SECONDS = 5  # for which a client may go on sending what nobody wants
CHUNK_BYTES = 65_536


def init_app(app: Flask) -> None:
    """Read on before each refusal."""
    app.after_request(_read_on)


def _read_on(response: Response) -> Response:
    # Without the flag, a server does not say where the body ends: reading on could wait for ever.
    if response.status_code >= 400 and request.environ.get("wsgi.input_terminated"):
        stream, end = request.environ["wsgi.input"], monotonic() + SECONDS
        with suppress(Exception):  # what a server raises for a body cut off has no class of its own
            while stream.read(CHUNK_BYTES) and monotonic() < end:
                pass
    return response

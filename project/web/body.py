"""The body of a request: read whole or refused, and out of the way before the answer.

Servers meet a body that is cut off, or whose chunks are broken, each in its own way: gunicorn
raises errors of its own, and takes what is shorter than its Content-Length for whole.

Of a body that nobody wants, what has arrived is thrown away, so that a small one leaves the
connection as it is. Nobody waits for the rest: the answer ends the connection (lingering.py).
"""

import io
import socket
from contextlib import suppress
from time import monotonic
from typing import IO, Any

import flask
from flask import Flask, Response
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream, get_content_length, get_input_stream

from project.errors import Invalid

SILENCE_SECONDS = 15  # for which a client may pause in the middle of a body
UNREAD_BYTES = 65_536  # that are thrown away before the answer, when they have arrived
UNREAD_SECONDS = 2  # for which the server of development, with a thread for each, reads on
FORM_MAX_BYTES = 65_536
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}


class BodyCutOff(Invalid):
    """The client, or the connection, has ended in the middle of the body (400)."""

    message = "The body is cut off, or its chunks are broken."


class Request(flask.Request):
    """A request whose body is read whole or refused."""

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body, up to ``max_content_length``; of a form never more than 64 KiB.

        Parsed, a form takes many times the memory that it came in.
        """
        if self.mimetype in FORM_TYPES:
            self.max_content_length = min(self.max_content_length or 0, FORM_MAX_BYTES)
        _open(self.environ)
        stream = super().stream
        if self.content_length is None and isinstance(stream, LimitedStream):
            return _Chunks(self.environ["wsgi.input"], stream.limit, is_max=True)  # type: ignore[return-value]
        return stream


def current_request() -> Request:
    """Return the request under way itself: the proxy asks anew for each of its attributes."""
    return flask.request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def init_app(app: Flask) -> None:
    """Let the app read bodies so, and be done with each before its answer."""
    app.request_class = Request
    app.after_request(_finish)


def open_body(environ: dict[str, Any]) -> IO[bytes]:
    """Return the body, of any size; reading it raises BodyCutOff."""
    _open(environ)
    return get_input_stream(environ)


def _open(environ: dict[str, Any]) -> None:
    if _has_body(environ) and not isinstance(environ["wsgi.input"], _Body):
        environ["wsgi.input"] = _Body(environ)


def _has_body(environ: dict[str, Any]) -> bool:
    length = environ.get("CONTENT_LENGTH")
    return (length and length != "0") or "HTTP_TRANSFER_ENCODING" in environ


def _finish(response: Response) -> Response:
    environ = current_request().environ
    # Without the flag, a server does not say where the body ends: reading on could wait for ever.
    if _has_body(environ) and environ.get("wsgi.input_terminated"):
        _open(environ)
        environ["wsgi.input"].finish()
    return response


class _Chunks(LimitedStream):
    """A body whose length is known when it ends."""

    def readall(self) -> bytes:
        """Read all of it.

        :raises RequestEntityTooLarge: there is more, where Werkzeug would stop (413).
        """
        data = super().readall()
        if self.is_exhausted and self._stream.read(1):
            self.on_exhausted()
        return data


class _Body(io.RawIOBase):
    """What a server gives as ``wsgi.input``."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._stream = environ["wsgi.input"]
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._left = get_content_length(environ)
        self._is_over = self._has_failed = self._is_unwanted = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        :raises BodyCutOff: they do not come, or end too early (400).
        """
        try:
            data = self._read(len(buffer))
        except Exception as error:  # what a server raises here has no class of its own
            self._has_failed = True
            raise BodyCutOff from error
        buffer[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
            self._is_over = self._left <= 0
        if not data and not self._is_over:
            self._has_failed = self._left is not None
            self._is_over = not self._has_failed
            if self._has_failed:
                raise BodyCutOff
        return len(data)

    def _read(self, size: int) -> bytes:
        if self._socket is None:
            return self._stream.read(size)  # type: ignore[no-any-return]
        self._socket.settimeout(0 if self._is_unwanted else SILENCE_SECONDS)
        try:
            return self._stream.read(size)  # type: ignore[no-any-return]
        finally:
            self._socket.settimeout(None)

    def finish(self) -> None:
        """Throw away what has arrived of the rest; if that is not all, end the connection."""
        self._is_unwanted = True
        if not self._is_over and not self._has_failed:
            self._throw_away()
        if not self._is_over and self._socket is not None:
            self._stream.failed = True  # for gunicorn: where a next request would begin is unknown
            if request := getattr(self._stream, "request", None):  # from gunicorn.conf.py
                request().force_close()

    def _throw_away(self) -> None:
        if self._socket is not None and (self._left or 0) > UNREAD_BYTES:
            return
        left, end = UNREAD_BYTES, monotonic() + UNREAD_SECONDS
        with suppress(BodyCutOff):
            while data := self.read(UNREAD_BYTES):
                left -= len(data)
                if monotonic() >= end or (self._socket is not None and left <= 0):
                    return

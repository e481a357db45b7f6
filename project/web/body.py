"""The body of a request: read completely or refused, and consumed before the response.

Servers handle an incomplete body or an invalid chunked encoding differently. gunicorn raises its
own errors, and accepts a body that is shorter than its Content-Length as complete.

The rest of an unwanted body is discarded as far as it has arrived, so a small one does not affect
the connection. The server does not wait for more: the response then ends the connection
(lingering.py).
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

SILENCE_SECONDS = 15  # how long a client may pause within a body
UNREAD_BYTES = 65_536  # how much of an unwanted body is discarded before the response
UNREAD_SECONDS = 2  # how long the development server, with a thread per request, discards
FORM_MAX_BYTES = 65_536
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}


class BodyCutOff(Invalid):
    """The client or the connection ended before the body was complete (400)."""

    message = "The body is incomplete, or its chunked encoding is invalid."


class Request(flask.Request):
    """A request whose body is read completely or refused."""

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body, up to ``max_content_length``; a form is limited to 64 KiB.

        A parsed form takes many times the memory of its body.
        """
        if self.mimetype in FORM_TYPES:
            self.max_content_length = min(self.max_content_length or 0, FORM_MAX_BYTES)
        _open(self.environ)
        stream = super().stream
        if self.content_length is None and isinstance(stream, LimitedStream):
            return _Chunks(self.environ["wsgi.input"], stream.limit, is_max=True)  # type: ignore[return-value]
        return stream


def current_request() -> Request:
    """Return the current request object; the proxy looks it up again for each attribute."""
    return flask.request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def init_app(app: Flask) -> None:
    """Make the app use this request class, and consume each body before the response."""
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
    # Without this flag the server does not mark the end of the body, and reading could block.
    if _has_body(environ) and environ.get("wsgi.input_terminated"):
        _open(environ)
        environ["wsgi.input"].finish()
    return response


class _Chunks(LimitedStream):
    """A body whose length is unknown until it ends."""

    def readall(self) -> bytes:
        """Read the whole body.

        :raises RequestEntityTooLarge: it exceeds the limit, where Werkzeug would truncate it (413).
        """
        data = super().readall()
        if self.is_exhausted and self._stream.read(1):
            self.on_exhausted()
        return data


class _Body(io.RawIOBase):
    """Wraps the server's ``wsgi.input``."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._stream = environ["wsgi.input"]
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._left = get_content_length(environ)
        self._is_over = self._has_failed = self._is_unwanted = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        :raises BodyCutOff: the body pauses too long or ends too early (400).
        """
        try:
            data = self._read(len(buffer))
        except Exception as error:  # servers raise errors of no common class here
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
        """Discard what has arrived of the rest; end the connection if more is to come."""
        self._is_unwanted = True
        if not self._is_over and not self._has_failed:
            self._discard()
        if not self._is_over and self._socket is not None:
            self._stream.failed = True  # tells gunicorn that the next request's start is unknown
            if request := getattr(self._stream, "request", None):  # from gunicorn.conf.py
                request().force_close()

    def _discard(self) -> None:
        if self._socket is not None and (self._left or 0) > UNREAD_BYTES:
            return
        left, end = UNREAD_BYTES, monotonic() + UNREAD_SECONDS
        with suppress(BodyCutOff):
            while data := self.read(UNREAD_BYTES):
                left -= len(data)
                if monotonic() >= end or (self._socket is not None and left <= 0):
                    return

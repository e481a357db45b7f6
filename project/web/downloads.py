"""Sends a file that is made while it is sent."""

from collections.abc import Iterator
from itertools import chain

import structlog
from flask import Response, request, stream_with_context
from sqlalchemy.exc import SQLAlchemyError

from project.errors import AppError
from project.web.request_id import request_id

log = structlog.get_logger()


def send_file(chunks: Iterator[bytes], content_type: str, name: str) -> Response:
    """Return the response with a file for download; a HEAD reads none of it.

    An error in the first chunk gets a normal error response. A later one aborts the connection, and
    is logged: the client knows that the file is incomplete.

    :param name: the file's name, in ASCII and without quotation marks.
    """
    if request.method == "HEAD":
        chunks = iter(())
    else:
        chunks = stream_with_context(_log_failure(chain([next(chunks)], chunks)))
    response = Response(chunks, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _log_failure(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except (SQLAlchemyError, AppError) as error:
        reason = str(getattr(error, "orig", error))
        log.warning("export cut off", request_id=request_id(), reason=reason)
        raise

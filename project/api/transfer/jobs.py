"""Threads that work on imports after the request that began them has ended.

A thread acts for the person who began it: it has a request context with the same cookie and
address, so that rights can be asked again and the trail names the person. It holds a lease
(``imports``).
"""

from collections.abc import Callable
from io import BytesIO
from threading import BoundedSemaphore, Thread
from typing import Any

import structlog
from flask import Flask, current_app, request
from sqlalchemy.exc import SQLAlchemyError

from project.api.transfer import imports
from project.api.transfer.importing import original_error
from project.api.transfer.imports import Lease, LeaseLost
from project.database import close_thread_connections
from project.database.failures import is_outage
from project.errors import AppError, Conflict, Forbidden, Message, Unauthenticated, joined
from project.web.request_id import request_id

MAX_THREADS = 2
WAIT_SECONDS = 1
"""How long the request waits, since most files are done by then."""

KEPT = (
    "HTTP_COOKIE HTTP_HOST HTTP_X_REQUEST_ID REMOTE_ADDR SCRIPT_NAME SERVER_NAME SERVER_PORT"
    " SERVER_PROTOCOL users.principal users.request_id wsgi.url_scheme wsgi.version"
).split()

_threads = BoundedSemaphore(MAX_THREADS)
log = structlog.get_logger()


class TooManyImports(Conflict):
    """The process works on as many imports as it may (409)."""

    message = "Other imports are running on this server. Try again when one of them has ended."


def start(claim: Callable[[], Lease], work: Callable[[Lease], None]) -> None:
    """Claim an import, and work on it in a thread; wait a moment for its end.

    :param work: does all, and says how the import has ended unless it raises an error.
    :raises TooManyImports: this process is working on others (409).
    :raises InUse: it cannot be claimed (409).
    """
    if not _threads.acquire(blocking=False):
        raise TooManyImports
    try:
        lease = claim()
        request_id()
        environ = {name: request.environ[name] for name in KEPT if name in request.environ}
        environ |= {"REQUEST_METHOD": "POST", "PATH_INFO": "/import", "wsgi.input": BytesIO()}
        app: Any = current_app
        arguments = (app._get_current_object(), environ, lease, work)
        thread = Thread(target=_run, args=arguments, name="import", daemon=True)
        thread.start()
    except BaseException:
        _threads.release()
        raise
    thread.join(WAIT_SECONDS)


def _run(app: Flask, environ: dict[str, Any], lease: Lease, work: Callable[[Lease], None]) -> None:
    try:
        with app.request_context(environ):
            try:
                work(lease)
            except LeaseLost:
                pass
            except Exception as error:
                _end(lease, error)
    finally:
        close_thread_connections()
        _threads.release()


def _end(lease: Lease, error: Exception) -> None:
    """Save why an import has failed; if the database is away, the import counts as stopped."""
    try:
        imports.commit_end(lease, "failed", _message(error))
    except LeaseLost:
        pass
    except Exception as failure:
        reason = str(getattr(failure, "orig", failure))
        log.warning("end of an import not saved", request_id=request_id(), reason=reason)


def _message(error: Exception) -> str:
    if isinstance(error, Forbidden | Unauthenticated):
        return Message("You have signed out meanwhile, or may no longer change users.")
    if isinstance(error, SQLAlchemyError) and is_outage(error):
        return Message("The database is unavailable.")
    if not isinstance(error, AppError):
        log.error("import failed", request_id=request_id(), exc_info=error)
        return Message("Something went wrong on our side.")
    cause = original_error(error)  # the page itself says up to which line the import got
    return joined([cause.message, *(each.message for each in cause.errors)])

"""Keeps the last SCIM requests, so that an administrator sees what an identity provider gets.

A request only adds a tuple to a short list in memory. A thread of each serving process stores what
is there every second, in a transaction of its own: so no request waits, fails or writes for it, and
those whose own transaction was rolled back are kept too. See docs/decisions/provisioning.md.
"""

import re
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from threading import Lock, Thread
from typing import Any

import structlog
from flask import Flask, Response, current_app, request
from sqlalchemy import Integer, bindparam, delete, insert, select

from project.api import scim
from project.api.provisioning.models import MESSAGE_LENGTH, METHOD_LENGTH, ROUTE_LENGTH, SCIMRequest
from project.clock import utcnow
from project.database import Row, close_thread_connections, db, in_transaction, read
from project.errors import Message
from project.web import error_handlers
from project.web.error_handlers import Failure
from project.web.guard import known_principal
from project.web.pruning import prunes

SECONDS_BETWEEN_WRITES = 1
KEPT = 50
"""How many requests of a key are kept and shown."""
LIFETIME = timedelta(days=30)

_EXTENSION = "scim_requests"
_ADDRESS = re.compile(r"[^\s'\"<>]+@[^\s'\"<>]+")
_QUOTED = re.compile(r"""(?<!\w)(["']).*?\1(?!\w)""")
_requests: Any = SCIMRequest.__table__
_LAST = select(*_requests.c).order_by(_requests.c.id.desc()).limit(KEPT)
_IS_OF_KEY = _requests.c.key_id == bindparam("of_key", type_=Integer)
_LAST_OF_KEY = _LAST.where(_IS_OF_KEY)
_IDS_OF_KEY = (
    select(_requests.c.id)
    .where(_requests.c.key_id.is_not_distinct_from(bindparam("of_key", type_=Integer)))
    .order_by(_requests.c.id.desc())
    .offset(KEPT)
)
_OLDEST = select(_requests.c.id, _requests.c.created_at).order_by(_requests.c.id)

log = structlog.get_logger()


class _Waiting:
    """The requests of a process that are not stored yet: the last ones of each key."""

    def __init__(self) -> None:
        self._by_key: dict[int | None, deque[dict[str, Any]]] = {}
        self._lock = Lock()

    def add(self, request: dict[str, Any]) -> None:
        """Add a request; the oldest one of its key goes if there is no room."""
        with self._lock:
            self._of_key(request).append(request)

    def put_back(self, requests: Sequence[dict[str, Any]]) -> None:
        """Add requests that were taken before, as far as there is room."""
        with self._lock:
            for request in reversed(requests):
                if len(there := self._of_key(request)) < KEPT:
                    there.appendleft(request)

    def _of_key(self, request: dict[str, Any]) -> deque[dict[str, Any]]:
        return self._by_key.setdefault(request["key_id"], deque(maxlen=KEPT))

    def take(self) -> list[dict[str, Any]]:
        """Remove and return all, the oldest first."""
        with self._lock:
            taken, self._by_key = self._by_key, {}
        every = [request for of_key in taken.values() for request in of_key]
        return sorted(every, key=lambda request: request["created_at"])


def init_app(app: Flask) -> None:
    """Record all requests below the path of SCIM; others pay nothing for it."""
    app.extensions[_EXTENSION] = _Waiting()
    error_handlers.watch_prefix(app, "/scim", _record_failure)
    app.after_request_funcs.setdefault(scim.bp.name, []).append(_record_success)


def _record_failure(failure: Failure, response: Response) -> None:
    """Record a request that failed, also at an address without a route."""
    sentences = [failure.message, *(f"{each.field}: {each.message}" for each in failure.errors)]
    _record(response.status_code, " ".join(map(without_values, sentences)))


def _record_success(response: Response) -> Response:
    if response.status_code < 400:
        _record(response.status_code, None)
    return response


def _record(status: int, message: str | None) -> None:
    rule, who = request.url_rule, known_principal()
    path = "(unknown)" if rule is None else rule.rule.removeprefix(scim.PREFIX)
    route = re.sub("<.+?>", "<id>", path).replace("//", "/").rstrip("/") or "/"
    record_request(request.method, route, status, message, who and who.key_id)


def record_request(
    method: str, route: str, status: int, message: str | None, key_id: int | None
) -> None:
    """Let a SCIM request be stored soon; it never fails and asks no database.

    :param route: the route's template, such as ``/Users/<id>``.
    :param message: what an error has said, without personal data; None: there was none.
    :param key_id: the caller's API key; None: no valid one, or a token.
    """
    current_app.extensions[_EXTENSION].add(
        {
            "created_at": utcnow(),
            "method": method[:METHOD_LENGTH],
            "route": route[:ROUTE_LENGTH],
            "status": status,
            "message": message and message[:MESSAGE_LENGTH],
            "key_id": key_id,
        }
    )


def without_values(text: str) -> str:
    """Return a sentence without what somebody has sent, which is any value but numbers."""
    if isinstance(text, Message):
        values = {name: _shown(value) for name, value in text.values.items()}
        text = text.template % values if values else text.template
    else:
        text = _QUOTED.sub("…", text)
    return _ADDRESS.sub("…", text)


def _shown(value: Any) -> Any:
    if isinstance(value, Message):
        return without_values(value)
    return value if isinstance(value, int) else "…"


def commit_waiting(app: Flask) -> int:
    """Store the requests that wait; return how many. Closes the thread's connections.

    :raises SQLAlchemyError: they cannot be stored, and wait further, as far as there is room.
    """
    waiting: _Waiting = app.extensions[_EXTENSION]
    if not (requests := waiting.take()):
        return 0
    with app.app_context():
        try:
            in_transaction(db.session.execute)(insert(_requests), requests)
        except Exception:
            waiting.put_back(requests)
            raise
        finally:
            close_thread_connections()
    return len(requests)


def start(app: Flask) -> Thread:
    """Start a thread that stores this process's requests; a daemon, as that of pruning is."""
    thread = Thread(target=_run, args=(app,), name="scim-requests", daemon=True)
    thread.start()
    return thread


def _run(app: Flask) -> None:
    is_failing = False
    while True:
        time.sleep(SECONDS_BETWEEN_WRITES)
        try:
            commit_waiting(app)
            is_failing = False
        except Exception as error:  # of any kind: the next time may succeed
            if not is_failing:
                log.warning("SCIM requests not stored", reason=str(getattr(error, "orig", error)))
            is_failing = True


def list_requests(key_id: int | None = None) -> Sequence[Row]:
    """Return the last requests, the newest first, at most ``KEPT``.

    :param key_id: only those with this API key; None: all.
    """
    return read(_LAST, {}) if key_id is None else read(_LAST_OF_KEY, {"of_key": key_id})


@prunes("SCIM requests")
def remove_old(limit: int) -> int:
    """Remove all but the last requests of each key, and those that are older than ``LIFETIME``."""
    oldest = db.session.execute(_OLDEST.limit(limit)).all()
    before = utcnow() - LIFETIME
    ids = [row.id for row in oldest if row.created_at <= before]
    for key_id in db.session.scalars(select(_requests.c.key_id).distinct()).all():
        if (room := limit - len(ids)) <= 0:
            break
        ids += db.session.scalars(_IDS_OF_KEY.limit(room), {"of_key": key_id}).all()
    if ids:
        db.session.execute(delete(_requests).where(_requests.c.id.in_(ids)))
    return len(set(ids))

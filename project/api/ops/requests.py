"""Each request leaves a line in the log, a time in the metrics, and its id in the answer."""

from functools import lru_cache
from time import perf_counter
from typing import Any

import structlog
from flask import Flask, Response, request

from project.api.ops.metrics import ERRORS, IN_FLIGHT, REQUESTS, warn_of_lost_counts
from project.api.ops.metrics_file import MetricsFile
from project.web.body import current_request
from project.web.error_handlers import error_kind
from project.web.guard import known_principal
from project.web.request_id import request_id

log = structlog.get_logger()

_STARTED = "users.started"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def init_app(app: Flask) -> None:
    """Follow every request of the app."""
    app.before_request(_start)
    app.after_request(_finish)
    app.teardown_request(_leave)


@lru_cache(maxsize=1024)
def _durations(method: str, route: str, status: int) -> Any:
    """Return the durations of requests with these labels; found once, for a request has others."""
    return REQUESTS.labels(method, route, status)


def _start() -> None:
    request.environ[_STARTED] = perf_counter()
    IN_FLIGHT.inc()


def _finish(response: Response) -> Response:
    current = current_request()
    seconds = perf_counter() - current.environ[_STARTED]
    number = response.headers["X-Request-ID"] = request_id()
    # What clients make up must not become a label, nor an email in a path a line of the log.
    rule, method = current.url_rule, current.method
    route = rule.rule if rule else "unknown"
    method = method if method in METHODS else "other"
    _durations(method, route, response.status_code).observe(seconds)
    if response.status_code >= 500:
        ERRORS.labels(error_kind()).inc()
    if MetricsFile.problems:
        warn_of_lost_counts(MetricsFile.problems[-1])
    if not route.startswith(("/health/", "/metrics")):
        who = known_principal()
        log.info(
            "request",
            request_id=number,
            method=method,
            route=route,
            status=response.status_code,
            ms=round(seconds * 1000, 3),
            **({"principal": who.name} if who else {}),
        )
    return response


def _leave(_error: BaseException | None) -> None:
    # An answer that is streamed and not read to its end is torn down twice.
    if request.environ.pop(_STARTED, None) is not None:
        IN_FLIGHT.dec()

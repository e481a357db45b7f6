"""Logs and measures each request, and puts its id into the response."""

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
    """Log and measure every request of the app."""
    app.before_request(_start)
    app.after_request(_finish)
    app.teardown_request(_leave)


@lru_cache(maxsize=1024)
def _durations(method: str, route: str, status: int) -> Any:
    """Return the histogram with these labels; cached, since the lookup is slow."""
    return REQUESTS.labels(method, route, status)


def _start() -> None:
    request.environ[_STARTED] = perf_counter()
    IN_FLIGHT.inc()


def _finish(response: Response) -> Response:
    current = current_request()
    seconds = perf_counter() - current.environ[_STARTED]
    number = response.headers["X-Request-ID"] = request_id()
    # Clients must not be able to create labels, and emails in paths must not be logged.
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
    # A streamed response that is not read to its end is torn down twice.
    if request.environ.pop(_STARTED, None) is not None:
        IN_FLIGHT.dec()

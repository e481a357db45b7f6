"""What is measured, and how Prometheus reads it.

With PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets, the numbers are those of all worker
processes together.
"""

import os
import struct

import structlog
from flask import Flask
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import event

from project.api.ops.metrics_file import MetricsFile
from project.database import db
from project.logs import Output

log = structlog.get_logger()

values.MmapedDict = MetricsFile  # type: ignore[attr-defined]  # before there is any metric

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUESTS = Histogram(
    "http_request_duration_seconds",
    "Time to answer, by method, route and status; _count is the number of requests.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
IN_FLIGHT = Gauge(
    "http_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum"
)
ERRORS = Counter("errors_total", "Answers of 500 and above, by kind of error.", ["error"])
LOG_FAILURES = Counter("log_failures", "Lines of the log that could not be written.")
CONNECTIONS_OPEN = Gauge(
    "database_connections_open",
    "Connections to the database: each thread keeps one for reads and one for writes.",
    ["engine"],
    multiprocess_mode="livesum",
)

_has_warned = False


def init_app(app: Flask) -> None:
    """Follow the connections of the app's engines, and the lines that its log loses."""
    Output.on_failure = LOG_FAILURES.inc
    with app.app_context():
        for name, engine in db.engines.items():
            is_open = CONNECTIONS_OPEN.labels(name or "write")
            event.listen(engine, "connect", lambda *_, gauge=is_open: gauge.inc())
            event.listen(engine, "close", lambda *_, gauge=is_open: gauge.dec())
            event.listen(engine, "close_detached", lambda *_, gauge=is_open: gauge.dec())


def render() -> bytes:
    """Return all metrics in Prometheus' text format.

    Where the workers have no files that can be read, they are those of this process.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        try:
            MultiProcessCollector(registry)
            if text := generate_latest(registry):
                return text
        except (OSError, RuntimeError, ValueError, struct.error) as error:
            warn_of_lost_counts(error)
    return generate_latest(REGISTRY)


def warn_of_lost_counts(problem: Exception) -> None:
    """Leave one line in the log of this process."""
    global _has_warned
    if not _has_warned:
        _has_warned = True
        log.warning("metrics lost", reason=str(problem))

"""The metrics, in Prometheus' format.

With PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets, they are summed over all worker
processes.
"""

import os
import struct

import prometheus_client as prometheus
import structlog
from flask import Flask
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import event

from project.api.ops.metrics_file import MetricsFile
from project.database import db
from project.logs import Output

log = structlog.get_logger()

prometheus.values.MmapedDict = MetricsFile  # type: ignore[attr-defined]  # before the first metric is created

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST

REQUESTS = prometheus.Histogram(
    "http_request_duration_seconds",
    "Request duration by method, route and status; _count is the number of requests.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
IN_FLIGHT = prometheus.Gauge(
    "http_requests_in_flight", "Requests in progress.", multiprocess_mode="livesum"
)
ERRORS = prometheus.Counter(
    "errors_total", "Responses with status 500 or above, by error type.", ["error"]
)
LOG_FAILURES = prometheus.Counter("log_failures", "Log lines that could not be written.")
CONNECTIONS_OPEN = prometheus.Gauge(
    "database_connections_open",
    "Open database connections; each thread holds one for reads and one for writes.",
    ["engine"],
    multiprocess_mode="livesum",
)

_has_warned = False


def init_app(app: Flask) -> None:
    """Count the open connections of the app's engines, and the log lines that are lost."""
    Output.on_failure = LOG_FAILURES.inc
    with app.app_context():
        for name, engine in db.engines.items():
            is_open = CONNECTIONS_OPEN.labels(name or "write")
            event.listen(engine, "connect", lambda *_, gauge=is_open: gauge.inc())
            event.listen(engine, "close", lambda *_, gauge=is_open: gauge.dec())
            event.listen(engine, "close_detached", lambda *_, gauge=is_open: gauge.dec())


def render() -> bytes:
    """Return all metrics in Prometheus' text format.

    If the workers' files cannot be read, they are the metrics of this process only.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = prometheus.CollectorRegistry()
        try:
            MultiProcessCollector(registry)
            if text := prometheus.generate_latest(registry):
                return text
        except (OSError, RuntimeError, ValueError, struct.error) as error:
            warn_of_lost_counts(error)
    return prometheus.generate_latest(prometheus.REGISTRY)


def warn_of_lost_counts(problem: Exception) -> None:
    """Log the problem, once per process."""
    global _has_warned
    if not _has_warned:
        _has_warned = True
        log.warning("metrics lost", reason=str(problem))

"""Liveness, readiness and metrics.

Readiness and metrics are internal: nginx answers 404 for them, and OpenAPI does not describe them.
"""

from flask import Blueprint, Response

from project.api.ops import health, metrics
from project.errors import Unavailable
from project.web import envelope
from project.web.contract import returns_message

bp = Blueprint("ops", __name__)


@bp.get("/ping")
@returns_message("pong!")
def ping() -> None:
    """Respond if the process is running; uses no database."""


@bp.get("/health/live")
@returns_message("The process is alive.")
def live() -> None:
    """Respond if the process is running; without a response, restart it."""


@bp.get("/health/ready")
def ready() -> Response:
    """Return whether requests can be served; if not, they should go to another host.

    :raises Unavailable: the database does not respond, or its schema has another revision (503).
    """
    problem = health.find_problem()
    if problem:
        raise Unavailable(problem)
    return envelope.success(message="The service is ready.")


@bp.get("/metrics")
def show_metrics() -> Response:
    """Show the metrics of all worker processes, in Prometheus' text format."""
    return Response(metrics.render(), content_type=metrics.CONTENT_TYPE)

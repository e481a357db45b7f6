"""Whether the service is there, whether it can serve, and how it is doing.

Readiness and metrics are for those inside: nginx answers 404, and they are not described.
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
    """Say that the process answers; touches no database."""


@bp.get("/health/live")
@returns_message("The process is alive.")
def live() -> None:
    """Say that the process answers: if it does not, start it anew."""


@bp.get("/health/ready")
def ready() -> Response:
    """Say whether requests can be served: if not, send them elsewhere for now.

    :raises Unavailable: the database does not answer, or its schema is another one (503).
    """
    problem = health.find_problem()
    if problem:
        raise Unavailable(problem)
    return envelope.success(message="The service is ready.")


@bp.get("/metrics")
def show_metrics() -> Response:
    """Show the metrics of all worker processes, in Prometheus' text format."""
    return Response(metrics.render(), content_type=metrics.CONTENT_TYPE)

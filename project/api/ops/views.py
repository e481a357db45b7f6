"""Whether the process runs, whether it can serve requests, and its metrics.

Readiness and metrics are internal: nginx answers 404 for them.
"""

from flask import Blueprint, Response

from project.api.ops import health, metrics
from project.errors import Unavailable
from project.web.contract import returns_message, transfers_files

bp = Blueprint("ops", __name__)

EXAMPLE = """\
# HELP http_requests_in_flight Requests in progress.
# TYPE http_requests_in_flight gauge
http_requests_in_flight 1.0
"""


@bp.get("/ping")
@returns_message("pong!")
def ping() -> None:
    """Respond if the process is running; uses no database.

    A client can call it to find out whether the address is that of this service.
    """


@bp.get("/health/live")
@returns_message("The process is alive.")
def live() -> None:
    """Respond if the process is running; without a response, restart it.

    It uses no database, so an outage of the database causes no restart.
    """


@bp.get("/health/ready")
@returns_message("The service is ready.")
def ready() -> None:
    """Return whether requests can be served; if not, they should go to another host.

    It asks the database, for at most 2 s. Only for load balancers on the internal network: the
    reverse proxy answers 404 for it.

    :raises Unavailable: the database does not respond, is read-only or has another schema (503).
    """
    problem = health.find_problem()
    if problem:
        raise Unavailable(problem)


@bp.get("/metrics")
@transfers_files(answer_types=("text/plain",), example=EXAMPLE)
def show_metrics() -> Response:
    """Show the metrics of all worker processes, in Prometheus' text format.

    Only for a Prometheus server on the internal network: the reverse proxy answers 404 for it.
    """
    return Response(metrics.render(), content_type=metrics.CONTENT_TYPE)

"""Whether the service is there."""

from flask import Blueprint, Response

from project.web import envelope

bp = Blueprint("ops", __name__)


@bp.get("/ping")
def ping() -> Response:
    """Say that the process answers; touches no database."""
    return envelope.success(message="pong!")

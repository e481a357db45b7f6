"""The audit trail: who did what to whom, and when. May import web and what lies below."""

from flask import Blueprint, Flask

from project.web import error_handlers

bp = Blueprint("audit", __name__)

from project.api.audit import pages, views  # noqa: E402, F401  (they add their routes to bp)


def init_app(app: Flask) -> None:
    """Register the feature."""
    error_handlers.register_prefix(app, "/audit")
    app.register_blueprint(bp)

"""Health, metrics and request logs for operators. May import web and the layers below it."""

from flask import Flask

from project.api.ops import metrics, requests
from project.api.ops.views import bp
from project.web import error_handlers


def init_app(app: Flask) -> None:
    """Measure the app's requests and connections, and register the routes."""
    metrics.init_app(app)
    requests.init_app(app)
    error_handlers.register_prefix(app, "/ping")
    for prefix in ("/health", "/metrics"):
        error_handlers.register_prefix(app, prefix, shared=False)
    app.register_blueprint(bp)

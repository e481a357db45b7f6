"""What those who run the service ask it: health, metrics, logs. May import web and below."""

from flask import Flask

from project.api.ops import metrics, requests
from project.api.ops.views import bp
from project.web import error_handlers


def init_app(app: Flask) -> None:
    """Follow the app's requests and connections, and answer about them."""
    metrics.init_app(app)
    requests.init_app(app)
    for prefix in ("/ping", "/health", "/metrics"):
        error_handlers.register_prefix(app, prefix)
    app.register_blueprint(bp)

"""The OpenAPI description and the page that shows it. May import web and the layers below it."""

from flask import Flask

from project.api.docs.views import bp
from project.web import error_handlers


def init_app(app: Flask) -> None:
    """Register the routes."""
    error_handlers.register_prefix(app, "/openapi.json")
    app.register_blueprint(bp)

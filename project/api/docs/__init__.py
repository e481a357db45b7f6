"""What tells others how to use the API: its description, and a page that shows it.

May import web and what lies below.
"""

from flask import Flask

from project.api.docs.views import bp
from project.web import error_handlers


def init_app(app: Flask) -> None:
    """Answer about the API."""
    error_handlers.register_prefix(app, "/openapi.json")
    app.register_blueprint(bp)

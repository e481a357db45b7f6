"""The users: their table, rules, JSON endpoints and page. May import web and what lies below."""

from flask import Blueprint, Flask

from project.web import error_handlers, guard

guard.register_scope("users:read", roles=["viewer", "editor"], read_only=True)
guard.register_scope("users:write", roles=["editor"])

bp = Blueprint("users", __name__)

from project.api.users import bulk_pages, pages, views  # noqa: E402, F401  (they add their routes to bp)
from project.api.users.errors import TooManyDeactivations  # noqa: E402


def init_app(app: Flask) -> None:
    """Register the feature."""
    error_handlers.register_prefix(app, "/users")
    app.register_error_handler(TooManyDeactivations, views.stop_key)
    app.register_blueprint(bp)

"""The groups of users: tables, rules, JSON endpoints and pages.

May import users and the layers below it.
"""

from flask import Blueprint, Flask

from project.web import error_handlers, guard

guard.register_scope("groups:read", roles=["viewer", "editor"], read_only=True)
guard.register_scope("groups:write", roles=["editor"])

bp = Blueprint("groups", __name__)

from project.api.groups import pages, views  # noqa: E402, F401  (they add their routes to bp)


def init_app(app: Flask) -> None:
    """Register the feature."""
    error_handlers.register_prefix(app, "/groups")
    app.register_blueprint(bp)

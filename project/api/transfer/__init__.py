"""Import and export of users as files. May import users and what lies below."""

from flask import Blueprint, Flask

bp = Blueprint("transfer", __name__)

from project.api.transfer import export_page, views  # noqa: E402, F401  (they add routes to bp)


def init_app(app: Flask) -> None:
    """Register the feature."""
    app.register_blueprint(bp)

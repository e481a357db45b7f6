"""Import and export of users as files. May import users and what lies below."""

from flask import Blueprint, Flask

bp = Blueprint("transfer", __name__)

from project.api.transfer import (  # noqa: E402  (they add routes to bp)
    export_page,  # noqa: F401
    pages,  # noqa: F401
    views,  # noqa: F401
)


def init_app(app: Flask) -> None:
    """Register the feature."""
    app.register_blueprint(bp)

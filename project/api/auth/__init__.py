"""Proves who calls: sign-in, access tokens, API keys. May import users and what lies below."""

import warnings

from flask import Blueprint, Flask
from jwt import InsecureKeyLengthWarning

from project.config import DEVELOPMENT_SECRET_KEY

bp = Blueprint("auth", __name__)

from project.api.auth import principals, views  # noqa: E402, F401  (views add their routes to bp)
from project.web import guard  # noqa: E402


def init_app(app: Flask) -> None:
    """Let the guard know how callers are found out, and answer about accounts."""
    if app.config["SECRET_KEY"] == DEVELOPMENT_SECRET_KEY:
        # Everybody knows this key anyway; in production a short one is worth the warning.
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    with app.app_context():
        guard.register(guard.BEARER, principals.by_bearer)
    app.register_blueprint(bp)

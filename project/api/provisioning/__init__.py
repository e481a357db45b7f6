"""What administrators see of provisioning: the last SCIM requests, and keys that were stopped.

May import auth and users and the layers below them.
"""

from threading import Thread

from flask import Blueprint, Flask

bp = Blueprint("provisioning", __name__)

from project.api.provisioning import pages, recording  # noqa: E402, F401  (pages adds routes to bp)


def start(app: Flask) -> Thread:
    """Start the thread of a serving process that stores its SCIM requests."""
    return recording.start(app)


def init_app(app: Flask) -> None:
    """Register the feature."""
    recording.init_app(app)
    app.register_blueprint(bp)

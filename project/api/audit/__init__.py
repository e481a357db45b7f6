"""Who did what to whom, and when: written with each change. May import web and what lies below."""

from flask import Blueprint

bp = Blueprint("audit", __name__)

from project.api.audit import views  # noqa: E402, F401  (they add their routes to bp)

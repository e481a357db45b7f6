"""The users: their table, rules, JSON endpoints and page. May import web and what lies below."""

from flask import Blueprint

bp = Blueprint("users", __name__)

from project.api.users import pages, views  # noqa: E402, F401  (they add their routes to bp)

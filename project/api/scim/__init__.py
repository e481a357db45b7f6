"""SCIM 2.0 (RFC 7643, 7644, 9865) below ``/scim/v2``, over the services of users and groups.

Each resource type has files of its own: the mapping (``user_mapping.py``), the SELECTs
(``user_queries.py``), the writes (``users.py``) and the endpoints (``user_views.py``). What all
types share stands in the others; only ``library.py`` knows scim2-models. May import groups, users
and the layers below it.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask

from project.web import error_handlers
from project.web.openapi.operations import register_form

PREFIX = "/scim/v2"

bp = Blueprint("scim", __name__)


def route(path: str, method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a view, also at ``//path`` and ``path/``, as clients call it whose base URL has a slash.

    :param path: below ``/scim/v2``, such as ``/Users``.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        endpoint = f"{bp.name}.{view.__name__} {method} {path.replace('.', '')}"

        def add(state: Any) -> None:
            for slash in ("", "/"):
                state.app.add_url_rule(
                    f"{PREFIX}{slash}{path}",
                    endpoint,
                    view,
                    methods=[method],
                    strict_slashes=False,
                )

        bp.record(add)
        return view

    return decorate


from project.api.scim import discovery, errors, group_views, openapi, user_views  # noqa: E402, F401  (they add routes to bp)


def init_app(app: Flask) -> None:
    """Register the routes, and the form of errors and of the description below ``/scim``."""
    error_handlers.register_prefix(app, "/scim", errors.render, shared=False)
    register_form(app, "/scim", openapi.FORM)
    app.register_blueprint(bp)

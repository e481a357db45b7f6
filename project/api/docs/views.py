"""The API's description for programs."""

from flask import Blueprint, Response, current_app, request

from project.web.openapi import describe

bp = Blueprint("docs", __name__)


@bp.get("/openapi.json")
def show_description() -> Response:
    """Describe the API as OpenAPI 3.1; made once in each process."""
    made = current_app.extensions
    if "openapi" not in made:
        made["openapi"] = current_app.json.dumps(describe(current_app))
    response = Response(made["openapi"], mimetype="application/json")
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response

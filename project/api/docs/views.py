"""The API's description for programs, and Swagger UI on it for people."""

from importlib.metadata import distribution

from flask import (
    Blueprint,
    Response,
    current_app,
    render_template,
    request,
    send_from_directory,
)

from project.web.openapi import describe

bp = Blueprint("docs", __name__)

# Its files alone are used: an import would read all of them into memory.
PACKAGE = distribution("offapi")
FOLDER = str(PACKAGE.locate_file("offapi"))


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


@bp.get("/docs")
def show_docs() -> str:
    """Show the description as a page on which requests can be tried out."""
    return render_template("docs.html", version=PACKAGE.version)


@bp.get("/docs/static/<any('swagger_bundle.js', 'swagger_style.css'):filename>")
def show_file(filename: str) -> Response:
    """Show a file of Swagger UI; others of the package are not served."""
    return send_from_directory(FOLDER, filename)

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

# Only the files are used. The package's blueprint would serve all of them, on a page of its own
# with an inline script, which the Content-Security-Policy forbids.
PACKAGE = distribution("flask-swagger-ui")
FOLDER = str(PACKAGE.locate_file("flask_swagger_ui/dist"))


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


@bp.get("/docs/static/<any('swagger-ui-bundle.js', 'swagger-ui.css'):filename>")
def show_file(filename: str) -> Response:
    """Show a file of Swagger UI; others of the package are not served."""
    return send_from_directory(FOLDER, filename)

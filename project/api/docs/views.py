"""The OpenAPI description, and Swagger UI to read it."""

from importlib.metadata import distribution

from flask import Blueprint, Response, current_app, render_template, request
from flask.helpers import send_from_directory

from project.web.openapi import describe

bp = Blueprint("docs", __name__)

# Only the package's files are used. Its blueprint would serve all of them, on its own page with an
# inline script, which the Content-Security-Policy forbids.
PACKAGE = distribution("flask-swagger-ui")
FOLDER = str(PACKAGE.locate_file("flask_swagger_ui/dist"))


@bp.get("/openapi.json")
def show_description() -> Response:
    """Return the OpenAPI 3.1 description, which each process builds once.

    Its server is the path under which this request has reached the service.
    """
    made = current_app.extensions
    if "openapi" not in made:
        made["openapi"] = describe(current_app)
    described = {**made["openapi"], "servers": [{"url": request.root_path or "/"}]}
    response = Response(current_app.json.dumps(described), mimetype="application/json")
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response


@bp.get("/docs")
def show_docs() -> str:
    """Show the description on a page that can send requests."""
    return render_template("docs.html", version=PACKAGE.version)


@bp.get("/docs/static/<any('swagger-ui-bundle.js', 'swagger-ui.css'):filename>")
def show_file(filename: str) -> Response:
    """Return a file of Swagger UI; the package's other files are not served."""
    return send_from_directory(FOLDER, filename)

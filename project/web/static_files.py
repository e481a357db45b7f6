"""Static files: their URLs change with their content, so browsers may cache them indefinitely.

In templates, ``static["page.css"]`` is the path of a file without the path under which the service
is reached; ``url_for`` takes fifty calls for each.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from flask_bootstrap import Bootstrap5


def init_app(app: Flask) -> None:
    """Serve Bootstrap, and add ``v``, a hash of the content, to the URL of every static file."""
    Bootstrap5(app)
    app.url_defaults(_add_version)
    folder = Path(app.static_folder or "")
    names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    paths = {name: _path(app.static_url_path, app.static_folder, name) for name in names}
    bootstrap = app.blueprints["bootstrap"]
    prefix = f"{bootstrap.url_prefix or ''}{bootstrap.static_url_path}"
    paths["bootstrap.min.css"] = _path(prefix, bootstrap.static_folder, "css/bootstrap.min.css")
    app.jinja_env.globals["static"] = paths


def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" or endpoint.endswith(".static"):
        blueprint = endpoint.removesuffix("static").rstrip(".")
        owner = current_app.blueprints[blueprint] if blueprint else current_app
        values["v"] = _version(owner.static_folder or "", values["filename"])


def _path(prefix: str | None, folder: str | None, name: str) -> str:
    return f"{prefix}/{name}?v={_version(folder or '', name)}"


@cache
def _version(folder: str, name: str) -> str:
    return sha256(Path(folder, name).read_bytes()).hexdigest()[:8]

"""Static files: their URLs change with their content, so browsers may cache them indefinitely."""

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


def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" or endpoint.endswith(".static"):
        blueprint = endpoint.removesuffix("static").rstrip(".")
        owner = current_app.blueprints[blueprint] if blueprint else current_app
        values["v"] = _version(owner.static_folder or "", values["filename"])


@cache
def _version(folder: str, name: str) -> str:
    return sha256(Path(folder, name).read_bytes()).hexdigest()[:8]

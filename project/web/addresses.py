"""Which addresses a redirect or a link may lead to."""

import re
from urllib.parse import urlsplit

from flask import request

# A segment of two dots, as browsers read it, leads out of the path under which the service is.
_STEP_UPWARDS = re.compile(r"[^?#]*/(\.|%2e){2}([/?#]|$)", re.IGNORECASE)


def own_path(path: str | None) -> str | None:
    """Return the path if it stays in this service; otherwise None."""
    if not path or not path.startswith(f"{request.root_path}/") or path.startswith("//"):
        return None
    if not path.isprintable() or "\\" in path or _STEP_UPWARDS.match(path):
        return None
    return path


def previous_path() -> str | None:
    """Return the path of the page that the person comes from, if the browser says it is ours."""
    try:
        page = urlsplit(request.referrer or "")
    except ValueError:
        return None
    if page.netloc != request.host:
        return None
    return own_path(f"{page.path}?{page.query}" if page.query else page.path)

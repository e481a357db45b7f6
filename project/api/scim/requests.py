"""What SCIM clients send: who they are, their JSON, and the parameters of lists."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app, request

from project.api.scim import PREFIX
from project.api.scim.errors import InvalidRequest
from project.api.scim.responses import MEDIA_TYPE, Selection
from project.errors import FieldError, Forbidden, Message, UnsupportedInput
from project.web import guard, preconditions
from project.web.body import current_request
from project.web.contract import declare

MAX_BODY_BYTES = 10_000_000
"""As in nginx/flask.conf."""
DEFAULT_COUNT = 100
MAX_COUNT = 200
_MEDIA_TYPES = {MEDIA_TYPE, "application/json"}

View = Callable[..., Any]


class WrongMediaType(UnsupportedInput):
    """The body is neither of the two types of JSON (415)."""

    message = f"The body must be {MEDIA_TYPE} or application/json."


def requires(scope: str | None = None) -> Callable[[View], View]:
    """Allow only callers with an API key or token and the scope, even when access is open.

    :param scope: None: any caller who is known.
    :raises MissingCredentials: the request has no credentials (401).
    :raises Unauthenticated: its credentials are invalid (401).
    :raises Forbidden: the caller does not have the scope (403).
    """

    def is_allowed(who: guard.Principal, _arguments: dict[str, Any]) -> bool:
        return scope is None or scope in who.scopes

    def refusal() -> Forbidden:
        needed = Message("The key needs %(scope)s.", scope=scope)
        return Forbidden(errors=[FieldError("scope", needed)])

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            return guard.call_for(is_allowed, guard.BEARER, view, kwargs, refusal)

        declare(wrapper, scope=scope, sign_in=True)
        return wrapper

    return decorate


def read_body() -> dict[str, Any]:
    """Return the JSON object of the body.

    :raises InvalidRequest: it is no JSON object (400).
    :raises UnsupportedInput: it has another media type (415).
    """
    if request.mimetype not in _MEDIA_TYPES:
        raise WrongMediaType
    current_request().max_content_length = MAX_BODY_BYTES
    try:
        body = current_app.json.loads(request.get_data())
    except ValueError as error:
        raise InvalidRequest("invalidSyntax", f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("invalidSyntax", "The body must be a JSON object.")
    return body


def read_number(name: str, default: int) -> int:
    """Return a parameter that is an integer.

    :raises InvalidRequest: it is none (400).
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not re.fullmatch("[+-]?[0-9]{1,12}", text.strip()):
        raise InvalidRequest("invalidValue", f"{name}: Must be an integer.")
    return int(text)


def read_selection(core: str, *extensions: str) -> Selection:
    """Return which attributes the client wants.

    :param core: the schema of the resource type; ``extensions``, those of its extensions.
    """
    included, excluded = (
        [path for path in request.args.get(name, "").split(",") if path.strip()]
        for name in ("attributes", "excludedAttributes")
    )
    return Selection(included, excluded, core, extensions)


def base_url() -> str:
    """Return the absolute URL of ``/scim/v2`` by which the client has called."""
    asked = current_request()
    return f"{asked.scheme}://{asked.host}{asked.root_path}{PREFIX}"


def meets_if_match(version: int) -> bool:
    """Return whether a resource may be changed: no ``If-Match``, or one that names this version.

    Versions are weak (RFC 7644 section 3.14), and so is the comparison.

    :raises Invalid: the header is not a list of entity tags (400).
    """
    if "If-Match" not in request.headers:
        return True
    if not preconditions.TAGS.fullmatch(request.headers["If-Match"]):
        raise preconditions.invalid_header("If-Match")
    return request.if_match.contains_weak(preconditions.etag(version))


def is_admin() -> bool:
    """Return whether the caller has the scope ``admin``, which open access gives to nobody."""
    return guard.ADMIN in guard.principal().scopes

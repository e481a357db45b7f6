"""The id that identifies a request in the logs."""

import random
import re

from flask import request

_KEY = "users.request_id"
_FORM = re.compile(r"[A-Za-z0-9_-]{1,64}")


def request_id() -> str:
    """Return the id of the current request.

    It is nginx's ``X-Request-ID``. Without that header, or if its value is unsuitable for a log, it
    is generated here.
    """
    environ = request.environ
    known: str | None = environ.get(_KEY)
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        known = given if _FORM.fullmatch(given) else f"{random.getrandbits(128):032x}"
        environ[_KEY] = known
    return known

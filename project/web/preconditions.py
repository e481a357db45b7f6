"""Conditional requests (RFC 9110 section 13), based on the version of each object."""

import re

from flask import request
from werkzeug.datastructures import ETags

from project.errors import FieldError, Invalid, Message

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Elements may be empty (RFC 9110 section 5.6.1.2). The pattern is unambiguous, so no text causes
# long backtracking.
TAGS = re.compile(rf"(?:\*|[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*)")


def etag(version: int) -> str:
    """Return the opaque tag of a strong entity tag for this version (RFC 9110 section 8.8.3)."""
    return str(version)


def is_known(version: int) -> bool:
    """Return whether the client of a GET or HEAD already has this version.

    ``If-None-Match`` compares weakly (RFC 9110 section 13.1.2).

    :raises Invalid: the header is not a list of entity tags (400).
    """
    if request.method not in {"GET", "HEAD"} or "If-None-Match" not in request.headers:
        return False
    return _tags("If-None-Match", request.if_none_match).contains_weak(etag(version))


def meets_if_match(version: int) -> bool:
    """Return whether the object may be changed: no ``If-Match``, or one that names this version.

    It compares strongly: a weak tag never matches (RFC 9110 section 13.1.1).

    :raises Invalid: the header is not a list of entity tags (400).
    """
    if "If-Match" not in request.headers:
        return True
    return _tags("If-Match", request.if_match).contains(etag(version))


def invalid_header(name: str) -> Invalid:
    """Return the error for a header that is not a list of entity tags."""
    problem = FieldError(name, 'Must be * or comma-separated entity tags such as "3".')
    return Invalid(Message("Invalid header: %(name)s.", name=name), [problem])


def _tags(name: str, tags: ETags) -> ETags:
    if not TAGS.fullmatch(request.headers[name]):
        raise invalid_header(name)
    return tags

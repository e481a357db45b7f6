"""JSON by orjson.

It refuses what is not JSON by RFC 8259: invalid UTF-8, lone surrogates, NaN, and also nesting
deeper than 1,024 levels.
"""

from typing import Any

import orjson
from flask import Response
from flask.json.provider import JSONProvider

_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


class OrjsonProvider(JSONProvider):
    """Flask's JSON; times have the form ``2026-11-23T15:12:58Z``."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the JSON text of an object; options are not supported."""
        return orjson.dumps(obj, option=_OPTIONS).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the object of a JSON text; options are not supported.

        :raises ValueError: the text is not JSON.
        """
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a response: the JSON of the arguments, and a line end for terminals."""
        return json_response(self._prepare_response_obj(args, kwargs))


def json_response(obj: Any, status: int = 200) -> Response:
    """Return a response: the JSON of an object, and a line end for terminals."""
    body = orjson.dumps(obj, option=_OPTIONS | orjson.OPT_APPEND_NEWLINE)
    return Response(body, status, content_type="application/json")

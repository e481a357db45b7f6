"""Which methods a path takes, where another path with a placeholder would take the rest."""

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule


def refuse_other_methods(bp: Blueprint, path: str, *allowed: str) -> None:
    """Respond with 405 where ``/users/<user_id>`` would parse the last segment as an id."""

    def refuse() -> Response:
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        response = Response()
        response.allow.update(allowed)
        return response

    def add_rule(state: BlueprintSetupState) -> None:
        # A rule without methods matches all methods, even unknown ones, that no other rule has.
        endpoint = f"{state.name}.refuse {path}"
        state.app.url_map.add(Rule(path, endpoint=endpoint))
        state.app.view_functions[endpoint] = refuse

    bp.record(add_rule)

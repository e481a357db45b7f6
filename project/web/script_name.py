"""The path under which the service is reached, such as ``/directory``: WSGI's ``SCRIPT_NAME``.

A trusted proxy gives it in ``X-Forwarded-Prefix``, for each request; otherwise the setting
``SCRIPT_NAME`` does. Flask begins with it all addresses that ``url_for`` builds.
See docs/decisions/under-a-path.md for the reasons.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from project.config import ConfigError, url_prefix

StartResponse = Callable[..., Any]


def init_app(app: Flask) -> None:
    """Apply the setting, and ignore invalid prefixes; call it when all routes are registered.

    :raises ConfigError: the setting is a path of the service itself, so that it would be unknown
        whether a proxy has removed it.
    """
    own = app.config["SCRIPT_NAME"]
    if own and own.split("/")[1] in {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}:
        raise ConfigError(
            f"SCRIPT_NAME: {own} begins with a path of the service itself. Choose another, or let"
            " the proxy remove it and send X-Forwarded-Prefix."
        )
    if not own and not app.config["PROXIES"]:
        return
    wsgi_app = app.wsgi_app

    def with_prefix(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["SCRIPT_NAME"]:  # from X-Forwarded-Prefix, by ProxyFix
            environ["SCRIPT_NAME"] = _valid_prefix(environ["SCRIPT_NAME"])
        if own:
            environ["SCRIPT_NAME"] = environ["SCRIPT_NAME"] or own
            # Some proxies remove the prefix, and health checks have none.
            path = environ["PATH_INFO"]
            if path == own or path.startswith(f"{own}/"):
                environ["PATH_INFO"] = path.removeprefix(own) or "/"
        return wsgi_app(environ, start_response)

    app.wsgi_app = with_prefix  # type: ignore[method-assign]


def _valid_prefix(text: str) -> str:
    """Return the prefix; an empty one if it is invalid, since addresses would lead elsewhere."""
    try:
        return url_prefix(text.removesuffix("/"))
    except ValueError:
        return ""

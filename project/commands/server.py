"""The development server."""

import sys
from ipaddress import ip_address

import structlog
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

from project.api import auth, provisioning
from project.version import VERSION
from project.web import pruning

log = structlog.get_logger()


def run_server(app: Flask, host: str, port: int, reload: bool) -> None:
    """Serve with Werkzeug's server until interrupted; for development only.

    :param reload: restart when the code changes; only in debug mode.
    """
    if app.config["ACCESS"] == "open" and not _is_loopback(host) and not is_running_from_reloader():
        print(
            f"ACCESS=open on {host or 'every address'}: anybody who reaches it may read, change and"
            " remove every user. With ACCESS=protected they have to sign in.",
            file=sys.stderr,
        )
    reload = reload and app.debug
    if not reload or is_running_from_reloader():
        log.info("started", version=VERSION)
        pruning.start(app)
        auth.start(app)
        provisioning.start(app)
    run_simple(
        host,
        port,
        app,
        threaded=True,
        use_reloader=reload,
        request_handler=QuietRequestHandler,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class QuietRequestHandler(WSGIRequestHandler):
    """Logs no requests, since the application does."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""

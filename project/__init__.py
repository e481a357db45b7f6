"""A user directory with a REST API and an HTML page.

``create_app`` is the app factory; ``db`` is the SQLAlchemy object that models and tests use.
"""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from project import config as settings
from project import database, logs
from project.api import audit, auth, docs, groups, ops, provisioning, scim, transfer, users
from project.database import db
from project.web import (
    bar,
    body,
    cors,
    error_handlers,
    languages,
    preferences,
    response_headers,
    script_name,
    static_files,
)
from project.web.json_provider import OrjsonProvider
from project.web.synchronous import SynchronousFlask, refuse_async

__all__ = ["create_app", "db"]


def create_app(config: type | str | None = None) -> Flask:
    """Create the application.

    :param config: the settings class or its dotted name; None: the class that ``APP_SETTINGS``
        names, by default development.
    :raises ConfigError: a setting is missing or invalid.
    """
    app = SynchronousFlask(__name__)
    app.config.from_object(settings.choose(config))
    settings.check(app.config)
    logs.configure(app.config["LOG_JSON"], app.config["LOG_LEVEL"])
    app.json = OrjsonProvider(app)
    app.url_map.merge_slashes = False  # the redirect's body would be HTML, also on API paths
    database.init_app(app)
    error_handlers.init_app(app)
    languages.init_app(app)
    static_files.init_app(app)
    body.init_app(app)
    ops.init_app(app)
    users.init_app(app)
    groups.init_app(app)
    transfer.init_app(app)
    audit.init_app(app)
    auth.init_app(app)
    scim.init_app(app)
    provisioning.init_app(app)
    docs.init_app(app)
    cors.init_app(app)
    response_headers.init_app(app)
    preferences.init_app(app)
    bar.init_app(app)
    script_name.init_app(app)
    refuse_async(app)
    if proxies := app.config["PROXIES"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_prefix=proxies
        )
    return app

"""Authentication: sign-in, access tokens, API keys. May import users and the layers below it."""

import warnings
from functools import partial

from flask import Blueprint, Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_wtf.csrf import generate_csrf
from jwt import InsecureKeyLengthWarning

from project.config import DEVELOPMENT_SECRET_KEY
from project.errors import Unauthenticated
from project.web import error_handlers, guard

bp = Blueprint("auth", __name__)

from project.api.auth import (  # noqa: E402  (some add routes to bp)
    account_pages,  # noqa: F401
    link_pages,  # noqa: F401
    outbox,
    pages,
    principals,
    service,
    setup,
    user_pages,  # noqa: F401
    views,  # noqa: F401
)
from project.api.auth.models import SCOPES_LENGTH  # noqa: E402


class BrowserSessions(SecureCookieSessionInterface):
    """Flask's sessions in signed cookies, for browsers; API clients have none.

    Over TLS, the cookie is Secure, and the prefix ``__Host-`` of its name keeps other hosts of the
    domain, and anybody who impersonates this host without TLS, from setting it (RFC 6265bis
    section 4.1.3.2). Under a path, the cookie is sent to that path only, which ``__Host-`` does not
    allow; ``__Secure-`` does not keep other hosts of the domain from setting it.
    """

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name for this request."""
        name = super().get_cookie_name(app)
        if not request.is_secure:
            return name
        return f"__Secure-{name}" if request.root_path else f"__Host-{name}"

    def get_cookie_path(self, app: Flask) -> str:
        """Return the path under which this request has reached the service."""
        return request.root_path or "/"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session in the request's cookie; an empty one if there is no cookie."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Send the session if the request has read or changed it."""
        if session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the request came over TLS."""
        return request.is_secure


def start(app: Flask, *, announce: bool = True) -> None:
    """Start the threads of a serving process: one sends mails, another logs the setup code.

    :param announce: whether the code is logged, which one process of a server does.
    """
    outbox.start(app)
    if announce:
        setup.announce(app)


def init_app(app: Flask) -> None:
    """Register how the guard identifies callers, and the routes of accounts.

    :raises ValueError: all registered scopes together do not fit into the column of a key.
    """
    if len(" ".join(guard.scopes())) > SCOPES_LENGTH:
        raise ValueError(f"The scopes together have more than {SCOPES_LENGTH} characters.")
    if app.config["SECRET_KEY"] == DEVELOPMENT_SECRET_KEY:
        # This key is public anyway; production rejects it.
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    identification = {
        guard.BEARER: guard.Identification(principals.by_bearer, principals.recall_bearer),
        guard.SESSION: guard.Identification(pages.by_cookie, pages.recall_cookie),
    }
    guard.init_app(app, identification, service.commit_email_change)
    app.session_interface = BrowserSessions()
    app.config["PERMANENT_SESSION_LIFETIME"] = app.config["TOKEN_HOURS"] * 3600
    for error in (guard.MissingCredentials, Unauthenticated):
        app.register_error_handler(error, pages.ask_to_sign_in)
    app.context_processor(
        lambda: {
            "current_user": partial(guard.find_principal, guard.SESSION),
            "may": guard.may,
            "sends_mails": outbox.is_on,
            "csrf_token": generate_csrf if app.config.get("WTF_CSRF_ENABLED", True) else str,
        }
    )
    error_handlers.register_prefix(app, "/auth")
    app.register_blueprint(bp)

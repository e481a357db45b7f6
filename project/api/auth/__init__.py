"""Proves who calls: sign-in, access tokens, API keys. May import users and what lies below."""

import warnings

from flask import Blueprint, Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_wtf.csrf import generate_csrf
from jwt import InsecureKeyLengthWarning

from project.config import DEVELOPMENT_SECRET_KEY
from project.errors import Unauthenticated
from project.web import error_handlers, guard

bp = Blueprint("auth", __name__)

from project.api.auth import pages, principals, service, views  # noqa: E402, F401  (they add routes to bp)
from project.api.auth.models import SCOPES_LENGTH  # noqa: E402


class BrowserSessions(SecureCookieSessionInterface):
    """Flask's sessions in signed cookies, for those who have one; clients of the API do not.

    Over TLS, the cookie is sent over TLS only, and its name keeps other hosts of the domain, and
    whoever answers in this one's name without TLS, from setting it (RFC 6265bis section 4.1.3.2).
    """

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name on this request."""
        name = super().get_cookie_name(app)
        return f"__Host-{name}" if request.is_secure else name

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return what the request's cookie holds; an empty session when it has none."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Send the session, unless nobody has looked at it."""
        if session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say whether the request came over TLS."""
        return request.is_secure


def init_app(app: Flask) -> None:
    """Let the guard know how callers are found out, and answer about accounts.

    :raises ValueError: a key with all registered scopes would not fit into its column.
    """
    if len(" ".join(guard.scopes())) > SCOPES_LENGTH:
        raise ValueError(f"All scopes of a key have more than {SCOPES_LENGTH} characters.")
    if app.config["SECRET_KEY"] == DEVELOPMENT_SECRET_KEY:
        # Everybody knows this key anyway; in production it is not taken.
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    with app.app_context():
        guard.register(guard.BEARER, principals.by_bearer)
        guard.register(guard.SESSION, pages.by_cookie)
        guard.register_email_change(service.commit_proof_of_email_change)
    app.session_interface = BrowserSessions()
    app.config["PERMANENT_SESSION_LIFETIME"] = app.config["TOKEN_HOURS"] * 3600
    for error in (guard.MissingCredentials, Unauthenticated):
        app.register_error_handler(error, pages.redirect_to_sign_in)
    app.context_processor(
        lambda: {
            "current_user": guard.current_browser_user,
            "may": guard.may,
            "csrf_token": generate_csrf if app.config.get("WTF_CSRF_ENABLED", True) else str,
        }
    )
    error_handlers.register_prefix(app, "/auth")
    app.register_blueprint(bp)

"""The JSON endpoints of accounts, tokens and API keys."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request

from project.api.auth import bp, service
from project.api.auth.errors import RegistrationClosed
from project.api.auth.models import APIKey
from project.api.auth.schemas import (
    AccountRead,
    APIKeyCreate,
    APIKeyListQuery,
    APIKeyMade,
    APIKeyRead,
    APIKeyUpdate,
    KeyId,
    Login,
    PasswordChange,
    Registration,
)
from project.api.users import service as users
from project.database import Row, in_transaction
from project.errors import Forbidden, Invalid
from project.web import guard
from project.web.contract import (
    accepts,
    accepts_query,
    declare,
    returns,
    returns_message,
    returns_page,
    returns_token,
)
from project.web.fields import parse_id
from project.web.pagination import Page
from project.web.transactions import transactional


def signed_in(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let only users call the view who have signed in themselves: API keys make no others.

    :raises Forbidden: an API key calls (403).
    """

    @wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        if guard.principal().session is None:
            raise Forbidden
        return view(**kwargs)

    declare(wrapper, sign_in=True)
    return wrapper


def known(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let only callers through who say who they are, however open access is."""

    @wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        guard.principal()
        return view(**kwargs)

    declare(wrapper, sign_in=True)
    return wrapper


@bp.post("/auth/register")
@accepts(Registration, wrong_type=Invalid)
@returns_token("Successfully registered.", status=201)
def register(body: Registration) -> str:
    """Make an account of one's own, and sign in.

    :raises RegistrationClosed: this is not for everybody here (403).
    :raises UserExists: another user has this mailbox (400).
    :raises TooManyTakenEmails: too many emails belonged to others before (429).
    """
    if not current_app.config["REGISTRATION"]:
        raise RegistrationClosed
    with service.commit_email_attempt(None, request.remote_addr or ""):
        made = in_transaction(service.register)(body.username, body.email, body.password)
    return made.token


@bp.post("/auth/login")
@accepts(Login, wrong_type=Invalid)
@returns_token("Successfully logged in.")
def log_in(body: Login) -> str:
    """Sign in by email and password.

    :raises WrongCredentials: one of them is wrong, or the user not active (401).
    :raises TooManyAttempts: too many were wrong before (429).
    """
    return service.commit_sign_in(body.email, body.password, request.remote_addr or "").token


@bp.post("/auth/logout")
@signed_in
@transactional()
@returns_message("Successfully logged out.")
def log_out() -> None:
    """End the sign-in that the token belongs to."""
    service.log_out(_session())


@bp.get("/auth/logout")
def log_out_by_get() -> Response:
    """End the sign-in, as the first clients do; not described, for a GET should change nothing."""
    return log_out()


@bp.get("/auth/status")
@known
@returns(AccountRead, etag=False)
def get_status() -> Row:
    """Return who is signed in."""
    return service.get_account(guard.principal().user_id)


@bp.post("/auth/password")
@signed_in
@accepts(PasswordChange)
@returns_message("The password was changed.")
def change_password(body: PasswordChange) -> None:
    """Change one's own password; all other sign-ins of the user end.

    :raises WrongPassword: the current one is another (400).
    :raises TooManyAttempts: too many were wrong before (429).
    """
    service.commit_password_change(
        guard.principal().user_id,
        _session(),
        body.current_password,
        body.password,
        request.remote_addr or "",
    )


@bp.get("/auth/keys")
@known
@accepts_query(APIKeyListQuery)
@returns_page(APIKeyRead, "keys")
def list_keys(query: APIKeyListQuery) -> Page:
    """List one's own API keys, or another user's; not the keys themselves.

    :raises UserNotFound: no user has this id (404).
    """
    who = guard.principal()
    user_id = who.user_id if query.user is None else query.user
    if _own_keys_only() not in (None, user_id):
        raise Forbidden
    return Page(service.list_keys(users.get_user(user_id).id))


@bp.post("/auth/keys")
@signed_in
@transactional()
@accepts(APIKeyCreate)
@returns(
    APIKeyMade,
    status=201,
    message="{0.name} was added!",
    location="/auth/keys/{0.id}",
    etag=False,
)
def create_key(body: APIKeyCreate) -> service.MadeKey:
    """Make an API key; it is shown in this answer and never again.

    :raises ScopeTooWide: one does not have a scope oneself (403).
    :raises TooManyKeys: one has as many as there may be (409).
    """
    return service.create_key(guard.principal(), body.name, body.scopes, body.expires_in_days)


@bp.patch("/auth/keys/<key_id>")
@known
@transactional()
@accepts(APIKeyUpdate)
@returns(APIKeyRead, etag=False)
def update_key(key_id: KeyId, body: APIKeyUpdate) -> Any:
    """Let an API key that is suspended be good again: one's own, or as an administrator any.

    :raises WrongId: the id is no decimal integer (400).
    :raises KeyNotFound: there is no such key, or it is somebody else's (404).
    """
    return service.resume_key(parse_id(key_id), _own_keys_only())


@bp.delete("/auth/keys/<key_id>")
@known
@transactional()
@returns_message("{0.name} was removed!")
def delete_key(key_id: KeyId) -> APIKey:
    """Remove one of one's own API keys, or as an administrator any.

    :raises WrongId: the id is no decimal integer (400).
    :raises KeyNotFound: there is no such key, or it is somebody else's (404).
    """
    return service.delete_key(parse_id(key_id), _own_keys_only())


def _own_keys_only() -> int | None:
    """Return whose API keys alone the caller may look after; None: everybody's.

    An administrator's key with that scope may do so too: a machine may have to revoke keys.

    :raises Forbidden: an API key without it calls (403).
    """
    who = guard.principal()
    if "admin" in who.scopes:
        return None
    if who.session is None:
        raise Forbidden
    return who.user_id


def _session() -> str:
    return guard.principal().session or ""

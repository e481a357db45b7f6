"""Accounts, sign-in with access tokens, and API keys for programs."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request

from project.api.auth import bp, schemas, service, throttle
from project.api.auth.errors import RegistrationClosed
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


def authenticated(
    view: Callable[..., Response], *, with_key: bool = True
) -> Callable[..., Response]:
    """Allow only authenticated callers to call the view, even when access is open.

    :param with_key: whether an API key may call it.
    :raises Forbidden: an API key calls, and may not (403).
    """

    @wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        if guard.principal().session is None and not with_key:
            raise Forbidden
        return view(**kwargs)

    declare(wrapper, sign_in=True)
    return wrapper


def signed_in(view: Callable[..., Response]) -> Callable[..., Response]:
    """Allow only signed-in users to call the view: an API key cannot create others."""
    return authenticated(view, with_key=False)


@bp.post("/auth/register")
@accepts(schemas.Registration, wrong_type=Invalid)
@returns_token("Successfully registered.", status=201)
def register(body: schemas.Registration) -> str:
    """Create one's own account, and sign in.

    The new user has no role. `auth_token` is the access token for the `Authorization` header.

    :raises RegistrationClosed: registration is disabled (403).
    :raises UserExists: another user has this mailbox (400).
    :raises TooManyTakenEmails: too many emails were taken before (429).
    """
    if not current_app.config["REGISTRATION"]:
        raise RegistrationClosed
    with throttle.commit_email_attempt(None, request.remote_addr or ""):
        made = in_transaction(service.register)(body.username, body.email, body.password)
    return made.token


@bp.post("/auth/login")
@accepts(schemas.Login, wrong_type=Invalid)
@returns_token("Successfully logged in.")
def log_in(body: schemas.Login) -> str:
    """Sign in with email and password.

    `auth_token` is the access token, which is sent as `Authorization: Bearer TOKEN`. It becomes
    invalid after a time, with a sign-out, or when the user is deactivated.

    :raises WrongCredentials: one of them is wrong, or the user is not active (401).
    :raises TooManyAttempts: too many attempts failed before (429).
    """
    return service.commit_sign_in(body.email, body.password, request.remote_addr or "").token


@bp.post("/auth/logout")
@signed_in
@transactional()
@returns_message("Successfully logged out.")
def log_out() -> None:
    """Sign out: the token becomes invalid.

    Other tokens of the user stay valid. An API key cannot sign out: remove it instead.
    """
    service.log_out(guard.principal().session or "")


@bp.get("/auth/logout")
def log_out_by_get() -> Response:
    """Sign out, for the tutorial's clients; undocumented, since a GET should be safe."""
    return log_out()


@bp.get("/auth/status")
@authenticated
@returns(schemas.AccountRead, etag=False)
def get_status() -> Row:
    """Return one's own account.

    A client can check with it whether its token or key is still valid, and whose it is.
    """
    return service.get_account(guard.principal().user_id)


@bp.post("/auth/password")
@signed_in
@accepts(schemas.PasswordChange)
@returns_message("The password was changed.")
def change_password(body: schemas.PasswordChange) -> None:
    """Change one's own password; all other sign-ins of the user end.

    The token of this request stays valid, and so do the user's API keys.

    :raises WrongPassword: the current password is wrong (400).
    :raises TooManyAttempts: too many attempts failed before (429).
    """
    who = guard.principal()
    service.commit_password_change(
        who.user_id,
        who.session or "",
        body.current_password,
        body.password,
        request.remote_addr or "",
    )


@bp.get("/auth/keys")
@authenticated
@accepts_query(schemas.APIKeyListQuery)
@returns_page(schemas.APIKeyRead, "keys")
def list_keys(query: schemas.APIKeyListQuery) -> Page:
    """List one's own API keys, or another user's, without the keys themselves.

    Expired and suspended keys are listed, too. All are on one page: `next` is always null.

    :raises UserNotFound: no user has this id (404).
    """
    who = guard.principal()
    user_id = who.user_id if query.user is None else query.user
    if _owner_filter() not in (None, user_id):
        raise Forbidden
    return Page(service.list_keys(users.get_user(user_id).id))


@bp.post("/auth/keys")
@signed_in
@transactional()
@accepts(schemas.APIKeyCreate)
@returns(
    schemas.APIKeyMade,
    status=201,
    message="{0.name} was added!",
    location="/auth/keys/{0.id}",
    etag=False,
)
def create_key(body: schemas.APIKeyCreate) -> Row:
    """Create an API key, which is shown only in this response.

    A program sends it as `Authorization: Bearer KEY`. It can do what its scopes allow, as long as
    its user may do that, too.

    :raises ScopeTooWide: the user does not have a scope (403).
    :raises TooManyKeys: the user has the maximum number of keys (409).
    """
    return service.create_key(guard.principal(), body.name, body.scopes, body.expires_in_days)


@bp.patch("/auth/keys/<key_id>")
@authenticated
@transactional()
@accepts(schemas.APIKeyUpdate)
@returns(schemas.APIKeyRead, etag=False)
def update_key(key_id: schemas.KeyId, body: schemas.APIKeyUpdate) -> Row:
    """Resume a suspended API key: one's own, or as an administrator any.

    API keys are suspended when their user is deactivated, and stay so when the user is active
    again.

    :raises WrongId: the id is not a decimal integer (400).
    :raises KeyNotFound: there is no such key, or it belongs to another user (404).
    """
    return service.resume_key(parse_id(key_id), _owner_filter())


@bp.delete("/auth/keys/<key_id>")
@authenticated
@transactional()
@returns_message("{0.name} was removed!")
def delete_key(key_id: schemas.KeyId) -> Row:
    """Remove an API key: one's own, or as an administrator any.

    Requests with it are refused from then on.

    :raises WrongId: the id is not a decimal integer (400).
    :raises KeyNotFound: there is no such key, or it belongs to another user (404).
    """
    return service.delete_key(parse_id(key_id), _owner_filter())


def _owner_filter() -> int | None:
    """Return the id of the only user whose API keys the caller may manage; None: any user's.

    An API key with the scope ``admin`` may manage all, since a machine may have to revoke keys.

    :raises Forbidden: an API key without that scope calls (403).
    """
    who = guard.principal()
    if "admin" in who.scopes:
        return None
    if who.session is None:
        raise Forbidden
    return who.user_id

"""The JSON endpoints of accounts, tokens and API keys."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request

from project.api.auth import bp, service
from project.api.auth.errors import RegistrationClosed
from project.api.auth.schemas import (
    AccountRead,
    APIKeyCreate,
    APIKeyRead,
    Login,
    PasswordChange,
    Registration,
)
from project.api.users.views import parse_id
from project.errors import Forbidden, Invalid
from project.transactions import in_transaction
from project.web import envelope, guard
from project.web.contract import accepts


def signed_in(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let only users call the view who have signed in themselves: API keys make no others.

    :raises Forbidden: an API key calls (403).
    """

    @wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        if guard.principal().session is None:
            raise Forbidden
        return view(**kwargs)

    return wrapper


@bp.post("/auth/register")
@accepts(Registration, wrong_type=Invalid)
def register(body: Registration) -> Response:
    """Make an account of one's own, and sign in.

    :raises RegistrationClosed: this is not for everybody here (403).
    :raises UserExists: another user has this mailbox (400).
    """
    if not current_app.config["REGISTRATION"]:
        raise RegistrationClosed
    made = in_transaction(service.register)(body.username, body.email, body.password)
    return envelope.success(message="Successfully registered.", status=201, auth_token=made.token)


@bp.post("/auth/login")
@accepts(Login, wrong_type=Invalid)
def log_in(body: Login) -> Response:
    """Sign in by email and password.

    :raises WrongCredentials: one of them is wrong, or the user not active (401).
    """
    made = service.log_in(body.email, body.password, request.remote_addr or "")
    return envelope.success(message="Successfully logged in.", auth_token=made.token)


@bp.route("/auth/logout", methods=["GET", "POST"])
@signed_in
def log_out() -> Response:
    """End the sign-in that the token belongs to."""
    in_transaction(service.log_out)(_session())
    return envelope.success(message="Successfully logged out.")


@bp.get("/auth/status")
def get_status() -> Response:
    """Return who is signed in."""
    who = guard.principal()
    account = AccountRead(
        id=who.user_id,
        username=who.username,
        email=who.email,
        active=True,  # or it would not be signed in
        role=who.role,
        created_at=who.created_at,
    )
    return envelope.success(account.model_dump())


@bp.post("/auth/password")
@signed_in
@accepts(PasswordChange)
def change_password(body: PasswordChange) -> Response:
    """Change one's own password; all other sign-ins of the user end.

    :raises WrongPassword: the current one is another (400).
    """
    user_id = guard.principal().user_id
    in_transaction(service.change_password)(
        user_id, _session(), body.current_password, body.password
    )
    return envelope.success(message="The password was changed.")


@bp.get("/auth/keys")
@signed_in
def list_keys() -> Response:
    """List one's own API keys; not the keys themselves."""
    rows = service.list_keys(guard.principal().user_id)
    return envelope.success({"keys": [_key(row) for row in rows]})


@bp.post("/auth/keys")
@signed_in
@accepts(APIKeyCreate)
def create_key(body: APIKeyCreate) -> Response:
    """Make an API key; it is shown in this answer and never again.

    :raises ScopeTooWide: one does not have a scope oneself (403).
    """
    who = guard.principal()
    made, key = in_transaction(service.create_key)(
        who, body.name, body.scopes, body.expires_in_days
    )
    response = envelope.success({**_key(made), "key": key}, f"{made.name} was added!", 201)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.delete("/auth/keys/<key_id>")
@signed_in
def delete_key(key_id: str) -> Response:
    """Remove one of one's own API keys.

    :raises KeyNotFound: one has no such key (404).
    """
    removed = in_transaction(service.delete_key)(guard.principal().user_id, parse_id(key_id))
    return envelope.success(message=f"{removed.name} was removed!")


def _session() -> str:
    return guard.principal().session or ""


def _key(row: Any) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in APIKeyRead.model_fields}
    return {**values, "scopes": row.scopes.split()}

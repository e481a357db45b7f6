"""Who calls, and what they may do.

``@require`` stands above a view, before anything else happens. Who a request's credentials belong
to is found out when somebody asks: without a need, no question reaches the database. How it is
found out is registered by ``project.api.auth``; nothing here knows tokens. Features register their
scopes when they are imported; an unknown one is refused wherever it is named.
"""

import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, NamedTuple

from flask import current_app, has_request_context, request

from project.errors import AppError, Forbidden
from project.web.contract import declare

ADMIN = "admin"
"""The administrators' role, which has every scope, and a scope that no other role has."""
SCOPES_OF_ROLE: dict[str | None, frozenset[str]] = {
    None: frozenset(),
    "viewer": frozenset(),
    "editor": frozenset(),
    ADMIN: frozenset({ADMIN}),
}
"""What the users of each role may do; registered by the features."""
BEARER = "bearer"
SESSION = "session"
_PRINCIPAL = "users.principal"
_EMAIL_CHANGE = "email change"
_read_only = {ADMIN: False}  # of each scope


class MissingCredentials(Forbidden):
    """The request says nothing of who sends it (403, as the tutorial's API answers)."""

    message = "Provide a valid auth token."


class Principal(NamedTuple):
    """Who calls: a user who has signed in, or one of their API keys.

    :param role: the user's: ``viewer``, ``editor``, ``admin``; None: an ordinary user.
    :param scopes: what the caller may do beyond the user's own record.
    :param session: the id of the sign-in; None for an API key.
    :param key_id: the API key's; None for a user who has signed in.
    """

    user_id: int
    username: str
    role: str | None
    scopes: frozenset[str]
    session: str | None = None
    key_id: int | None = None

    @property
    def name(self) -> str:
        """Who it is, for logs and records: ``user:7`` or ``key:3``."""
        return f"user:{self.user_id}" if self.key_id is None else f"key:{self.key_id}"

    def is_user(self, user_id: str) -> bool:
        """Say whether this is the user with this id, signed in."""
        return self.key_id is None and user_id == str(self.user_id)


Identify = Callable[[], Principal | None]
ChangeEmail = Callable[[Principal, str, str], AbstractContextManager[None]]


def register_scope(scope: str, roles: Collection[str | None], *, read_only: bool = False) -> None:
    """Add something that callers may be allowed to do.

    :param scope: lower-case letters and colons, such as ``users:read``.
    :param roles: whose users have it; administrators have it anyway.
    :param read_only: whether it allows no change. When access is open, nobody asks then who calls.
    :raises ValueError: the scope has another form or is registered already, or there is no such
        role.
    """
    if scope in _read_only or not re.fullmatch("[a-z]+(:[a-z]+)*", scope):
        raise ValueError(f"{scope!r} is registered already, or is no name of a scope.")
    if unknown := set(roles) - SCOPES_OF_ROLE.keys():
        raise ValueError(f"There is no role {unknown.pop()!r}.")
    _read_only[scope] = read_only
    for role in {*roles, ADMIN}:
        SCOPES_OF_ROLE[role] |= {scope}


def scopes() -> tuple[str, ...]:
    """Return all scopes in the order of their registration, ``admin`` as the last."""
    return (*(scope for scope in _read_only if scope != ADMIN), ADMIN)


def _unknown(scope: str) -> LookupError:
    return LookupError(f"No feature has registered the scope {scope!r}.")


def is_open() -> bool:
    """Say whether everybody may do everything, without signing in."""
    return bool(current_app.config["ACCESS"] == "open")


def register(credentials: str, identify: Identify) -> None:
    """Say how a caller is found out.

    :param credentials: ``BEARER``, as clients send them, or ``SESSION``, as browsers do.
    :param identify: returns the caller; None when the request has no such credentials.
    """
    current_app.extensions.setdefault("guard", {})[credentials] = identify


def register_email_change(change: ChangeEmail) -> None:
    """Say what those must do who change their own email.

    :param change: takes the caller, their current password and the client's address; the email is
        changed within.
    """
    current_app.extensions["guard"][_EMAIL_CHANGE] = change


def own_email_change(who: Principal, current_password: str) -> AbstractContextManager[None]:
    """Return in what the caller may change their own email.

    :raises Invalid: the password is not theirs (400).
    :raises TooManyRequests: they have guessed too often (429).
    """
    change: ChangeEmail = current_app.extensions["guard"][_EMAIL_CHANGE]
    return change(who, current_password, request.remote_addr or "")


def known_principal() -> Principal | None:
    """Return who calls, as far as anybody has asked; for logs and records."""
    return request.environ.get(_PRINCIPAL) if has_request_context() else None


def principal(credentials: str = BEARER, *, anew: bool = False) -> Principal:
    """Return who calls.

    :param anew: find it out also when it is known.
    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are worth nothing (401).
    """
    who = None if anew else known_principal()
    if who is None:
        who = current_app.extensions["guard"][credentials]()
        if who is None:
            raise MissingCredentials
        request.environ[_PRINCIPAL] = who
    return who


def require_still(scope: str) -> None:
    """Let a request that takes long go on only while its caller may do this.

    Who calls is found out anew: they may have been deactivated or removed, have another role, have
    signed out, or have lost their key. When access is open, only administrators are asked.

    :raises Unauthenticated: the caller's credentials are worth nothing any more (401).
    :raises Forbidden: the caller may not do this any more (403).
    """
    if scope not in _read_only:
        raise _unknown(scope)
    if (scope == ADMIN or not is_open()) and scope not in principal(anew=True).scopes:
        raise Forbidden


def require(
    scope: str, *, own: bool = False, always: bool = False, credentials: str = BEARER
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let only those call the view who may do this; when access is open, anybody.

    Who writes is found out then too, for records, as far as their credentials are worth something.

    :param scope: one that is registered.
    :param own: users may call it about themselves without the scope, by ``user_id`` in the path.
    :param always: also when access is open.
    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are worth nothing (401).
    :raises Forbidden: the caller may not do this (403).
    :raises LookupError: no feature has registered the scope; raised at once, not by the view.
    """
    if scope not in _read_only:
        raise _unknown(scope)
    read_only = _read_only[scope]

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            if is_open() and not always:
                if not read_only:
                    find_principal(credentials)
                return view(**kwargs)
            who = principal(credentials)
            if scope not in who.scopes and not (own and who.is_user(kwargs["user_id"])):
                raise Forbidden
            return view(**kwargs)

        if credentials == BEARER:
            declare(wrapper, scope=scope, sign_in=always)
        return wrapper

    return decorate


def find_principal(credentials: str) -> Principal | None:
    """Return who calls, where nobody has to say it; None: nobody whose credentials are good."""
    try:
        return principal(credentials)
    except AppError:
        return None


def who_sees_the_page() -> Principal | None:
    """Return who has signed in with this browser; None: nobody."""
    return find_principal(SESSION)


def require_admin(credentials: str = BEARER) -> Principal:
    """Return the administrator who calls, also when access is open.

    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are worth nothing (401).
    :raises Forbidden: the caller is no administrator (403).
    """
    who = principal(credentials)
    if ADMIN not in who.scopes:
        raise Forbidden
    return who


def is_admin() -> bool:
    """Say whether an administrator calls, as far as anybody has asked who does."""
    who = known_principal()
    return who is not None and ADMIN in who.scopes


def may(scope: str) -> bool:
    """Say whether the caller, who is known by now, may do this.

    :raises LookupError: no feature has registered the scope.
    """
    if scope not in _read_only:
        raise _unknown(scope)
    who = known_principal()
    return is_open() if who is None else scope in who.scopes or is_open()

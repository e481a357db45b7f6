"""Authorization: who the caller is, and what they may do.

``@require`` is a view's first decorator. The caller is identified on first use, so a request that
does not need it costs no query. A read by somebody who was identified a moment ago presumes that
nothing has changed, which its own first SELECT checks (docs/decisions/callers.md).
``project.api.auth`` registers how callers are identified; this module does not know tokens.
Features register their scopes on import; an unregistered scope is an error wherever it is used.
"""

import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, NamedTuple

from flask import Flask, current_app, has_request_context, request

from project.database import Premise, PremiseFailed, presuming
from project.errors import AppError, Forbidden
from project.web.contract import declare

ADMIN = "admin"
"""The administrators' role, which has every scope; also a scope that no other role has."""
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
_GUARD = "guard"
_read_only = {ADMIN: False}  # by scope


class MissingCredentials(Forbidden):
    """The request has no credentials (403, as in the tutorial's API)."""

    message = "Provide a valid auth token."


class Principal(NamedTuple):
    """The caller: a user who has signed in, or one of their API keys.

    :param role: the user's role: ``viewer``, ``editor``, ``admin``; None: an ordinary user.
    :param scopes: what the caller may do beyond the user's own record.
    :param session: the id of the sign-in; None for an API key.
    :param key_id: the API key's id; None for a user who has signed in.
    """

    user_id: int
    username: str
    role: str | None
    scopes: frozenset[str]
    session: str | None = None
    key_id: int | None = None

    @property
    def name(self) -> str:
        """The caller's name in logs and audit events: ``user:7`` or ``key:3``."""
        return f"user:{self.user_id}" if self.key_id is None else f"key:{self.key_id}"


class Recalled(NamedTuple):
    """A caller who was identified a moment ago, and what must still be so."""

    who: Principal
    premise: Premise


class Identification(NamedTuple):
    """How the callers with one kind of credentials are identified.

    :ivar find: returns the caller; None when the request has no such credentials.
    :ivar recall: returns the caller without asking the database; None: not known from before.
    """

    find: Callable[[], Principal | None]
    recall: Callable[[], Recalled | None]


ChangeEmail = Callable[[Principal, str, str], AbstractContextManager[None]]


def register_scope(scope: str, roles: Collection[str | None], *, read_only: bool = False) -> None:
    """Register a scope.

    :param scope: lower-case letters and colons, such as ``users:read``.
    :param roles: the roles that have it; administrators always do.
    :param read_only: whether it allows no change. Callers are then not identified when access is
        open.
    :raises ValueError: the scope has another form or is already registered, or a role does not
        exist.
    """
    if scope in _read_only or not re.fullmatch("[a-z]+(:[a-z]+)*", scope):
        raise ValueError(f"{scope!r} is already registered or is not a valid scope.")
    if unknown := set(roles) - SCOPES_OF_ROLE.keys():
        raise ValueError(f"There is no role {unknown.pop()!r}.")
    _read_only[scope] = read_only
    for role in {*roles, ADMIN}:
        SCOPES_OF_ROLE[role] |= {scope}


def scopes() -> tuple[str, ...]:
    """Return all scopes in the order of their registration, ``admin`` last."""
    return (*(scope for scope in _read_only if scope != ADMIN), ADMIN)


def _check_registered(scope: str) -> None:
    if scope not in _read_only:
        raise LookupError(f"No feature has registered the scope {scope!r}.")


def is_open() -> bool:
    """Return whether everybody may do everything without signing in."""
    return bool(current_app.config["ACCESS"] == "open")


def init_app(
    app: Flask, identification: dict[str, Identification], change_email: ChangeEmail
) -> None:
    """Tell the guard how callers are identified, and how users change their own email.

    :param identification: for ``BEARER`` (API clients) and ``SESSION`` (browsers).
    :param change_email: returns a context manager for the caller, their current password and the
        client's address; the email is changed within it.
    """
    app.extensions[_GUARD] = identification, change_email


def own_email_change(who: Principal, current_password: str) -> AbstractContextManager[None]:
    """Return the context manager within which the caller may change their own email.

    :raises Invalid: the password is wrong (400).
    :raises TooManyRequests: there were too many wrong passwords before (429).
    """
    change: ChangeEmail = current_app.extensions[_GUARD][1]
    return change(who, current_password, request.remote_addr or "")


def known_principal() -> Principal | None:
    """Return the caller if they have been identified; for logs and audit events."""
    return request.environ.get(_PRINCIPAL) if has_request_context() else None


def principal(credentials: str = BEARER, *, anew: bool = False) -> Principal:
    """Identify the caller.

    :param anew: identify them again even if they are known.
    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are invalid (401).
    """
    who = None if anew else known_principal()
    if who is None:
        who = current_app.extensions[_GUARD][0][credentials].find()
        if who is None:
            raise MissingCredentials
        request.environ[_PRINCIPAL] = who
    return who


def require_still(scope: str, credentials: str = BEARER) -> None:
    """Check the caller of a long request again.

    The caller is identified anew: they may have been deactivated or removed, have another role,
    have signed out, or have lost their key. When access is open, only the scope
    ``admin`` is checked.

    :param credentials: those by which the caller is identified.
    :raises Unauthenticated: the caller's credentials are no longer valid (401).
    :raises Forbidden: the caller no longer has the scope (403).
    """
    _check_registered(scope)
    if (scope == ADMIN or not is_open()) and scope not in principal(credentials, anew=True).scopes:
        raise Forbidden


def require(
    scope: str,
    *,
    allow_self: bool = False,
    even_when_open: bool = False,
    credentials: str = BEARER,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Allow only callers with the scope to call the view; when access is open, anybody.

    When access is open, the callers of writes are still identified for audit events, if their
    credentials are valid.

    :param scope: a registered scope.
    :param allow_self: whether users may call the view about themselves without the scope, by
        ``user_id`` in the path.
    :param even_when_open: whether to check the scope even when access is open.
    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are invalid (401).
    :raises Forbidden: the caller does not have the scope (403).
    :raises LookupError: the scope is not registered; raised by the decorator, not by the view.
    """
    _check_registered(scope)
    read_only = _read_only[scope]

    def is_allowed(who: Principal, arguments: dict[str, Any]) -> bool:
        is_self = allow_self and who.name == f"user:{arguments['user_id']}"
        return scope in who.scopes or is_self

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            if is_open() and not even_when_open:
                if not read_only:
                    find_principal(credentials)
                return view(**kwargs)
            return call_for(is_allowed, credentials, view, kwargs)

        if credentials == BEARER:
            declare(wrapper, scope=scope, sign_in=even_when_open)
        return wrapper

    return decorate


def call_for(
    is_allowed: Callable[[Principal, dict[str, Any]], bool],
    credentials: str,
    view: Callable[..., Any],
    arguments: dict[str, Any],
    refusal: Callable[[], Forbidden] = Forbidden,
) -> Any:
    """Return what the view returns for the caller, if they may call it.

    :param is_allowed: gets the caller and the view's arguments.
    :param refusal: returns the error for who may not.
    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are invalid (401).
    :raises Forbidden: the caller may not (403).
    """
    if request.method in {"GET", "HEAD"} and known_principal() is None:
        known = current_app.extensions[_GUARD][0][credentials].recall()
        if known is not None and is_allowed(known.who, arguments):
            request.environ[_PRINCIPAL] = known.who
            try:
                return presuming(known.premise, view, **arguments)
            except PremiseFailed:
                del request.environ[_PRINCIPAL]
    if not is_allowed(principal(credentials), arguments):
        raise refusal()
    return view(**arguments)


def find_principal(credentials: str) -> Principal | None:
    """Return the caller, where authentication is optional; None: no valid credentials."""
    try:
        return principal(credentials)
    except AppError:
        return None


def require_admin() -> None:
    """Check that the caller is an administrator, even when access is open.

    :raises MissingCredentials: the request has no credentials (403).
    :raises Unauthenticated: its credentials are invalid (401).
    :raises Forbidden: the caller is not an administrator (403).
    """
    if ADMIN not in principal().scopes:
        raise Forbidden


def is_admin() -> bool:
    """Return whether the caller has been identified as an administrator."""
    who = known_principal()
    return who is not None and ADMIN in who.scopes


def may(scope: str) -> bool:
    """Return whether the caller, identified before, has the scope.

    :raises LookupError: the scope is not registered.
    """
    _check_registered(scope)
    who = known_principal()
    return is_open() if who is None else scope in who.scopes or is_open()

"""Identifies the caller by the request's credentials, with at most one query.

Who was identified within the last minute is recalled: the first SELECT of the request then checks
that nothing has changed since (docs/decisions/callers.md).
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from flask import current_app, request
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import aliased

from project.api.audit import service as audit
from project.api.auth.models import APIKey, Session
from project.api.auth.tokens import KEY_PREFIX, hash_key, read_token
from project.api.users.models import User
from project.clock import utcnow
from project.database import Premise, in_transaction, read, write
from project.errors import AppError, Unauthenticated
from project.web.guard import SCOPES_OF_ROLE, Principal, Recalled

KEY_USE_SECONDS = 60
RECALL_SECONDS = 60
MOST_RECALLED = 1000
_KEY_USED = audit.register("key.used")
_RECALLED = "recalled callers"

_NOW = bindparam("caller_now", type_=DateTime)


def _with_session(statement: Select[Any], user: Any) -> Select[Any]:
    """Join the session of a SELECT's user.

    The role has to be queried anyway, so the same query checks that the session has not ended, the
    user has not been deactivated since, and the password has not changed.
    """
    return statement.join(
        Session, and_(Session.user_id == user.id, Session.expires_at > _NOW)
    ).where(
        Session.token_id == bindparam("caller_session", type_=String),
        Session.password_version == user.password_version,
        Session.deactivations == user.deactivations,
        user.active,
    )


def _with_key(statement: Select[Any], user: Any) -> Select[Any]:
    """Join the API key of a SELECT's user."""
    return statement.join(APIKey, APIKey.user_id == user.id).where(
        APIKey.key_hash == bindparam("caller_key", type_=String),
        or_(APIKey.expires_at.is_(None), APIKey.expires_at > _NOW),
        APIKey.deactivations == user.deactivations,
        user.active,
    )


_columns: list[Any] = [User.id.label("user_id"), User.username, User.role, User.version]
_BY_SESSION = _with_session(select(*_columns), User)
_BY_KEY = _with_key(
    select(
        *_columns,
        APIKey.id.label("key_id"),
        type_coerce(APIKey.scopes, String).label("scopes"),  # as stored: text
        APIKey.last_used_at,
    ),
    User,
)
_caller: Any = aliased(User, name="caller")
_STILL: Select[Any] = (
    select(literal_column("1"))
    .select_from(_caller)
    .where(
        _caller.version == bindparam("caller_version", type_=Integer),
        _caller.role.is_not_distinct_from(bindparam("caller_role", type_=String)),
    )
)
_HAS_SESSION: ColumnElement[bool] = _with_session(_STILL, _caller).scalar_subquery() == 1
_HAS_KEY: ColumnElement[bool] = _with_key(_STILL, _caller).scalar_subquery() == 1
_keys: Any = APIKey.__table__
_SAVE_USE = update(_keys).where(
    _keys.c.id == bindparam("key_id"),
    _keys.c.last_used_at.is_not_distinct_from(bindparam("found", type_=DateTime)),
)


class _Known(NamedTuple):
    """A caller, and the condition and values under which the same query finds them again."""

    who: Principal
    condition: ColumnElement[bool]
    values: dict[str, Any]


def by_bearer() -> Principal | None:
    """Return the caller by the token or API key in the ``Authorization`` header (RFC 6750).

    :return: None when there is no such header.
    :raises Unauthenticated: it has neither, or one that is no longer valid (401).
    """
    header = request.headers.get("Authorization", "")
    return _remember(header, _find_bearer(header)).who if header else None


def recall_bearer() -> Recalled | None:
    """Return the caller whom the same header has identified within the last minute."""
    return _recall(request.environ.get("HTTP_AUTHORIZATION"), _find_bearer)


def by_session(session: object) -> Principal | None:
    """Return the user of a session; None if it has ended or the user is no longer active.

    :param session: the value in a token or cookie; if it does not have the form of an id, it never
        reaches the database, where some values would cause an error.
    """
    known = _find_session(session)
    return None if known is None else _remember(str(session), known).who


def recall_session(session: object) -> Recalled | None:
    """Return the user whom the same session has identified within the last minute."""
    return _recall(session, _find_session)


def by_key(key: str) -> Principal:
    """Return the user for whom an API key acts, with those of the key's scopes that the user has.

    :raises Unauthenticated: the key does not exist, has expired or is suspended, or its user is not
        active (401).
    """
    return _find_key(key).who


def _find_bearer(header: str) -> _Known:
    found = re.fullmatch(r"bearer +([\x21-\x7e]+)", header.strip(), re.IGNORECASE)
    if not found:
        raise Unauthenticated
    token = found[1]
    return _find_key(token) if token.startswith(KEY_PREFIX) else _find_token(token)


def _find_token(token: str) -> _Known:
    user_id, session = read_token(token)
    known = _find_session(session)
    if known is None or user_id != str(known.who.user_id):
        raise Unauthenticated
    return known


def _find_session(session: object) -> _Known | None:
    if not isinstance(session, str) or not re.fullmatch("[0-9a-f]{32}", session):
        return None
    found = read(_BY_SESSION, {"caller_session": session, "caller_now": utcnow()})
    if not found:
        return None
    row = found[0]
    scopes = SCOPES_OF_ROLE[row.role]
    who = Principal(row.user_id, row.username, row.role, scopes, session=session)
    return _Known(who, _HAS_SESSION, {"caller_session": session, **_state_of(row)})


def _find_key(key: str) -> _Known:
    now, key_hash = utcnow(), hash_key(key)
    found = read(_BY_KEY, {"caller_key": key_hash, "caller_now": now})
    if not found:
        raise Unauthenticated
    row = found[0]
    scopes = SCOPES_OF_ROLE[row.role] & frozenset(row.scopes.split())
    if row.last_used_at is None or row.last_used_at <= now - timedelta(seconds=KEY_USE_SECONDS):
        _commit_key_use(row, now)
    who = Principal(row.user_id, row.username, row.role, scopes, key_id=row.key_id)
    return _Known(who, _HAS_KEY, {"caller_key": key_hash, **_state_of(row)})


def _state_of(row: Any) -> dict[str, Any]:
    return {"caller_version": row.version, "caller_role": row.role}


@in_transaction
def _commit_key_use(row: Any, now: datetime) -> None:
    """Save when a key was used. If several requests use it at once, only one writes."""
    used = {"key_id": row.key_id, "found": row.last_used_at, "last_used_at": now}
    if write(_SAVE_USE, used).row_count:
        audit.record(_KEY_USED, row.user_id, actor=f"key:{row.key_id}")


def _remember(credentials: str, known: _Known) -> _Known:
    """Keep who a caller is, under the hash of their credentials."""
    recalled = current_app.extensions.setdefault(_RECALLED, {})
    if len(recalled) >= MOST_RECALLED:
        recalled.clear()
    recalled[hash_key(credentials)] = monotonic() + RECALL_SECONDS, known
    return known


def _recall(credentials: Any, find: Callable[[Any], _Known | None]) -> Recalled | None:
    recalled = current_app.extensions.get(_RECALLED)
    if not recalled or not isinstance(credentials, str):
        return None
    until, known = recalled.get(hash_key(credentials), (0, None))
    if until <= monotonic():
        return None
    values = {**known.values, "caller_now": utcnow()}
    return Recalled(
        known.who, Premise(known.condition, values, partial(_finds, known, credentials, find))
    )


def _finds(known: _Known, credentials: str, find: Callable[[str], _Known | None]) -> bool:
    """Return whether the credentials still identify the same caller, in the same state."""
    try:
        return find(credentials) == known
    except AppError:
        return False

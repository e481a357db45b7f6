"""Finds out who calls, by what the request shows: one question to the database, or none."""

import re
from datetime import datetime, timedelta
from typing import Any

from flask import request
from sqlalchemy import DateTime, String, and_, bindparam, or_, select, type_coerce, update

from project.api.audit import service as audit
from project.api.auth.models import APIKey, Session
from project.api.auth.tokens import KEY_PREFIX, hash_key, read_token
from project.api.users.models import User
from project.clock import utcnow
from project.database import in_transaction, read, write
from project.errors import Unauthenticated
from project.web.guard import SCOPES_OF_ROLE, Principal

KEY_USE_SECONDS = 60
_KEY_USED = audit.register("key.used")

_columns: list[Any] = [User.id.label("user_id"), User.username, User.role]
_NOW = bindparam("now", type_=DateTime)

# Whether the session has been ended, the user deactivated since, or the password changed is part of
# the one question that the caller's role needs anyway.
_BY_SESSION = (
    select(*_columns)
    .join(Session, and_(Session.user_id == User.id, Session.expires_at > _NOW))
    .where(
        Session.token_id == bindparam("token_id", type_=String),
        Session.password_version == User.password_version,
        Session.deactivations == User.deactivations,
        User.active,
    )
)
_BY_KEY = (
    select(
        *_columns,
        APIKey.id.label("key_id"),
        type_coerce(APIKey.scopes, String).label("scopes"),  # as it is kept: words
        APIKey.last_used_at,
    )
    .join(APIKey, APIKey.user_id == User.id)
    .where(
        APIKey.key_hash == bindparam("key_hash", type_=String),
        or_(APIKey.expires_at.is_(None), APIKey.expires_at > _NOW),
        APIKey.deactivations == User.deactivations,
        User.active,
    )
)
_keys: Any = APIKey.__table__
_USE = update(_keys).where(
    _keys.c.id == bindparam("key_id"),
    _keys.c.last_used_at.is_not_distinct_from(bindparam("found", type_=DateTime)),
)


def by_bearer() -> Principal | None:
    """Return whose token or API key the request's ``Authorization`` header holds (RFC 6750).

    :return: None when there is no such header.
    :raises Unauthenticated: it holds neither, or one that is not good any more (401).
    """
    header = request.headers.get("Authorization", "")
    if not header:
        return None
    found = re.fullmatch(r"bearer +([\x21-\x7e]+)", header.strip(), re.IGNORECASE)
    if not found:
        raise Unauthenticated
    token = found[1]
    return by_key(token) if token.startswith(KEY_PREFIX) else by_token(token)


def by_token(token: str) -> Principal:
    """Return whose access token this is.

    :raises TokenExpired: its time is over (401).
    :raises Unauthenticated: it is not ours, or its session has ended (401).
    """
    user_id, session = read_token(token)
    who = by_session(session)
    if who is None or user_id != str(who.user_id):
        raise Unauthenticated
    return who


def by_session(session: object) -> Principal | None:
    """Return who has signed in; None when the session is over or the user not active any more.

    :param session: what a token or a cookie says; what is no id of a sign-in never reaches the
        database, which would choke on some of it.
    """
    if not isinstance(session, str) or not re.fullmatch("[0-9a-f]{32}", session):
        return None
    found = read(_BY_SESSION, {"token_id": session, "now": utcnow()})
    if not found:
        return None
    row = found[0]
    return Principal(**row._asdict(), scopes=SCOPES_OF_ROLE[row.role], session=session)


def by_key(key: str) -> Principal:
    """Return for whom an API key acts: with the key's scopes, as far as the user has them.

    :raises Unauthenticated: no such key, its time is over, it is suspended, or its user is not
        active (401).
    """
    now = utcnow()
    found = read(_BY_KEY, {"key_hash": hash_key(key), "now": now})
    if not found:
        raise Unauthenticated
    row = found[0]
    scopes = SCOPES_OF_ROLE[row.role] & frozenset(row.scopes.split())
    if row.last_used_at is None or row.last_used_at <= now - timedelta(seconds=KEY_USE_SECONDS):
        _commit_key_use(row, now)
    user = {column.key: getattr(row, column.key) for column in _columns}
    return Principal(**user, scopes=scopes, key_id=row.key_id)


@in_transaction
def _commit_key_use(row: Any, now: datetime) -> None:
    """Note when a key was used. Of several that find it unused, one writes."""
    used = {"key_id": row.key_id, "found": row.last_used_at, "last_used_at": now}
    if write(_USE, used).row_count:
        audit.record(_KEY_USED, row.user_id, actor=f"key:{row.key_id}")

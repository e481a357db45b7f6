"""Identifies the caller by the request's credentials, with at most one query."""

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

# The role has to be queried anyway, so the same query checks that the session has not ended, the
# user has not been deactivated since, and the password has not changed.
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
        type_coerce(APIKey.scopes, String).label("scopes"),  # as stored: text
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
_SAVE_USE = update(_keys).where(
    _keys.c.id == bindparam("key_id"),
    _keys.c.last_used_at.is_not_distinct_from(bindparam("found", type_=DateTime)),
)


def by_bearer() -> Principal | None:
    """Return the caller by the token or API key in the ``Authorization`` header (RFC 6750).

    :return: None when there is no such header.
    :raises Unauthenticated: it has neither, or one that is no longer valid (401).
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
    """Return the user to whom an access token belongs.

    :raises TokenExpired: it has expired (401).
    :raises Unauthenticated: it is not a token of this service, or its session has ended (401).
    """
    user_id, session = read_token(token)
    who = by_session(session)
    if who is None or user_id != str(who.user_id):
        raise Unauthenticated
    return who


def by_session(session: object) -> Principal | None:
    """Return the user of a session; None if it has ended or the user is no longer active.

    :param session: the value in a token or cookie; if it does not have the form of an id, it never
        reaches the database, where some values would cause an error.
    """
    if not isinstance(session, str) or not re.fullmatch("[0-9a-f]{32}", session):
        return None
    found = read(_BY_SESSION, {"token_id": session, "now": utcnow()})
    if not found:
        return None
    row = found[0]
    return Principal(**row._asdict(), scopes=SCOPES_OF_ROLE[row.role], session=session)


def by_key(key: str) -> Principal:
    """Return the user for whom an API key acts, with those of the key's scopes that the user has.

    :raises Unauthenticated: the key does not exist, has expired or is suspended, or its user is not
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
    return Principal(row.user_id, row.username, row.role, scopes, key_id=row.key_id)


@in_transaction
def _commit_key_use(row: Any, now: datetime) -> None:
    """Save when a key was used. If several requests use it at once, only one writes."""
    used = {"key_id": row.key_id, "found": row.last_used_at, "last_used_at": now}
    if write(_SAVE_USE, used).row_count:
        audit.record(_KEY_USED, row.user_id, actor=f"key:{row.key_id}")

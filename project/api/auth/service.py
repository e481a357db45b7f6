"""Sign-in and API keys: all SQL on their tables. Knows no HTTP.

Functions flush, and the caller commits. Functions named ``commit_…`` commit by themselves, because
what they write must persist when the request is refused: a password attempt and its refusal.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from math import ceil
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

from flask import current_app
from sqlalchemy import DateTime, bindparam, delete, insert, or_, select, update

from project.api.audit import service as audit
from project.api.audit.models import ADDRESS_LENGTH
from project.api.audit.words import register_names
from project.api.auth import errors, throttle, tokens
from project.api.auth.models import USER_AGENT_LENGTH, APIKey, Session
from project.api.auth.schemas import AccountRead
from project.api.users import queries
from project.api.users import service as users
from project.api.users.errors import EmailTaken
from project.api.users.folding import check_email, fold_email
from project.api.users.models import User
from project.api.users.passwords import hash_password, hashing_slot, needs_rehash, verify_password
from project.clock import utcnow
from project.database import Row, db, in_transaction, read, write
from project.errors import Unauthenticated
from project.web import client
from project.web.guard import Principal
from project.web.pruning import delete_oldest, prunes

SIGN_IN_SECONDS = 60
"""The minimum time between two writes of a user's ``last_sign_in_at``."""

KEYS_PER_USER = 50
EXPIRES_SOON = timedelta(days=14)
"""For how long before a key expires people are told."""

SESSIONS_SHOWN = 50
_SESSION_STARTED = audit.register("session.started")
_SESSION_FAILED = audit.register("session.failed")
_SESSION_ENDED = audit.register("session.ended")
_SESSIONS_ENDED = audit.register("sessions.ended")
_PASSWORD_REFUSED = audit.register("password.refused")
_KEY_CREATED = audit.register("key.created")
_KEY_RESUMED = audit.register("key.resumed")
_KEY_REMOVED = audit.register("key.removed")
_users: Any = User.__table__
_ACCOUNT = queries.by_id(tuple(AccountRead.model_fields)).where(_users.c.active)
_PASSWORD_HASH = queries.by_id(("password_hash",))
_BY_EMAIL = select(_users.c.id, _users.c.password_hash).where(
    _users.c.email_folded == bindparam("email_folded")
)
# Clients do not see what this changes, so the version, and with it the ETag, stays the same.
_UPDATE_USER = update(_users).where(queries.HAS_ID).values(updated_at=_users.c.updated_at)
_SAVE_SIGN_IN_TIME = _UPDATE_USER.where(
    or_(_users.c.last_sign_in_at.is_(None), _users.c.last_sign_in_at <= bindparam("before"))
)

_sessions: Any = Session.__table__
_CLIENT = ("user_agent", "address")
_ADD_SESSION = insert(_sessions)
_UPDATE_SESSION = update(_sessions).where(_sessions.c.token_id == bindparam("session"))
_OF_USER = _sessions.c.user_id == bindparam("user_id")
_END_SESSION = delete(_sessions).where(_sessions.c.id == bindparam("session_id"), _OF_USER)
_END_OTHER_SESSIONS = delete(_sessions).where(
    _OF_USER, _sessions.c.token_id != bindparam("session")
)
_SESSIONS = (
    select(*(_sessions.c[name] for name in ("id", "token_id", "created_at", *_CLIENT)))
    .join(_users, _users.c.id == _sessions.c.user_id)
    .where(
        _OF_USER,
        _sessions.c.expires_at > bindparam("now", type_=DateTime),
        _sessions.c.password_version == _users.c.password_version,
        _sessions.c.deactivations == _users.c.deactivations,
    )
    .order_by(_sessions.c.id.desc())
    .limit(SESSIONS_SHOWN)
)

_keys: Any = APIKey.__table__
_HAS_KEY_ID = _keys.c.id == bindparam("key_id")
_KEYS = select(
    _keys,
    _users.c.deactivations.label("user_deactivations"),
    (_keys.c.deactivations != _users.c.deactivations).label("suspended"),
).join(_users, _users.c.id == _keys.c.user_id)
_ALL_KEYS = _KEYS.order_by(_keys.c.id)
_KEYS_OF_USER = _ALL_KEYS.where(_keys.c.user_id == bindparam("user_id"))
_KEY = _KEYS.where(_HAS_KEY_ID)
_LOCKED_KEY = _KEYS.where(_HAS_KEY_ID).with_for_update()
_KEY_NAMES = select(_keys.c.id, _keys.c.name).where(
    _keys.c.id.in_(bindparam("ids", expanding=True))
)
_ADD_KEY = insert(_keys)
_UPDATE_KEY = update(_keys).where(_HAS_KEY_ID)
_DELETE_KEY = delete(_keys).where(_HAS_KEY_ID)


class SignIn(NamedTuple):
    """A sign-in that was just created.

    :param token: the access token, for the ``Authorization`` header.
    """

    role: str | None
    session: str
    token: str


def register(username: str, email: str, password: str) -> SignIn:
    """Create an account and sign in; to be called within ``throttle.commit_email_attempt``.

    :raises Invalid: the password is easy to guess (400).
    :raises UserExists: another user has this mailbox (400).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    """
    try:
        user = users.create_user(username, email, active=True, password=password)
    except EmailTaken as error:
        raise errors.UserExists from error
    return _sign_in(user, deactivations=0)


def commit_sign_in(
    email: str, password: str, address: str = "", replaces: str | None = None
) -> SignIn:
    """Sign in; commits the attempt, and then the sign-in or its refusal.

    An unknown email takes as long as a wrong password, and so does a user who is not active.

    :param address: the client's; guessing is slowed down per account and per address.
    :param replaces: the browser's previous sign-in, which ends.
    :raises TooManyAttempts: too many attempts failed before (429).
    :raises TooManyPasswords: the service is busy with other passwords; the attempt is not counted
        (503).
    :raises WrongCredentials: for any reason (401).
    """
    found = _find(email)
    user_id, stored = (found.id, found.password_hash) if found else (None, None)
    account = throttle.account_of(user_id, email)
    try:
        new_hash = _commit_attempt(account, stored, password, address)
        if user_id is None or stored is None or new_hash is None:
            raise errors.WrongCredentials
        return in_transaction(_log_in)(user_id, stored, new_hash, account, address, replaces)
    except errors.WrongCredentials:
        # The email is not recorded: it may be a password in the wrong field.
        in_transaction(audit.record)(_SESSION_FAILED, user_id)
        raise


def _commit_attempt(account: str, stored: str | None, password: str, address: str) -> str | None:
    """Count a password attempt, and verify the password.

    :param stored: the stored hash; None: there is none.
    :return: the hash to store from now on; None: the password is wrong.
    :raises TooManyAttempts: too many attempts failed before (429).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    """
    throttle.check(account, address)
    with hashing_slot():  # first, so that an attempt refused here is not counted
        throttle.commit_attempt(account, address)
        if not verify_password(stored, password) or stored is None:
            return None
        return hash_password(password) if needs_rehash(stored) else stored


def _log_in(
    user_id: int, stored: str, new_hash: str, account: str, address: str, replaces: str | None
) -> SignIn:
    user = db.session.get(User, user_id, with_for_update=True)
    # The user may have been deactivated, or their password changed, in the meantime.
    if user is None or not user.active or user.password_hash != stored:
        raise errors.WrongCredentials
    if new_hash != stored:
        write(_UPDATE_USER, {"user_id": user.id, "password_hash": new_hash})
    throttle.record_success(account, address)
    return start_session(user, user.deactivations, replaces)


def start_session(user: User | Row, deactivations: int, replaces: str | None = None) -> SignIn:
    """Sign in a user who has proven who they are.

    :param deactivations: the user's, which an ORM object has too, but not the row of a write.
    :param replaces: the browser's previous sign-in, which ends.
    """
    if replaces is not None:
        log_out(replaces)
    audit.record(_SESSION_STARTED, user.id, actor=f"user:{user.id}")
    return _sign_in(user, deactivations)


def end_other_sessions(user_id: int, session: str) -> None:
    """End all sign-ins of a user but one; their former password has ended the others anyway."""
    write(_END_OTHER_SESSIONS, {"session": session, "user_id": user_id})


def get_account(user_id: int) -> Row:
    """Return an active user's own account.

    :raises Unauthenticated: it has just been removed or deactivated (401).
    """
    found = read(_ACCOUNT, {"user_id": user_id})
    if not found:
        raise Unauthenticated
    return found[0]


def log_out(session: str) -> None:
    """End a sign-in, on every worker and host."""
    ended = db.session.scalar(select(Session).where(Session.token_id == session).with_for_update())
    if ended is not None:
        db.session.delete(ended)
        audit.record(_SESSION_ENDED, ended.user_id, actor=f"user:{ended.user_id}")


def list_sessions(user_id: int) -> Sequence[Row]:
    """Return the newest sign-ins of a user that are valid, at most ``SESSIONS_SHOWN``."""
    return read(_SESSIONS, {"user_id": user_id, "now": utcnow()})


def end_session(user_id: int, session_id: int) -> None:
    """End one sign-in of a user; nothing happens if they have none with this id."""
    in_range = 0 < session_id <= users.LARGEST_ID
    if in_range and write(_END_SESSION, {"user_id": user_id, "session_id": session_id}).row_count:
        audit.record(_SESSION_ENDED, user_id)


def end_sessions(user_id: int, kept: str = "") -> None:
    """End all sign-ins of a user.

    :param kept: the ``token_id`` of the sign-in that remains valid; empty: none.
    """
    if write(_END_OTHER_SESSIONS, {"user_id": user_id, "session": kept}).row_count:
        audit.record(_SESSIONS_ENDED, user_id)


def commit_password_change(
    user_id: int, session: str, current_password: str, password: str, address: str = ""
) -> None:
    """Verify the current password, change it, and end all other sign-ins of the user.

    :param session: the sign-in that remains valid.
    :raises TooManyAttempts: too many attempts failed before (429).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    :raises WrongPassword: the current password is wrong (400).
    :raises Invalid: the new one is easy to guess (400).
    """
    commit_reauthentication(user_id, current_password, address)
    in_transaction(_change_password)(user_id, session, password)


def _change_password(user_id: int, session: str, password: str) -> None:
    user = users.update_user(user_id, {"password": password})
    write(_UPDATE_SESSION, {"session": session, "password_version": user.password_version})
    end_other_sessions(user_id, session)


def commit_reauthentication(user_id: int, current_password: str, address: str = "") -> None:
    """Verify a signed-in user's current password.

    :param address: the client's; guessing is slowed down as at sign-in, and recorded.
    :raises TooManyAttempts: too many attempts failed before (429).
    :raises TooManyPasswords: the service is busy with other passwords; the attempt is not counted
        (503).
    :raises WrongPassword: it is wrong or missing, or the user has none (400).
    """
    found = read(_PASSWORD_HASH, {"user_id": user_id})
    stored = found[0].password_hash if found else None
    if stored is None:
        raise errors.WrongPassword(
            "You have no password. Ask an administrator to make this change."
        )
    if not current_password:
        raise errors.WrongPassword("Is required for this change.")
    account = throttle.account_of(user_id, "")
    if _commit_attempt(account, stored, current_password, address) is None:
        in_transaction(audit.record)(_PASSWORD_REFUSED, user_id)
        raise errors.WrongPassword
    in_transaction(throttle.record_success)(account, address)  # even if the change is refused later


def commit_email_change(
    who: Principal, current_password: str, address: str
) -> AbstractContextManager[None]:
    """Verify the user's password; return a context in which they may change their own email.

    :raises TooManyAttempts: too many attempts failed before (429).
    :raises TooManyTakenEmails: too many emails were taken before (429).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    :raises WrongPassword: the password is wrong (400).
    """
    commit_reauthentication(who.user_id, current_password, address)
    return throttle.commit_email_attempt(who.user_id, address)


def create_key(
    who: Principal, name: str, scopes: Sequence[str], expires_in_days: int | None
) -> Row:
    """Create an API key; only its hash is stored.

    :param expires_in_days: None: it is valid until it or its user is removed.
    :raises ScopeTooWide: the user does not have a scope (403).
    :raises Unauthenticated: the user has just been removed or deactivated (401).
    :raises TooManyKeys: the user has the maximum number of keys (409).
    """
    if not set(scopes) <= who.scopes:
        raise errors.ScopeTooWide
    # The lock serializes concurrent requests of one user, so that the limit holds.
    user = db.session.get(User, who.user_id, with_for_update=True)
    since = select(Session.deactivations).where(Session.token_id == who.session)
    if user is None or (who.session and db.session.scalar(since) != user.deactivations):
        raise Unauthenticated
    existing = select(APIKey.id).where(APIKey.user_id == user.id).with_for_update()
    if len(db.session.scalars(existing).all()) >= KEYS_PER_USER:
        raise errors.TooManyKeys
    key, now = tokens.make_key(), utcnow()
    values = {
        "user_id": who.user_id,
        "name": name,
        "prefix": key[: tokens.SHOWN_CHARACTERS],
        "key_hash": tokens.hash_key(key),
        "scopes": list(scopes),
        "deactivations": user.deactivations,
        "created_at": now,
        "expires_at": now + timedelta(days=expires_in_days) if expires_in_days else None,
        "last_used_at": None,
    }
    key_id = write(_ADD_KEY, values).inserted_id
    made = SimpleNamespace(**values, id=key_id, suspended=False, key=key)
    audit.record(_KEY_CREATED, who.user_id, after=_audit_values(made))
    return made


def list_keys(user_id: int | None = None) -> Sequence[Row]:
    """Return API keys in order of id, each with ``suspended``.

    :param user_id: only this user's; None: all users'.
    """
    if user_id is None:
        return read(_ALL_KEYS, {})
    return read(_KEYS_OF_USER, {"user_id": user_id})


def days_left(expires_at: datetime | None, now: datetime) -> int | None:
    """Return in how many days a key expires, rounded up; None: not soon, or it has expired."""
    if expires_at is None or not now < expires_at <= now + EXPIRES_SOON:
        return None
    return ceil((expires_at - now) / timedelta(days=1))


def key_names(ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the API keys with these ids, by id; unknown ids are left out."""
    return {key.id: key.name for key in read(_KEY_NAMES, {"ids": list(ids)})}


register_names("key", key_names)


def get_key(key_id: int, owner_id: int | None = None) -> Row:
    """Return an API key, in the form that list_keys returns.

    :param owner_id: the key must belong to this user; None: to any user.
    :raises KeyNotFound: there is no such key (404).
    """
    in_range = 0 < key_id <= users.LARGEST_ID
    return _check_owner(read(_KEY, {"key_id": key_id}) if in_range else (), owner_id)


def resume_key(key_id: int, owner_id: int | None = None) -> Row:
    """Resume a suspended API key.

    :param owner_id: the key must belong to this user; None: to any user.
    :return: the key, in the form that list_keys returns.
    :raises KeyNotFound: there is no such key (404).
    """
    key = _lock_key(key_id, owner_id)
    if key.suspended:
        write(_UPDATE_KEY, {"key_id": key_id, "deactivations": key.user_deactivations})
        audit.record(_KEY_RESUMED, key.user_id, after=_audit_values(key))
    return key._replace(suspended=False)


def delete_key(key_id: int, owner_id: int | None = None) -> Row:
    """Remove an API key.

    :raises KeyNotFound: there is no such key (404).
    """
    key = _lock_key(key_id, owner_id)
    write(_DELETE_KEY, {"key_id": key_id})
    audit.record(_KEY_REMOVED, key.user_id, before=_audit_values(key))
    return key


def _lock_key(key_id: int, owner_id: int | None) -> Row:
    """Lock a key and its user; return the key, in the form that list_keys returns."""
    in_range = 0 < key_id <= users.LARGEST_ID
    return _check_owner(write(_LOCKED_KEY, {"key_id": key_id}).rows if in_range else (), owner_id)


def _check_owner(found: Sequence[Row], owner_id: int | None) -> Row:
    if not found or owner_id not in (None, found[0].user_id):
        raise errors.KeyNotFound
    return found[0]


def _audit_values(key: Row) -> dict[str, Any]:
    return {"id": key.id, "name": key.name, "scopes": key.scopes}


def _find(email: str) -> Row | None:
    """Return the user with this mailbox.

    An invalid address is not looked up: in MySQL's utf8mb4_bin, an address with trailing spaces
    equals the one without.
    """
    try:
        check_email(email)
    except ValueError:
        return None
    found = read(_BY_EMAIL, {"email_folded": fold_email(email)})
    return found[0] if found else None


def _sign_in(user: User | Row, deactivations: int) -> SignIn:
    now, session = utcnow(), uuid4().hex
    agent, address = client.user_agent(), client.address()
    expires_at = now + timedelta(hours=current_app.config["TOKEN_HOURS"])
    values = {
        "token_id": session,
        "user_id": user.id,
        "password_version": user.password_version,
        "deactivations": deactivations,
        "created_at": now,
        "expires_at": expires_at,
        "user_agent": agent[:USER_AGENT_LENGTH] if agent else None,
        "address": address[:ADDRESS_LENGTH] if address else None,
    }
    write(_ADD_SESSION, values)
    times = {"last_sign_in_at": now, "before": now - timedelta(seconds=SIGN_IN_SECONDS)}
    write(_SAVE_SIGN_IN_TIME, {"user_id": user.id, **times})
    return SignIn(user.role, session, tokens.make_token(user.id, session, now, expires_at))


@users.after_deactivation
def _end_sign_ins(user_ids: Sequence[int]) -> None:
    """Remove the sign-ins of users; one created concurrently is invalid by ``deactivations``."""
    db.session.execute(delete(_sessions).where(_sessions.c.user_id.in_(user_ids)))


@prunes("sign-ins")
def remove_expired(limit: int) -> int:
    """Remove expired sign-ins."""
    return delete_oldest(_sessions.c.id, _sessions.c.expires_at, utcnow(), limit)

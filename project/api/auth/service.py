"""Sign-in and API keys: all SQL on their tables. Knows no HTTP.

Flushes, and the caller commits. A function whose name says ``commit`` commits by itself, because
what it writes must stay when the request is refused: an attempt at a password, and its refusal.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import bindparam, delete, or_, select, update

from project.api.audit import service as audit
from project.api.auth import throttle, tokens
from project.api.auth.errors import (
    KeyNotFound,
    ScopeTooWide,
    TooManyKeys,
    UserExists,
    WrongCredentials,
    WrongPassword,
)
from project.api.auth.models import APIKey, Session
from project.api.auth.schemas import AccountRead, APIKeyRead
from project.api.users import service as users
from project.api.users.errors import EmailTaken
from project.api.users.folding import check_email, fold_email
from project.api.users.models import User
from project.api.users.passwords import hash_password, hashing_slot, needs_rehash, verify_password
from project.clock import utcnow
from project.database import Row, db, in_transaction, read, write
from project.errors import Unauthenticated
from project.web.guard import Principal, may
from project.web.pruning import prunes

SIGN_IN_SECONDS = 60
"""How old a user's ``last_sign_in_at`` may be before another sign-in writes it anew."""

APIKEY_FIELDS = tuple(APIKeyRead.model_fields)
KEYS_PER_USER = 50
_SESSION_STARTED = audit.register("session.started")
_SESSION_FAILED = audit.register("session.failed")
_SESSION_ENDED = audit.register("session.ended")
_PASSWORD_REFUSED = audit.register("password.refused")
_KEY_CREATED = audit.register("key.created")
_KEY_RESUMED = audit.register("key.resumed")
_KEY_REMOVED = audit.register("key.removed")
_PLAIN = {"synchronize_session": False}
_users = User.__table__.c
_ACCOUNT = select(*(_users[name] for name in AccountRead.model_fields)).where(
    _users.id == bindparam("user_id"), _users.active
)
_PASSWORD_HASH = select(_users.password_hash).where(_users.id == bindparam("user_id"))
_BY_EMAIL = select(_users.id, _users.password_hash).where(
    _users.email_folded == bindparam("email_folded")
)
# Not a change that clients know by the version: the ETag stays.
_NOTE_SIGN_IN = (
    update(User.__table__)
    .where(
        _users.id == bindparam("user_id"),
        or_(_users.last_sign_in_at.is_(None), _users.last_sign_in_at <= bindparam("before")),
    )
    .values(updated_at=_users.updated_at)
)


_KEYS: Any = select(
    APIKey.__table__, (APIKey.deactivations != User.deactivations).label("suspended")
).join(User, User.id == APIKey.user_id)
_ALL_KEYS = _KEYS.order_by(APIKey.id)
_KEYS_OF_USER = _ALL_KEYS.where(APIKey.user_id == bindparam("user_id"))


@dataclass(frozen=True)
class SignIn:
    """Somebody has signed in.

    :param role: of who has signed in.
    :param session: the id of the sign-in, for a cookie.
    :param token: for the ``Authorization`` header.
    """

    role: str | None
    session: str
    token: str


def register(username: str, email: str, password: str) -> SignIn:
    """Make an account and sign in; to be called within ``commit_email_attempt``.

    :raises Invalid: the password is easily guessed (400).
    :raises UserExists: another user has this mailbox (400).
    :raises TooManyPasswords: the service is busy with others (503).
    """
    try:
        user = users.create_user(username, email, active=True, password=password)
    except EmailTaken as error:
        raise UserExists from error
    return _sign_in(user, deactivations=0)


def commit_sign_in(
    email: str, password: str, address: str = "", replaces: str | None = None
) -> SignIn:
    """Sign in; commits the attempt, and then the sign-in or its refusal.

    An unknown email takes as long as a wrong password, and so does a user who may not sign in.

    :param address: the client's; guessing is slowed down for the account and for the address.
    :param replaces: the sign-in that this browser has had so far, which ends.
    :raises TooManyAttempts: there were too many failures (429).
    :raises TooManyPasswords: the service is busy with others; this counts as no attempt (503).
    :raises WrongCredentials: whatever it is that is wrong (401).
    """
    found = _find(email)
    user_id, kept = (found.id, found.password_hash) if found else (None, None)
    account = throttle.account_of(user_id, email)
    try:
        rehashed = _commit_attempt(account, kept, password, address)
        if user_id is None or kept is None or rehashed is None:
            raise WrongCredentials
        return in_transaction(_log_in)(user_id, kept, rehashed, account, address, replaces)
    except WrongCredentials:
        # What was typed is not kept: it may be a password in the wrong field.
        _commit_refusal(_SESSION_FAILED, user_id)
        raise


_commit_refusal = in_transaction(audit.record)


def _commit_attempt(account: str, kept: str | None, password: str, address: str) -> str | None:
    """Count and make an attempt at a password.

    :return: what is to be kept of it from now on; None: it is wrong.
    :raises TooManyAttempts: there were too many failures (429).
    :raises TooManyPasswords: the service is busy with others (503).
    """
    throttle.check(account, address)
    with hashing_slot():  # before it counts: who is not served has not tried
        throttle.commit_attempt(account, address)
        if not verify_password(kept, password) or kept is None:
            return None
        return hash_password(password) if needs_rehash(kept) else kept


def _log_in(
    user_id: int, kept: str, rehashed: str, account: str, address: str, replaces: str | None
) -> SignIn:
    user = db.session.get(User, user_id, with_for_update=True)
    # Deactivated, or with another password, since it was looked at.
    if user is None or not user.active or user.password_hash != kept:
        raise WrongCredentials
    if rehashed != kept:
        # Not a change that clients see: the version, and so the ETag, stays.
        change = (
            update(User)
            .where(User.id == user.id)
            .values(password_hash=rehashed, updated_at=User.updated_at)
        )
        db.session.execute(change, execution_options=_PLAIN)
    throttle.forgive(account, address)
    if replaces is not None:
        log_out(replaces)
    audit.record(_SESSION_STARTED, user.id, actor=f"user:{user.id}")
    return _sign_in(user, user.deactivations)


def get_account(user_id: int) -> Row:
    """Return what an active user may know of their own account.

    :raises Unauthenticated: it has been removed or deactivated this very moment (401).
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


def commit_password_change(
    user_id: int, session: str, current_password: str, password: str, address: str = ""
) -> None:
    """Change a user's own password, and end all other sign-ins of the user; after a proof.

    :param session: the sign-in that goes on.
    :param address: the client's; guessing the current password is slowed down as at sign-in.
    :raises TooManyAttempts: there were too many failures (429).
    :raises TooManyPasswords: the service is busy with others (503).
    :raises WrongPassword: the current password is another one (400).
    :raises Invalid: the new one is easily guessed (400).
    """
    commit_proof(user_id, current_password, address)
    in_transaction(_change_password)(user_id, session, password)


def _change_password(user_id: int, session: str, password: str) -> None:
    user = users.update_user(user_id, {"password": password})
    stays = update(Session).where(Session.token_id == session)
    db.session.execute(
        stays.values(password_version=user.password_version), execution_options=_PLAIN
    )
    others = delete(Session).where(Session.user_id == user_id, Session.token_id != session)
    db.session.execute(others, execution_options=_PLAIN)


def commit_proof(user_id: int, current_password: str, address: str = "") -> None:
    """Let a user show by their password that it is they.

    :param address: the client's; guessing is slowed down as at sign-in, and recorded.
    :raises TooManyAttempts: there were too many failures (429).
    :raises TooManyPasswords: the service is busy with others; this counts as no attempt (503).
    :raises WrongPassword: it is another one, it is missing, or the user has none (400).
    """
    found = read(_PASSWORD_HASH, {"user_id": user_id})
    kept = found[0].password_hash if found else None
    if kept is None:
        raise WrongPassword("You have no password, so somebody else has to change this.")
    if not current_password:
        raise WrongPassword("Is needed for this change.")
    account = throttle.account_of(user_id, "")
    if _commit_attempt(account, kept, current_password, address) is None:
        _commit_refusal(_PASSWORD_REFUSED, user_id)
        raise WrongPassword
    _commit_forgiving(account, address)  # also where the change is refused


_commit_forgiving = in_transaction(throttle.forgive)


@contextmanager
def commit_proof_of_email_change(
    who: Principal, current_password: str, address: str
) -> Iterator[None]:
    """Let a user change their own email within, once they have shown that it is they.

    :param address: the client's, as for ``commit_proof`` and ``commit_email_attempt``.
    :raises TooManyAttempts: there were too many failures (429).
    :raises TooManyTakenEmails: too many emails were others' (429).
    :raises TooManyPasswords: the service is busy with others (503).
    :raises WrongPassword: the password is not theirs (400).
    """
    commit_proof(who.user_id, current_password, address)
    with commit_email_attempt(who.user_id, address):
        yield


def commit_email_attempt(user_id: int | None, address: str) -> AbstractContextManager[None]:
    """Count what is done within when the email is taken; but not for those who may read which are.

    :param user_id: who asks; None: it is not known.
    :param address: the client's.
    :raises TooManyTakenEmails: too many emails were others' (429).
    """
    if may("users:read") or may("users:write"):
        return nullcontext()
    return throttle.commit_email_attempt(user_id, address)


@dataclass(frozen=True)
class MadeKey:
    """A new API key, as it is shown once."""

    id: int
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    suspended: bool
    key: str


def create_key(
    who: Principal, name: str, scopes: Sequence[str], expires_in_days: int | None
) -> MadeKey:
    """Make an API key; it is shown now and never again.

    :param expires_in_days: None: it is good until it is removed, or its user is.
    :raises ScopeTooWide: the maker does not have a scope (403).
    :raises Unauthenticated: the maker has been removed or deactivated this very moment (401).
    :raises TooManyKeys: the user has as many as there may be (409).
    """
    if not set(scopes) <= who.scopes:
        raise ScopeTooWide
    # Of several that are being made at once, each waits here until the one before is there.
    user = db.session.get(User, who.user_id, with_for_update=True)
    if user is None or (who.session and not _is_good(who.session, user)):
        raise Unauthenticated
    held = select(APIKey.id).where(APIKey.user_id == user.id).with_for_update()
    if len(db.session.scalars(held).all()) >= KEYS_PER_USER:
        raise TooManyKeys
    key, now = tokens.make_key(), utcnow()
    made = APIKey(
        user_id=who.user_id,
        name=name,
        prefix=key[: tokens.SHOWN_CHARACTERS],
        key_hash=tokens.hash_key(key),
        scopes=list(scopes),
        deactivations=user.deactivations,
        created_at=now,
        expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
    )
    db.session.add(made)
    db.session.flush()
    audit.record(_KEY_CREATED, who.user_id, after=_recorded(made))
    shown = {field: getattr(made, field) for field in APIKEY_FIELDS if field != "suspended"}
    return MadeKey(**shown, suspended=False, key=key)


def _is_good(session: str, user: User) -> bool:
    """Say whether a sign-in is none of before the user was deactivated; the user is locked."""
    count = select(Session.deactivations).where(Session.token_id == session)
    return db.session.scalar(count) == user.deactivations


def list_keys(user_id: int | None = None) -> Sequence[Row]:
    """Return API keys, in the order in which they were made, and which are ``suspended``.

    :param user_id: whose; None: everybody's.
    """
    if user_id is None:
        return read(_ALL_KEYS, {})
    return read(_KEYS_OF_USER, {"user_id": user_id})


def resume_key(key_id: int, owner_id: int | None = None) -> Row:
    """Let a suspended API key be good again.

    :param owner_id: only a key of this user; None: of anybody.
    :return: the key, as list_keys does.
    :raises KeyNotFound: there is no such key (404).
    """
    key, deactivations = _lock_key(key_id, owner_id)
    if key.deactivations != deactivations:
        key.deactivations = deactivations
        audit.record(_KEY_RESUMED, key.user_id, after=_recorded(key))
    db.session.flush()
    shown: Row = db.session.execute(_KEYS.where(APIKey.id == key_id)).one()
    return shown


def delete_key(key_id: int, owner_id: int | None = None) -> APIKey:
    """Remove an API key; it is dead from then on.

    :param owner_id: as for resume_key.
    :raises KeyNotFound: there is no such key (404).
    """
    key, _ = _lock_key(key_id, owner_id)
    db.session.delete(key)
    db.session.flush()
    audit.record(_KEY_REMOVED, key.user_id, before=_recorded(key))
    return key


def _lock_key(key_id: int, owner_id: int | None) -> tuple[APIKey, int]:
    """Return a key, and how often its user was deactivated; both rows are locked."""
    keys = select(APIKey, User.deactivations).join(User, User.id == APIKey.user_id)
    locked = keys.where(APIKey.id == key_id).with_for_update()
    found = db.session.execute(locked).first() if 0 < key_id <= users.LARGEST_ID else None
    if found is None or owner_id not in (None, found.APIKey.user_id):
        raise KeyNotFound
    return found.APIKey, found.deactivations


def _recorded(key: APIKey) -> dict[str, Any]:
    return {"id": key.id, "name": key.name, "scopes": key.scopes}


def _find(email: str) -> Row | None:
    """Return the user with this mailbox.

    What is no address is not asked for: in MySQL's utf8mb4_bin, one with spaces behind it equals
    the one without.
    """
    try:
        check_email(email)
    except ValueError:
        return None
    found = read(_BY_EMAIL, {"email_folded": fold_email(email)})
    return found[0] if found else None


def _sign_in(user: User | Row, deactivations: int) -> SignIn:
    now = utcnow()
    expires_at = now + tokens.token_hours()
    session = Session(
        token_id=uuid4().hex,
        user_id=user.id,
        password_version=user.password_version,
        deactivations=deactivations,
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(session)
    db.session.flush()
    noted = {"last_sign_in_at": now, "before": now - timedelta(seconds=SIGN_IN_SECONDS)}
    write(_NOTE_SIGN_IN, {"user_id": user.id, **noted})
    token = tokens.make_token(user.id, session.token_id, now, expires_at)
    return SignIn(user.role, session.token_id, token)


@users.after_deactivation
def _end_sign_ins(user_ids: Sequence[int]) -> None:
    """Remove the sign-ins of users; one that is just being made is over by its count."""
    db.session.execute(
        delete(Session).where(Session.user_id.in_(user_ids)), execution_options=_PLAIN
    )


@prunes("sign-ins")
def remove_expired(limit: int) -> int:
    """Remove sign-ins whose time is over.

    :param limit: how many at most.
    :return: how many there were.
    """
    expired = select(Session.id).where(Session.expires_at <= utcnow()).order_by(Session.expires_at)
    chosen = expired.limit(limit).with_for_update(skip_locked=True)
    if ids := db.session.scalars(chosen).all():
        db.session.execute(delete(Session).where(Session.id.in_(ids)), execution_options=_PLAIN)
    return len(ids)

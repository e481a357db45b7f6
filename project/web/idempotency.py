"""One answer for each ``Idempotency-Key``: a request that is sent again gets the first answer.

After draft-ietf-httpapi-idempotency-key-header-07. The key is claimed by the first INSERT of the
transaction that does the work, and its answer is stored in that same transaction: both are there
or neither, and the unique constraint makes a second request wait until the first has ended, on
whichever worker or host it runs.
"""

import hmac
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from hashlib import sha256
from typing import Any

import orjson
from flask import Response, current_app, request
from sqlalchemy import DateTime, Index, Integer, String, Text, bindparam, delete, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from project.clock import utcnow
from project.database import TABLE_OPTIONS, Row, db, read
from project.database.failures import is_lock_timeout
from project.errors import Conflict, FieldError, Invalid, Unprocessable
from project.web.contract import declare
from project.web.guard import known_principal
from project.web.pruning import prunes

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
KEPT_HEADERS = ("Content-Type", "ETag", "Location")

LONGEST_KEY = 255

# As it is, or as RFC 8941 section 3.3.3 writes a string.
KEY = re.compile(
    rf'([!#-~][ -~]{{0,{LONGEST_KEY - 1}}})|"((?:[ !#-\[\]-~]|\\["\\]){{1,{LONGEST_KEY}}})"'
)

_PLAIN = {"synchronize_session": False}

_running: set[str] = set()  # the keys whose work this process is doing, as hashes


class KeyInUse(Conflict):
    """Another request with the key has been running for longer than this one may wait (409)."""

    message = "A request with this Idempotency-Key is still running. Send it again later."


class KeyReused(Unprocessable):
    """The key came with another request before (422)."""

    message = "This Idempotency-Key belongs to another request. Take a new key for a new request."


class IdempotencyKey(db.Model):  # type: ignore[name-defined,misc]
    """A key that was used, by whom, for what, and what was answered.

    Keys and requests are kept as hashes (SHA-256, hexadecimal): all that is asked of them is
    whether they are the same. Since a request may hold a password, its hash takes our secret key
    as well (HMAC): nobody else can try passwords on it. ``answer`` is JSON; NULL only within
    the transaction that does the work.
    """

    __tablename__ = "idempotency_keys"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime)

    __table_args__ = (Index(None, "created_at"), TABLE_OPTIONS)


_columns: list[Any] = [IdempotencyKey.request_hash, IdempotencyKey.answer]
_FOUND = select(*_columns).where(
    IdempotencyKey.key_hash == bindparam("key_hash"),
    IdempotencyKey.created_at > bindparam("expired"),
)


def idempotent(view: Callable[..., Response]) -> Callable[..., Response]:
    """Give a request whose ``Idempotency-Key`` was used before the answer that was given then.

    To be called in a transaction. Answers that refuse the request as it is (400) are kept as those
    of success are; others undo the claim to the key, and the request may be sent again.

    :raises Invalid: the header is no key (400).
    :raises KeyInUse: another request with this key is still running after 5 s (409).
    :raises KeyReused: the key came with another body before (422).
    """

    @wraps(view)
    def wrapper(**kwargs: Any) -> Response:
        def answer() -> Response:
            try:
                with db.session.begin_nested():
                    return view(**kwargs)
            except Invalid as error:
                return current_app.make_response(current_app.handle_user_exception(error))

        key = _read_key()
        if key is None:
            return view(**kwargs)
        asked = f"{request.method} {request.path}\n".encode() + request.get_data()
        who = known_principal()
        return answer_once(f"{who.name if who else ''} {key}", asked, answer)

    declare(wrapper, idempotent=True)
    return wrapper


def answer_once(key: str, asked: bytes, answer: Callable[[], Response]) -> Response:
    """Return what was answered to this key; when it is new, what is answered now.

    To be called at the start of a transaction. A key is good for 24 hours.

    :param key: any text; whose it is must be part of it.
    :param asked: what tells this request from another one.
    :param answer: does the work; an exception undoes the claim to the key.
    :raises KeyInUse: another request with this key is still running after 5 s (409).
    :raises KeyReused: the key came with another request before (422).
    """
    claim = claim_of(key, asked)
    kept = _store(claim)
    if kept is None:
        _running.add(claim.key_hash)
        try:
            response = answer()
        finally:
            _running.discard(claim.key_hash)
        claim.answer = _to_json(response)
        return response
    if not _is_hash_of(asked, kept.request_hash):
        raise KeyReused(errors=[FieldError(HEADER, "Was sent with another request before.")])
    return _from_json(kept.answer)


def claim_of(key: str, asked: bytes) -> IdempotencyKey:
    """Return the row by which a request claims a key."""
    return IdempotencyKey(
        key_hash=sha256(key.encode()).hexdigest(),
        request_hash=_hash_request(asked, current_app.config["SECRET_KEY"]),
        created_at=utcnow(),
    )


def _hash_request(asked: bytes, secret_key: str) -> str:
    return hmac.digest(secret_key.encode(), asked, "sha256").hex()


def _is_hash_of(asked: bytes, kept: str) -> bool:
    """Say whether a kept hash is that of this request, by the key of now or an earlier one."""
    config = current_app.config
    keys = [config["SECRET_KEY"], *(config["SECRET_KEY_FALLBACKS"] or [])]
    return any(hmac.compare_digest(_hash_request(asked, key), kept) for key in keys)


def _store(claim: IdempotencyKey) -> Row | None:
    """Store a claim; return the row of an earlier one, when there is one that still holds."""
    expired = IdempotencyKey.created_at <= utcnow() - KEPT
    of_key = IdempotencyKey.key_hash == claim.key_hash
    try:
        db.session.add(claim)
        db.session.flush()
        return None
    except IntegrityError:
        db.session.rollback()
    except DBAPIError as error:
        # SQLite's one lock may be held by a writer with another key, or with none.
        in_use = claim.key_hash in _running or db.engine.dialect.name != "sqlite"
        if is_lock_timeout(error) and in_use:
            raise KeyInUse(errors=[FieldError(HEADER, "Is in use.")]) from error
        raise
    found = read(_FOUND, {"key_hash": claim.key_hash, "expired": utcnow() - KEPT})
    if found:
        return found[0]
    db.session.execute(delete(IdempotencyKey).where(of_key, expired), execution_options=_PLAIN)
    return _store(claim)


@prunes("stored answers")
def remove_expired(limit: int) -> int:
    """Remove keys that have expired, with their answers.

    :param limit: how many at most.
    :return: how many there were.
    """
    expired = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.created_at <= utcnow() - KEPT)
        .order_by(IdempotencyKey.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if ids := db.session.scalars(expired).all():
        chosen = IdempotencyKey.id.in_(ids)
        db.session.execute(delete(IdempotencyKey).where(chosen), execution_options=_PLAIN)
    return len(ids)


def invalid_key() -> Invalid:
    """Return the error for a header that is no key."""
    problem = FieldError(HEADER, f"Must be 1 to {LONGEST_KEY} printable ASCII characters.")
    return Invalid(f"Invalid header: {HEADER}.", [problem])


def _read_key() -> str | None:
    text = request.headers.get(HEADER)
    if text is None:
        return None
    key = KEY.fullmatch(text.strip())
    if key is None:
        raise invalid_key()
    plain, quoted = key.groups()
    return plain or re.sub(r"\\(.)", r"\1", quoted)


def _to_json(response: Response) -> str:
    headers = [(name, response.headers[name]) for name in KEPT_HEADERS if name in response.headers]
    kept = [response.status_code, headers, response.get_data(as_text=True)]
    return orjson.dumps(kept).decode()


def _from_json(answer: str) -> Response:
    status, headers, body = orjson.loads(answer)
    return current_app.response_class(body, status, headers)

"""``Idempotency-Key``: a repeated request gets the first response again.

It follows draft-ietf-httpapi-idempotency-key-header-07. The first statement of the transaction that
does the work claims the key, and the same transaction stores the response: both are saved or
neither. The unique constraint makes a second request wait until the first has ended, on any worker
or host.
"""

import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import sqlalchemy as sa
from flask import Response, current_app, request
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapped, SessionTransaction, mapped_column

from project.clock import utcnow
from project.database import TABLE_OPTIONS, db, in_transaction, read, write
from project.database.failures import is_lock_timeout
from project.errors import Conflict, FieldError, Invalid, Message, OutcomeUnknown, Unprocessable
from project.web.guard import known_principal
from project.web.pruning import delete_oldest, prunes

HEADER = "Idempotency-Key"
RETENTION = timedelta(hours=24)
STORED_HEADERS = ("Content-Type", "ETag", "Location")

LONGEST_KEY = 255

# Unquoted, or a string of RFC 8941 section 3.3.3.
KEY = re.compile(
    rf'([!#-~][ -~]{{0,{LONGEST_KEY - 1}}})|"((?:[ !#-\[\]-~]|\\["\\]){{1,{LONGEST_KEY}}})"'
)

_running: set[str] = set()  # the hashes of the keys whose work this process is doing


class KeyInUse(Conflict):
    """Another request with the key is still running after 5 s (409)."""

    message = "A request with this Idempotency-Key is still running. Send it again later."


class KeyReused(Unprocessable):
    """The key was already used for another request (422)."""

    message = "This Idempotency-Key belongs to another request. Use a new key for a new request."


class _KeyTaken(Exception):
    """Another request has claimed the key."""


class IdempotencyKey(db.Model):  # type: ignore[name-defined,misc]
    """A used key, with its request and response.

    Keys and requests are stored as hashes (SHA-256, hexadecimal), since they are only compared. A
    request may contain a password, so its hash includes the secret key (HMAC) and cannot be used to
    try passwords. ``answer`` is the response as JSON; NULL only within the transaction that does
    the work.
    """

    __tablename__ = "idempotency_keys"

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    key_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    request_hash: Mapped[str] = mapped_column(sa.String(64))
    answer: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(sa.DateTime)

    __table_args__ = (sa.Index(None, "created_at"), TABLE_OPTIONS)


_table: Any = IdempotencyKey.__table__
_IS_KEY = _table.c.key_hash == sa.bindparam("claimed")
_FOUND = sa.select(_table.c.request_hash, _table.c.answer).where(
    _IS_KEY, _table.c.created_at > sa.bindparam("expired")
)
_CLAIM = sa.insert(_table)
_STORE = sa.update(_table).where(_IS_KEY)
_REMOVE_EXPIRED = sa.delete(_table).where(_IS_KEY, _table.c.created_at <= sa.bindparam("expired"))


def answer_once(key: str, asked: bytes, answer: Callable[[], Response]) -> Response:
    """Return the stored response to this key; if the key is new, do the work and commit.

    A key is valid for 24 hours. If the outcome of the work is unknown, the key makes it safe to
    begin once more: the first attempt's response is there, or its work is not.

    :param key: any text; it must include the caller.
    :param asked: identifies the request.
    :param answer: does the work through ``db.session``; an exception rolls the claim back.
    :raises KeyInUse: another request with this key is still running after 5 s (409).
    :raises KeyReused: the key was already used for another request (422).
    :raises OutcomeUnknown: the connection was lost during COMMIT for a second time (503).
    """
    claim = claim_of(key, asked)
    was_unknown = False
    valid = {"claimed": claim.key_hash, "expired": claim.created_at - RETENTION}
    while not (found := read(_FOUND, valid)):
        try:
            return _answer_and_store(claim, answer)
        except _KeyTaken:
            in_transaction(write)(_REMOVE_EXPIRED, valid)
        except OutcomeUnknown:
            if was_unknown:
                raise
            was_unknown = True
    if not _is_hash_of(asked, found[0].request_hash):
        raise KeyReused(errors=[FieldError(HEADER, "Was already used for another request.")])
    status, headers, body = orjson.loads(found[0].answer)
    return current_app.response_class(body, status, headers)


@in_transaction
def _answer_and_store(claim: IdempotencyKey, answer: Callable[[], Response]) -> Response:
    with _begins_with(claim):
        response = answer()
        headers = [
            (name, response.headers[name]) for name in STORED_HEADERS if name in response.headers
        ]
        parts = [response.status_code, headers, response.get_data(as_text=True)]
        write(_STORE, {"claimed": claim.key_hash, "answer": orjson.dumps(parts).decode()})
    return response


@contextmanager
def _begins_with(claim: IdempotencyKey) -> Iterator[None]:
    """Begin the transaction of ``db.session`` with the INSERT of a claim.

    So work before the transaction, such as hashing a password, holds no lock, and all statements
    come after the claim.

    :raises KeyInUse: another request has claimed the key and is still running after 5 s (409).
    :raises _KeyTaken: another request has claimed the key and has ended.
    """
    values = {name: getattr(claim, name) for name in ("key_hash", "request_hash", "created_at")}
    has_begun = False

    def insert_claim(_session: object, transaction: SessionTransaction, on: Any) -> None:
        nonlocal has_begun
        if transaction.nested:
            return
        try:
            on.execute(_CLAIM, values)
        except IntegrityError as error:
            raise _KeyTaken from error
        has_begun = True
        _running.add(claim.key_hash)

    session = db.session()
    sa.event.listen(session, "after_begin", insert_claim)
    try:
        yield
    except DBAPIError as error:
        # SQLite's single lock may belong to a writer with another key or without one.
        in_use = claim.key_hash in _running or db.engine.dialect.name != "sqlite"
        if not has_begun and is_lock_timeout(error) and in_use:
            raise KeyInUse(errors=[FieldError(HEADER, "Is in use.")]) from error
        raise
    finally:
        sa.event.remove(session, "after_begin", insert_claim)
        if has_begun:
            _running.discard(claim.key_hash)


def claim_of(key: str, asked: bytes) -> IdempotencyKey:
    """Return the row with which a request claims a key."""
    return IdempotencyKey(
        key_hash=sha256(key.encode()).hexdigest(),
        request_hash=_hash_request(asked, current_app.config["SECRET_KEY"]),
        created_at=utcnow(),
    )


def _hash_request(asked: bytes, secret_key: str) -> str:
    return hmac.digest(secret_key.encode(), asked, "sha256").hex()


def _is_hash_of(asked: bytes, stored: str) -> bool:
    """Return whether a stored hash is of this request, with the current or a former secret key."""
    config = current_app.config
    keys = [config["SECRET_KEY"], *(config["SECRET_KEY_FALLBACKS"] or [])]
    return any(hmac.compare_digest(_hash_request(asked, key), stored) for key in keys)


@prunes("stored answers")
def remove_expired(limit: int) -> int:
    """Remove expired keys and their responses."""
    return delete_oldest(_table.c.id, _table.c.created_at, utcnow() - RETENTION, limit)


def read_key() -> tuple[str, bytes] | None:
    """Return the key of this request, including the caller, and the request's content.

    :return: None: the request has no key.
    :raises Invalid: the header is not a valid key (400).
    """
    text = request.headers.get(HEADER)
    if text is None:
        return None
    key = KEY.fullmatch(text.strip())
    if key is None:
        raise invalid_key()
    unquoted, quoted = key.groups()
    name = unquoted or re.sub(r"\\(.)", r"\1", quoted)
    who = known_principal()
    asked = f"{request.method} {request.path}\n".encode() + request.get_data()
    return f"{who.name if who else ''} {name}", asked


def invalid_key() -> Invalid:
    """Return the error for a header that is not a valid key."""
    problem = FieldError(
        HEADER,
        Message("Must be 1 to %(longest)s printable ASCII characters.", longest=LONGEST_KEY),
    )
    return Invalid(Message("Invalid header: %(name)s.", name=HEADER), [problem])

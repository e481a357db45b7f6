"""Creates and reads access tokens (RFC 7519), API keys and the tokens of one-time links.

A token is signed, so most forgeries never reach the database. It names a session, so it can be
revoked.
"""

from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_urlsafe

import jwt
from flask import current_app

from project.api.auth.errors import TokenExpired
from project.errors import Unauthenticated

ALGORITHM = "HS256"
ISSUER = "users-service"
MAX_CHARACTERS = 1000
KEY_PREFIX = "usk_"
SHOWN_CHARACTERS = 12
_CLAIMS = ["sub", "iat", "exp", "jti", "iss"]


def make_token(user_id: int, session: str, issued_at: datetime, expires_at: datetime) -> str:
    """Return an access token for a sign-in.

    :param issued_at: naive UTC, as ``expires_at``.
    """
    claims = {
        "sub": str(user_id),
        "iat": issued_at.replace(tzinfo=UTC),
        "exp": expires_at.replace(tzinfo=UTC),
        "jti": session,
        "iss": ISSUER,
    }
    return jwt.encode(claims, current_app.config["SECRET_KEY"], ALGORITHM)


def read_token(token: str) -> tuple[str, str]:
    """Return the ids of the user and of the session in a token.

    The token must be signed with the current secret key or a former one (``SECRET_KEY_FALLBACKS``).

    :raises TokenExpired: it has expired (401).
    :raises Unauthenticated: it is not a token of this service (401).
    """
    if len(token) > MAX_CHARACTERS:
        raise Unauthenticated
    config = current_app.config
    for key in [config["SECRET_KEY"], *(config["SECRET_KEY_FALLBACKS"] or [])]:
        try:
            claims = jwt.decode(
                token, key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": _CLAIMS}
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError as error:
            raise Unauthenticated from error
        return claims["sub"], claims["jti"]
    raise Unauthenticated


def make_key() -> str:
    """Return a new API key: a prefix that identifies it as one, and 256 random bits."""
    return KEY_PREFIX + token_urlsafe(32)


def make_link_token() -> str:
    """Return the token of a new one-time link: 256 random bits."""
    return token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return the hash that is stored of an API key, or of the token of a one-time link."""
    return sha256(key.encode()).hexdigest()

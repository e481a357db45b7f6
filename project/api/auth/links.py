"""One-time links, at which people choose a password: all SQL on their table. Knows no HTTP.

The link of a new colleague is an invitation; the same kind of link resets a forgotten password. See
docs/decisions/links.md.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flask import current_app
from sqlalchemy import DateTime, String, and_, bindparam, delete, insert, select

from project.api.audit import service as audit
from project.api.auth import service, tokens
from project.api.auth.errors import LinkEnded
from project.api.auth.models import Link
from project.api.auth.service import SignIn
from project.api.users import queries
from project.api.users import service as users
from project.api.users.errors import UserNotFound
from project.api.users.models import User
from project.clock import utcnow
from project.database import Row, db, in_transaction, read, write
from project.web.guard import known_principal
from project.web.pruning import delete_oldest, prunes

HOURS = 72
INVITE = "invite"
RESET = "reset"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_CREATED = audit.register("link.created")
_USED = audit.register("link.used")

_users: Any = User.__table__
_VERSIONS = ("password_version", "deactivations")
_USER_COLUMNS = ("id", "username", "email", "email_folded", "active", "password_hash")
_LOCKED_USER = (
    select(*(_users.c[name] for name in (*_USER_COLUMNS, *_VERSIONS)))
    .where(queries.HAS_ID)
    .with_for_update()
)
_links: Any = Link.__table__
_ADD = insert(_links)
_OF_USER = _links.c.user_id == bindparam("user_id")
_REMOVE = delete(_links).where(_OF_USER)
_HAS_TOKEN = _links.c.token_hash == bindparam("token_hash", type_=String)
_USE = delete(_links).where(_OF_USER, _HAS_TOKEN)
# As of a session, the conditions are in the query: what changes a user need not know of links.
_FOUND = (
    select(
        *(_links.c[name] for name in ("user_id", "purpose", *_VERSIONS)),
        _users.c.username,
        _users.c.email,
    )
    .join(
        _users,
        and_(
            _users.c.id == _links.c.user_id,
            *(_users.c[name] == _links.c[name] for name in ("email_folded", *_VERSIONS)),
        ),
    )
    .where(_HAS_TOKEN, _links.c.expires_at > bindparam("now", type_=DateTime))
)


class MadeLink(NamedTuple):
    """A link that was just made, with its token, which is not stored."""

    token: str
    purpose: str
    expires_at: datetime
    user: Row


def invite(username: str, email: str, role: str | None) -> MadeLink:
    """Add a user who is not active, and make their link, which activates them.

    :raises EmailTaken: another user has this mailbox (400).
    """
    return make_link(users.create_user(username, email, role=role).id)


def make_link(user_id: int, actor: str | None = None) -> MadeLink:
    """Make a user's link; their former one ends.

    :param actor: who asked for it, if that is not the caller: it is sent by mail.
    :raises UserNotFound: no user has this id (404).
    """
    in_range = 0 < user_id <= users.LARGEST_ID
    # The lock keeps two from adding a row at once.
    found = write(_LOCKED_USER, {"user_id": user_id}).rows if in_range else ()
    if not found:
        raise UserNotFound
    user = found[0]
    now, token, who = utcnow(), tokens.make_link_token(), known_principal()
    purpose = INVITE if user.password_hash is None else RESET
    expires_at = now + timedelta(hours=HOURS)
    write(_REMOVE, {"user_id": user_id})
    write(
        _ADD,
        {
            "user_id": user_id,
            "token_hash": tokens.hash_key(token),
            "purpose": purpose,
            "email_folded": user.email_folded,
            **{name: getattr(user, name) for name in _VERSIONS},
            "created_at": now,
            "expires_at": expires_at,
            "created_by": actor or (who.name if who else audit.ANONYMOUS),
        },
    )
    state = {"purpose": purpose, "by_mail": actor is not None}
    audit.record(_CREATED, user_id, after=state, actor=actor)
    return MadeLink(token, purpose, expires_at, user)


def find_link(token: str) -> Row:
    """Return the ``user_id``, ``username``, ``email`` and ``purpose`` of a link that can be used.

    :raises LinkEnded: there is none with this token, or it has ended (404).
    """
    values = {"token_hash": tokens.hash_key(token), "now": utcnow()}
    found = read(_FOUND, values) if _TOKEN.fullmatch(token) else ()
    if not found:
        raise LinkEnded
    return found[0]


def commit_use(token: str, password: str, replaces: str | None = None) -> SignIn:
    """Set the password of a link's user, activate them, sign them in, and end the link.

    Their other sign-ins end. Of two at once, one finds the link gone.

    :param replaces: the browser's previous sign-in, which ends.
    :raises LinkEnded: it cannot be used, or no longer (404).
    :raises Invalid: the password is easy to guess (400).
    :raises TooManyPasswords: the service is busy with other passwords (503).
    """
    link = find_link(token)
    with audit.acting_as(f"user:{link.user_id}"):
        return in_transaction(_use)(link, tokens.hash_key(token), password, replaces)


def _use(link: Row, token_hash: str, password: str, replaces: str | None) -> SignIn:
    user_id = link.user_id
    # First, since it hashes the password before its first statement, and then locks the user.
    try:
        user = users.update_user(user_id, {"password": password, "active": True})
    except UserNotFound as error:
        raise LinkEnded from error
    used = write(_USE, {"user_id": user_id, "token_hash": token_hash}).row_count
    if not used or user.password_version != link.password_version + 1:
        raise LinkEnded
    audit.record(_USED, user_id, after={"purpose": link.purpose})
    made = service.start_session(user, link.deactivations, replaces)
    service.end_other_sessions(user_id, made.session)
    return made


def address_of(token: str, root: str) -> str:
    """Return the address of a link.

    :param root: where the service is reached, if ``PUBLIC_URL`` is not set.
    """
    base = (current_app.config["PUBLIC_URL"] or root).rstrip("/")
    # In the query, since servers and proxies log paths, and ours leave out the query.
    return f"{base}/welcome?link={token}"


@users.after_deactivation
def _end_links(user_ids: Sequence[int]) -> None:
    """Remove the links of users; one made concurrently is invalid by ``deactivations``."""
    db.session.execute(delete(_links).where(_links.c.user_id.in_(user_ids)))


@prunes("one-time links")
def remove_expired(limit: int) -> int:
    """Remove expired links."""
    return delete_oldest(_links.c.user_id, _links.c.expires_at, utcnow(), limit)

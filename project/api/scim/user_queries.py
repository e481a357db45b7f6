"""Users with what SCIM knows of them: one, pages, and those whom a filter finds.

Each SELECT reads a range of an index.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from project.api.scim.filters import (
    MAX_MATCHES,
    Filter,
    Finders,
    Found,
    Matches,
    Operators,
    Term,
    find,
    read_id,
    too_many,
)
from project.api.scim.id_order import IdOrder
from project.api.scim.models import SCIMEmail, SCIMUser
from project.api.scim.user_mapping import document_of, fold_name, folded_email
from project.api.users import service
from project.api.users.errors import UserNotFound
from project.api.users.folding import fold_username, prefix_range
from project.api.users.models import User
from project.database import Row, read, read_presuming

OPERATORS: Operators = {
    "id": frozenset({"eq"}),
    "userName": frozenset({"eq", "sw", "co"}),
    "externalId": frozenset({"eq"}),
    "displayName": frozenset({"sw", "co"}),
    "emails": frozenset({"eq"}),
}
"""What filters may ask, each by an index."""
_users: Any = User.__table__.c
_scim: Any = SCIMUser.__table__.c
_emails: Any = SCIMEmail.__table__.c
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_COLUMNS = (
    *(_users[name] for name in ("id", "username", "email", "email_folded", "version")),
    # As text, and as a number: converting a time and a boolean costs more than all else of a row.
    *(sa.cast(_users[name], sa.String(19)).label(name) for name in ("created_at", "updated_at")),
    sa.type_coerce(_users.active, sa.Integer).label("active"),
    *(_scim[name] for name in ("user_name", "user_name_folded", "external_id", "attributes")),
)
_OF_ALL = sa.select(*_COLUMNS).outerjoin_from(User.__table__, SCIMUser.__table__)
_OF_KNOWN = sa.select(*_COLUMNS).join_from(SCIMUser.__table__, User.__table__)
_PAGE = _OF_ALL.where(_users.id > sa.bindparam("after")).order_by(_users.id).limit(_LIMIT)
IN_ORDER = IdOrder(User.__table__)
BY_ID = _OF_ALL.where(_users.id == sa.bindparam("user_id"))


def _in(name: str) -> Any:
    return sa.bindparam(name, expanding=True)


def _first(statement: sa.Select[Any], column: Any) -> sa.Select[Any]:
    """Return the SELECT of the first users with a text in a range of a column's index."""
    starting = statement.where(column >= sa.bindparam("start"), column < sa.bindparam("end"))
    return starting.order_by(column).limit(_LIMIT)


_BY_IDS = _OF_ALL.where(_users.id.in_(_in("values")))
_BY_EXTERNAL_IDS = _OF_KNOWN.where(_scim.external_id.in_(_in("values"))).limit(_LIMIT)
_BY_EMAILS = sa.union_all(
    _OF_ALL.where(_users.email_folded.in_(_in("values"))),
    _OF_ALL.join(SCIMEmail.__table__, _emails.user_id == _users.id).where(
        _emails.email_folded.in_(_in("values"))
    ),
)
# Those without a row answer to their email.
_BY_NAMES = sa.union_all(
    _OF_KNOWN.where(_scim.user_name_folded.in_(_in("values"))),
    _OF_ALL.where(_users.email_folded.in_(_in("values")), _scim.user_id.is_(None)),
)
_BY_NAME_START = sa.union_all(
    *(
        sa.select(*_first(statement, column).subquery().c)
        for statement, column in (
            (_OF_KNOWN, _scim.user_name_folded),
            (_OF_ALL, _users.email_folded),
        )
    )
)
"""Also those whose email begins so, although they have another userName: to leave them out would
read more than the limit."""
_BY_USERNAME_START = _first(_OF_ALL, _users.username_folded)


def parse_id(text: str) -> int:
    """Return the id in a path; it must be spelled as ``id`` is.

    :raises UserNotFound: no user can have this id (404).
    """
    user_id = read_id(text)
    if user_id is None:
        raise UserNotFound
    return user_id


def get_user(user_id: int) -> Row:
    """Return one user, for ``to_scim``.

    :raises UserNotFound: no user has this id (404).
    """
    found = read_presuming(BY_ID, {"user_id": user_id})
    if not found:
        raise UserNotFound
    return found[0]


def list_users(after: int, limit: int) -> Sequence[Row]:
    """Return users in order of id.

    :param after: start after this id.
    """
    return read_presuming(_PAGE, {"after": after, "limit": limit})


def find_users(condition: Filter) -> Found:
    """Return the ids of the users whom a filter finds, in order, and what returns some of them.

    :raises InvalidRequest: a comparison finds too many (400, ``tooMany``).
    """
    return find(condition, _FIND_EQUAL, _find_part, lambda ids: read(_BY_IDS, {"values": ids}))


Query = Callable[[Any, dict[str, Any]], Sequence[Row]]


def _equal_ids(same: Sequence[Term]) -> Matches:
    by_id = {user_id: term for term in same if (user_id := read_id(term.value))}
    for row in read(_BY_IDS, {"values": [*by_id]}) if by_id else ():
        yield by_id[row.id], row


def _equal_external_ids(same: Sequence[Term]) -> Matches:
    by_value = {term.value: term for term in same}
    rows = read(_BY_EXTERNAL_IDS, {"values": [*by_value], "limit": MAX_MATCHES + 1})
    if len(rows) > MAX_MATCHES:
        raise too_many()
    # MySQL disregards spaces at the end.
    return ((by_value[row.external_id], row) for row in rows if row.external_id in by_value)


def _equal_names(same: Sequence[Term]) -> Matches:
    rows = users_by_name({fold_name(term.value) for term in same})
    return ((term, row) for term in same if (row := rows.get(fold_name(term.value))))


def users_by_name(folded: Iterable[str], query: Query = read) -> dict[str, Row]:
    """Return users by their folded userName: those with a row come before an equal email."""
    found = query(_BY_NAMES, {"values": [*folded]})
    by_email = {row.email_folded: row for row in found if row.user_name is None}
    return by_email | {row.user_name_folded: row for row in found if row.user_name is not None}


def _equal_emails(same: Sequence[Term]) -> Matches:
    folded = {term: folded_email(term.value) for term in same}
    values = [value for value in set(folded.values()) if value]
    for row in read(_BY_EMAILS, {"values": values}) if values else ():
        for term in same:
            if _has_email(row, term):
                yield term, row


_FIND_EQUAL: Finders = {
    "id": _equal_ids,
    "externalId": _equal_external_ids,
    "userName": _equal_names,
    "emails": _equal_emails,
}


def _has_email(row: Row, term: Term) -> bool:
    """Return whether one of the user's emails has the value, and the type if it matters."""
    return any(
        folded_email(each["value"]) == folded_email(term.value)
        and term.kind in (None, each.get("type", "").lower())
        for each in document_of(row)["emails"]
        if each.get("value")
    )


def _find_part(term: Term) -> list[Row]:
    """Return the users whose userName or displayName begins with a text, or contains it.

    What is contained is found where a word begins with it, as by the search of users.
    """
    part = fold_username(f"{term.value}.")[:-1]
    start, end = prefix_range(part)
    by_start = _BY_NAME_START if term.attribute == "userName" else _BY_USERNAME_START
    rows = [*read(by_start, {"start": start, "end": end, "limit": MAX_MATCHES + 1})]
    if term.operator == "co":
        found = service.search_users(term.value, MAX_MATCHES + 1, None, {}, ("id",))
        if found:
            rows += read(_BY_IDS, {"values": [row.id for _part, row in found]})
    if len({row.id for row in rows}) > MAX_MATCHES:
        raise too_many()
    is_found = str.startswith if term.operator == "sw" else str.__contains__

    def compared(row: Row) -> str:
        name: str = row.username if term.attribute == "displayName" else row.user_name or row.email
        return name

    return [row for row in rows if is_found(fold_username(compared(row)), part)]

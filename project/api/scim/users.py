"""Users as SCIM sees them: the mapping of attributes, and all SQL on ``scim_users``.

Users are written by the service of users, with its rules and its trail; see docs/decisions/scim.md.
The caller commits.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError

from project.api.audit import service as audit
from project.api.scim import schemas
from project.api.scim.errors import (
    InvalidRequest,
    OwnAccount,
    Taken,
    TooManyAttributes,
)
from project.api.scim.filters import (
    MAX_MATCHES,
    Filter,
    Operators,
    Term,
    matches,
    terms,
    too_many,
)
from project.api.scim.models import MAX_ATTRIBUTES_BYTES, SCIMEmail, SCIMUser
from project.api.users import service
from project.api.users.errors import EmailTaken, UserNotFound
from project.api.users.folding import check_email, fold_email, fold_username, prefix_range
from project.api.users.models import FOLDED_EMAIL_LENGTH, User
from project.api.users.schemas import Email
from project.database import Row, read, write
from project.web.fields import TEXT_LENGTH, Text
from project.web.guard import known_principal

KIND = "User"
OPERATORS: Operators = {
    "id": frozenset({"eq"}),
    "userName": frozenset({"eq", "sw", "co"}),
    "externalId": frozenset({"eq"}),
    "displayName": frozenset({"sw", "co"}),
    "emails": frozenset({"eq"}),
}
"""What filters may ask, each by an index."""
_ATTRIBUTES_CHANGED = audit.register("attributes.changed")

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
_SKIP = (
    sa.select(_users.id)
    .where(_users.id > sa.bindparam("after"))
    .order_by(_users.id)
    .limit(1)
    .offset(sa.bindparam("skipped", type_=sa.Integer))
)
_COUNT = sa.select(sa.func.count()).select_from(User.__table__)
_COUNT_SOME = sa.select(sa.func.count()).select_from(sa.select(_users.id).limit(_LIMIT).subquery())
_LAST_ID = sa.select(sa.func.max(_users.id))
_BY_ID = _OF_ALL.where(_users.id == sa.bindparam("user_id"))


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
_INSERT = sa.insert(SCIMUser.__table__)
_ADD_EMAIL = sa.insert(SCIMEmail.__table__)
_REMOVE_EMAILS = sa.delete(SCIMEmail.__table__).where(_emails.user_id == sa.bindparam("user_id"))
_UPDATE = sa.update(SCIMUser.__table__).where(_scim.user_id == sa.bindparam("key"))


_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)

Document = schemas.Document


class Kept(NamedTuple):
    """What is kept of a user beyond the directory.

    :ivar attributes: by their names; among them ``displayName`` if a client has given one, and all
        ``emails``.
    """

    user_name: str
    external_id: str | None
    attributes: Document


class Wanted(NamedTuple):
    """What a client wants a user to be.

    :ivar username: the name in the directory: the displayName, or what stands for it.
    :ivar active: None: as it is, or true for a new user.
    """

    kept: Kept
    username: str
    email: str
    active: bool | None


def parse_id(text: str) -> int:
    """Return the id in a path; it must be spelled as ``id`` is.

    :raises UserNotFound: no user can have this id (404).
    """
    if not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise UserNotFound
    return int(text)


def get_user(user_id: int) -> Row:
    """Return one user, for ``to_scim``.

    :raises UserNotFound: no user has this id (404).
    """
    found = read(_BY_ID, {"user_id": user_id}) if user_id <= service.LARGEST_ID else ()
    if not found:
        raise UserNotFound
    return found[0]


def list_users(after: int, limit: int) -> Sequence[Row]:
    """Return users in order of id.

    :param after: start after this id.
    """
    return read(_PAGE, {"after": after, "limit": limit})


def skip_users(after: int, count: int) -> int | None:
    """Return the id of the last of so many users after an id; None: there are not so many."""
    found = read(_SKIP, {"after": after, "skipped": count - 1})
    return found[0].id if found else None


def count_users(limit: int | None = None) -> int:
    """Return the number of users, but at most the limit; without one, slow with a million."""
    found = read(_COUNT, {}) if limit is None else read(_COUNT_SOME, {"limit": limit})
    total: int = found[0][0]
    return total


def last_id() -> int:
    """Return the highest id of a user; 0: there are none."""
    return read(_LAST_ID, {})[0][0] or 0


def find_users(condition: Filter) -> tuple[list[int], Callable[[Sequence[int]], Sequence[Row]]]:
    """Return the ids of the users whom a filter finds, in order, and what returns some of them.

    :raises InvalidRequest: a comparison finds too many (400, ``tooMany``).
    """
    wanted = set(terms(condition))
    rows: dict[int, Row] = {}
    ids: dict[Term, set[int]] = {term: set() for term in wanted}
    for name, find in _FIND_EQUAL.items():
        if same := [term for term in wanted if term.operator == "eq" and term.attribute == name]:
            for term, row in find(same):
                ids[term].add(row.id)
                rows[row.id] = row
    for term in wanted:
        if term.operator != "eq":
            ids[term] = {row.id for row in _find_part(term)}

    def fetch(page: Sequence[int]) -> Sequence[Row]:
        if missing := [user_id for user_id in page if user_id not in rows]:
            rows.update((row.id, row) for row in read(_BY_IDS, {"values": missing}))
        return [rows[user_id] for user_id in page if user_id in rows]

    return sorted(matches(condition, ids)), fetch


Matches = Iterator[tuple[Term, Row]]
Query = Callable[[Any, dict[str, Any]], Sequence[Row]]


def _equal_ids(same: Sequence[Term]) -> Matches:
    by_id = {int(term.value): term for term in same if re.fullmatch("[1-9][0-9]{0,9}", term.value)}
    ids = [user_id for user_id in by_id if user_id <= service.LARGEST_ID]
    for row in read(_BY_IDS, {"values": ids}) if ids else ():
        yield by_id[row.id], row


def _equal_external_ids(same: Sequence[Term]) -> Matches:
    by_value = {term.value: term for term in same}
    rows = read(_BY_EXTERNAL_IDS, {"values": [*by_value], "limit": MAX_MATCHES + 1})
    if len(rows) > MAX_MATCHES:
        raise too_many()
    # MySQL disregards spaces at the end.
    return ((by_value[row.external_id], row) for row in rows if row.external_id in by_value)


def _equal_names(same: Sequence[Term]) -> Matches:
    rows = _by_names({fold_name(term.value) for term in same})
    return ((term, row) for term in same if (row := rows.get(fold_name(term.value))))


def _by_names(folded: Iterable[str], query: Query = read) -> dict[str, Row]:
    """Return users by their folded userName: those with a row come before an equal email."""
    found = query(_BY_NAMES, {"values": [*folded]})
    by_email = {row.email_folded: row for row in found if row.user_name is None}
    return by_email | {row.user_name_folded: row for row in found if row.user_name is not None}


def _equal_emails(same: Sequence[Term]) -> Matches:
    folded = {term: _folded_email(term.value) for term in same}
    values = [value for value in set(folded.values()) if value]
    for row in read(_BY_EMAILS, {"values": values}) if values else ():
        for term in same:
            if _has_email(row, term):
                yield term, row


_FIND_EQUAL: dict[str, Callable[[Sequence[Term]], Matches]] = {
    "id": _equal_ids,
    "externalId": _equal_external_ids,
    "userName": _equal_names,
    "emails": _equal_emails,
}


def _folded_email(text: str) -> str:
    try:
        return fold_email(text)
    except ValueError:
        return ""


def _has_email(row: Row, term: Term) -> bool:
    """Return whether one of the user's emails has the value, and the type if it matters."""
    return any(
        _folded_email(each["value"]) == _folded_email(term.value)
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


def fold_name(user_name: str) -> str:
    """Return the form in which userNames are compared: that of emails, where it is one."""
    return _folded_email(user_name).rstrip(" ") or fold_username(user_name)


def document_of(row: Row) -> Document:
    """Return a user in the form of RFC 7643, without what is read-only.

    ``displayName`` is missing unless a client has given it: it is derived from others then.
    """
    if row.attributes is None:
        document: Document = {"displayName": row.username}
    else:
        document = orjson.loads(row.attributes)
    document["emails"] = _with_main(document.get("emails"), row.email)
    document["userName"] = row.user_name or row.email
    document["active"] = bool(row.active)
    if row.external_id is not None:
        document["externalId"] = row.external_id
    if "displayName" in document or row.username != _derived_name(document):
        document["displayName"] = row.username
    return document


def to_scim(row: Row, base_url: str) -> Document:
    """Return a user as clients see it.

    :param base_url: the absolute URL of ``/scim/v2``.
    """
    document = document_of(row)
    extensions = [schemas.ENTERPRISE_USER] if schemas.ENTERPRISE_USER in document else []
    return {
        "schemas": [schemas.USER, *extensions],
        "id": str(row.id),
        **document,
        "displayName": row.username,
        "meta": {
            "resourceType": KIND,
            "created": f"{row.created_at[:10]}T{row.created_at[11:19]}Z",
            "lastModified": f"{row.updated_at[:10]}T{row.updated_at[11:19]}Z",
            "location": f"{base_url}/Users/{row.id}",
            "version": f'W/"{row.version}"',
        },
    }


def create_user(sent: Document) -> Row:
    """Add a user.

    :param sent: what the client has sent.
    :raises InvalidRequest: an attribute is missing or wrong (400).
    :raises Taken: another user has the userName or the email (409).
    :raises TooManyAttributes: the attributes are too large (413).
    """
    wanted = _wanted(schemas.read_user(sent))
    _check_name(wanted.kept.user_name)
    with _naming_what_is_taken(wanted):
        active = wanted.active is not False
        user = service.create_user(wanted.username, wanted.email, active=active)
        write(_INSERT, {"user_id": user.id, **_columns(wanted.kept)})
    _add_emails(user.id, wanted.kept)
    audit.record(_ATTRIBUTES_CHANGED, user.id, after=_recorded(wanted.kept))
    return _stored(user.id)


def replace_user(
    user_id: int, sent: Document, is_expected: Callable[[int], bool], *, by_admin: bool
) -> Row:
    """Set all attributes of a user; ``active`` stays as it is if it is not sent.

    :raises InvalidRequest: an attribute is missing or wrong (400).
    :raises: as ``patch_user``.
    """
    wanted = _wanted(schemas.read_user(sent))
    return _update(user_id, lambda _row: wanted, is_expected, by_admin)


def patch_user(
    user_id: int, request: Document, is_expected: Callable[[int], bool], *, by_admin: bool
) -> Row:
    """Change attributes of a user by the operations of a PATCH.

    :param is_expected: returns whether the caller wants to change the version found.
    :raises InvalidRequest: an operation is wrong (400).
    :raises OwnAccount: the caller's key would deactivate its own account (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    :raises Taken: another user has the userName or the email (409).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the version is not the expected one (412).
    :raises TooManyAttributes: the attributes are too large (413).
    """

    def patched(row: Row) -> Wanted:
        before = document_of(row)
        after = schemas.patch_user(before, request)
        wanted = _wanted(after)
        if not after.get("displayName") and _derived_name(before) == _derived_name(after):
            return wanted._replace(username=row.username)
        return wanted

    return _update(user_id, patched, is_expected, by_admin)


def delete_user(user_id: int, is_expected: Callable[[int], bool], *, by_admin: bool) -> None:
    """Remove a user.

    :raises: as ``service.delete_user``, and OwnAccount: it is the caller's own account (403).
    """
    _check_not_own(user_id)
    service.delete_user(user_id, is_expected, by_admin=by_admin)


def _update(
    user_id: int,
    change: Callable[[Row], Wanted],
    is_expected: Callable[[int], bool],
    by_admin: bool,
) -> Row:
    """Change a user; ``change`` gets the locked row."""
    wanted: Wanted

    def work_out(_user: Row) -> tuple[dict[str, Any], bool]:
        nonlocal wanted
        row = _stored(user_id)
        wanted = change(row)
        if wanted.active is False:
            _check_not_own(user_id)
        changes: dict[str, Any] = {"username": wanted.username, "email": wanted.email}
        if wanted.active is not None:
            changes["active"] = wanted.active
        return changes, _keep(row, wanted)

    try:
        service.update_user(user_id, {}, is_expected, by_admin=by_admin, work_out=work_out)
    except EmailTaken as error:
        raise Taken("emails", wanted.email) from error
    return _stored(user_id)


def _keep(row: Row, wanted: Wanted) -> bool:
    """Store what is kept of a user; return whether clients see a change of it."""
    before, after = _kept(document_of(row)), wanted.kept
    if before == after:
        return False
    is_new = row.user_name is None
    if is_new or before.user_name != after.user_name:
        _check_name(after.user_name, row.id)
    with _naming_what_is_taken(wanted):
        key = {"user_id" if is_new else "key": row.id}
        write(_INSERT if is_new else _UPDATE, {**key, **_columns(after)})
    if _other_emails(before) != _other_emails(after):
        write(_REMOVE_EMAILS, {"user_id": row.id})
        _add_emails(row.id, after)
    audit.record(_ATTRIBUTES_CHANGED, row.id, before=_recorded(before), after=_recorded(after))
    return _seen(before) != _seen(after)


def _other_emails(kept: Kept) -> set[str]:
    """Return the folded emails beside the main one."""
    main = _main(kept.attributes["emails"])
    others = [each for each in kept.attributes["emails"] if each is not main]
    folded = {_folded_email(each["value"]) for each in others}
    return {each for each in folded if 0 < len(each) <= FOLDED_EMAIL_LENGTH}


def _add_emails(user_id: int, kept: Kept) -> None:
    for folded in _other_emails(kept):
        write(_ADD_EMAIL, {"user_id": user_id, "email_folded": folded})


def _stored(user_id: int) -> Row:
    """Return a user as this transaction sees it."""
    return write(_BY_ID, {"user_id": user_id}).rows[0]


def _check_not_own(user_id: int) -> None:
    who = known_principal()
    if who is not None and who.user_id == user_id:
        raise OwnAccount


def _check_name(user_name: str, user_id: int | None = None) -> None:
    """Refuse a userName to which another user answers; the row's constraint refuses the rest."""
    folded = fold_name(user_name)
    other = _by_names([folded], _read_own_writes).get(folded)
    if other is not None and other.id != user_id:
        raise Taken("userName", user_name)


def _read_own_writes(statement: Any, parameters: dict[str, Any]) -> Sequence[Row]:
    return write(statement, parameters).rows


@contextmanager
def _naming_what_is_taken(wanted: Wanted) -> Iterator[None]:
    try:
        yield
    except EmailTaken as error:
        raise Taken("emails", wanted.email) from error
    except IntegrityError as error:
        if "user_name_folded" in str(error.orig):
            raise Taken("userName", wanted.kept.user_name) from error
        raise


def _wanted(document: Document) -> Wanted:
    """Return what a user of the form of RFC 7643 is here."""
    kept = _kept(document)
    attributes, email = kept.attributes, _main(kept.attributes["emails"])
    _checked(_TEXT, "userName", kept.user_name)
    if kept.external_id is not None:
        _checked(_TEXT, "externalId", kept.external_id)
    _checked(_EMAIL, "emails", email["value"])
    username = attributes.get("displayName") or _derived_name(document)
    _checked(_TEXT, "displayName", username)
    return Wanted(kept, username, email["value"], document.get("active"))


def _kept(document: Document) -> Kept:
    """Return what is kept of a user of the form of RFC 7643.

    :raises InvalidRequest: there is no userName, or no email (400).
    """
    user_name = document.get("userName")
    if not user_name:
        raise InvalidRequest("invalidValue", "userName: Must not be missing.")
    attributes = {
        name: value
        for name, value in document.items()
        if name not in ("userName", "externalId", "active") and value not in (None, "", [], {})
    }
    emails = [dict(each) for each in attributes.get("emails", ()) if each.get("value")]
    if emails:
        main = _main(emails)
        if main.get("primary"):
            main.setdefault("type", "work")
    elif _is_email(user_name):
        emails = _with_main([], user_name)
    else:
        detail = "emails: Must not be missing, since the userName is not an address."
        raise InvalidRequest("invalidValue", detail)
    return Kept(user_name, document.get("externalId") or None, {**attributes, "emails": emails})


def _is_email(text: str) -> bool:
    try:
        check_email(text)
    except ValueError:
        return False
    return True


def _main(emails: Sequence[Document]) -> Document:
    """Return the email that is the user's: the primary one, or that for work, or the first."""
    primary = (each for each in emails if each.get("primary"))
    work = (each for each in emails if each.get("type", "").lower() == "work")
    return next(primary, None) or next(work, None) or emails[0]


def _with_main(emails: Sequence[Document] | None, email: str) -> list[Document]:
    """Return a user's emails, of which the main one may have changed in the directory."""
    if not emails:
        return [{"value": email, "type": "work", "primary": True}]
    main = _main(emails)
    return [{**each, "value": email} if each is main else each for each in emails]


def _derived_name(document: Document) -> str:
    """Return the name of a user without a displayName."""
    name = document.get("name") or {}
    parts = [name.get("givenName"), name.get("familyName")]
    texts = (name.get("formatted"), " ".join(filter(None, parts)), document["userName"])
    return next(text for text in texts if text and text.strip())[:TEXT_LENGTH]


def _checked(adapter: TypeAdapter[str], attribute: str, value: str) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        raise InvalidRequest("invalidValue", f"{attribute}: {error.errors()[0]['msg']}") from error


def _columns(kept: Kept) -> dict[str, Any]:
    """Return the columns of a row.

    :raises TooManyAttributes: the attributes are too large (413).
    """
    attributes = orjson.dumps(kept.attributes)
    if len(attributes) > MAX_ATTRIBUTES_BYTES:
        raise TooManyAttributes
    return {
        "user_name": kept.user_name,
        "user_name_folded": fold_name(kept.user_name),
        "external_id": kept.external_id,
        "attributes": attributes.decode(),
    }


def _recorded(kept: Kept) -> Document:
    """Return what the trail has; the name and the address are in the event of the user itself."""
    main = _main(kept.attributes["emails"])
    others = [each for each in kept.attributes["emails"] if each is not main]
    state = {"userName": kept.user_name, "externalId": kept.external_id, **kept.attributes}
    state |= {"displayName": None, "emails": others, **state.pop(schemas.ENTERPRISE_USER, {})}
    return {name: value for name, value in state.items() if value}


def _seen(kept: Kept) -> tuple[Any, ...]:
    """Return what clients see; the name in the directory is compared as such."""
    attributes = {name: each for name, each in kept.attributes.items() if name != "displayName"}
    return kept.user_name, kept.external_id, attributes

"""The operations on users, and all SQL on their table. Knows no HTTP.

Reads are SELECTs of only the needed columns, built once, on the ``read`` engine: one round trip
each, no ORM objects. Writes go through ``db.session``; they are flushed and recorded here. The
caller commits, unless the function's name starts with ``commit``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import IntegrityError

from project.api.audit import service as audit
from project.api.audit.people import Person, register_search
from project.api.audit.words import register_names
from project.api.users import deactivation_guard, errors, fields, queries, word_index
from project.api.users.folding import fold_email, fold_username, prefix_range
from project.api.users.models import FOLDED, AdministratorGuard, User
from project.api.users.passwords import check_password, hash_password
from project.api.users.words import search_words
from project.clock import utcnow
from project.database import Row, db, in_transaction, of_database, read, read_presuming, write
from project.web.guard import ADMIN, Principal, known_principal, own_email_change

LARGEST_ID = 2**31 - 1
SEARCH_PARTS = ("email", "username", "word")
MOST_LISTED = 10_000
MOST_FOUND = 1_000
"""How far ``count_some`` counts the users of a list, and those whom a search finds."""
MAX_CHOICES = 10
_USER_CREATED = audit.register("user.created")
_USER_UPDATED = audit.register("user.updated")
_USER_REMOVED = audit.register("user.removed")
_USERS_CREATED = audit.register("users.created")
_USERS_DEACTIVATED = audit.register("users.deactivated")
_users = User.__table__
_recorded = attrgetter(*fields.RECORDED)
_INSERT = insert(_users)
_UPDATE = update(_users).where(queries.HAS_ID).values(version=_users.c.version + 1)
_DEACTIVATE = _UPDATE.values(deactivations=_users.c.deactivations + 1)
_UPDATE_ALL = update(_users).where(queries.HAS_IDS).values(version=_users.c.version + 1)
_DEACTIVATE_ALL = _UPDATE_ALL.values(deactivations=_users.c.deactivations + 1)
_DELETE = delete(_users).where(queries.HAS_ID)
_DELETE_ALL = delete(_users).where(queries.HAS_IDS)

_guard: Any = AdministratorGuard.__table__
_FIRST_LOSS = {"name": "administrators", "losses": 1}
_ONE_MORE = {"losses": _guard.c.losses + 1}
_COUNT_LOSS = {
    "sqlite": sqlite.insert(_guard).values(_FIRST_LOSS).on_conflict_do_update(set_=_ONE_MORE),
    "mysql": mysql.insert(_guard).values(_FIRST_LOSS).on_duplicate_key_update(_ONE_MORE),
}


_after_deactivation: list[Callable[[Sequence[int]], None]] = []
_before_removal: list[Callable[[Sequence[int]], None]] = []


def _any_version(_version: int) -> bool:
    return True


def after_deactivation(work: Callable[[Sequence[int]], None]) -> Callable[[Sequence[int]], None]:
    """Register work for each transaction that deactivates users, with their ids; a decorator."""
    _after_deactivation.append(work)
    return work


def run_after_deactivation(user_ids: Sequence[int]) -> None:
    """Do the registered work for users who have just been deactivated."""
    for work in _after_deactivation:
        work(user_ids)


def before_removal(work: Callable[[Sequence[int]], None]) -> Callable[[Sequence[int]], None]:
    """Register work for each transaction that removes users, with their ids; a decorator."""
    _before_removal.append(work)
    return work


def run_before_removal(user_ids: Sequence[int]) -> None:
    """Do the registered work for users who are locked and about to be removed."""
    for work in _before_removal:
        work(user_ids)


def get_user(user_id: int, columns: tuple[str, ...] = queries.COMPLETE) -> Row:
    """Return one user.

    :param user_id: any integer; outside 1 to 2,147,483,647 there is no user and no query.
    :param columns: the columns of the row; by default those that clients see, and ``version``.
        ``json`` is the JSON object that clients see, rendered by the database.
    :raises UserNotFound: no user has this id (404).
    """
    in_range = 0 < user_id <= LARGEST_ID
    found = read_presuming(queries.by_id(columns), {"user_id": user_id}) if in_range else ()
    if not found:
        raise errors.UserNotFound
    return found[0]


def list_users(
    limit: int,
    after: Sequence[Any] | None = None,
    *,
    sort: str = "id",
    filters: Mapping[str, Any] = {},
    columns: tuple[str, ...] = queries.COMPLETE,
) -> Sequence[Row]:
    """Return users in an order, ties by id; each row includes the sort key.

    :param sort: one of ``schemas.SORTS``; with ``-``, descending.
    :param filters: the values of the filters of ``queries.page``, by name.
    :param after: start after the user with this sort key and id; None: from the first.
    """
    names = tuple(filters)
    if after is None or not queries.sort_column(sort).nullable:
        statement = queries.page(columns, sort, names, after is not None)
        return read_presuming(statement, {"limit": limit, **_keys(after), **filters})
    has_null, nulls_are_last = after[0] is None, sort.startswith("-")
    statement = queries.page(columns, sort, names, True, nulls=has_null)
    rows = read(statement, {"limit": limit, **_keys(after), **filters})
    if len(rows) < limit and has_null != nulls_are_last:
        rest = queries.page(columns, sort, names, False, nulls=not has_null)
        rows = [*rows, *read(rest, {"limit": limit - len(rows), "key": None, **filters})]
    return rows


def search_users(
    text: str,
    limit: int,
    after: Sequence[Any] | None,
    filters: Mapping[str, Any],
    columns: tuple[str, ...],
) -> Sequence[tuple[str, Row]]:
    """Return users who have a word that begins with each word of a text; see ``words``.

    The user with exactly this address comes first, then those with exactly this name, then the
    others in the order of a word, ties by id. The rows are as for list_users, or include the word.

    :param after: start after the user with this part, sort key and id; None: from the first.
    :return: each user's part (``email``, ``username`` or ``word``) and row.
    """
    words = search_words(text)
    if not words:
        return []
    exact = {"exact_name": fold_username(text), "exact_email": _exact_email(text)}
    found: list[tuple[str, Row]] = []
    first_part = "email" if after is None else after[0]
    for part in SEARCH_PARTS[SEARCH_PARTS.index(first_part) :]:
        key = after[1:] if after is not None and part == first_part else None
        if part == "email" and (key is not None or not exact["exact_email"]):
            continue  # there is one user at most
        values = {**filters, **exact, **_keys(key), "limit": limit - len(found)}
        if part == "word":
            rows = _find_words(words, key, filters, columns, values)
        else:
            # Names start after an id even on the first page: SQLite would sort them otherwise.
            values.setdefault("key_id", 0)
            after_id = part == "username"
            rows = read(queries.page(columns, part, tuple(filters), after_id, part), values)
        found += [(part, row) for row in rows]
        if len(found) == limit:
            break
    return found


def _exact_email(text: str) -> str:
    """Return the mailbox of a text that is an address; empty: it is none."""
    try:
        return fold_email(text.strip()) if "@" in text else ""
    except ValueError:
        return ""


def _find_words(
    words: list[str],
    key: Sequence[Any] | None,
    filters: Mapping[str, Any],
    columns: tuple[str, ...],
    values: dict[str, Any],
) -> Sequence[Row]:
    """Return a page of the users who have the words.

    One word leads: it gives the order. On the first page, that is the longest one if enough of its
    first users have all words, else the rarest. On later pages it is the one that the word in the
    key begins with: none begins another. If it is common, and few users pass the filters, they are
    looked through instead.

    :param words: the longest first.
    """
    names = tuple(filters)

    def find(search: Callable[..., Any], **options: Any) -> Sequence[Row]:
        statement = search(columns, names, key is not None, len(words), **options)
        return read(statement, values | _ranges(words))

    may_be_few = bool(filters) and "email_folded" not in filters
    if key is not None:
        words = sorted(words, key=lambda word: not key[0].startswith(word))
    if not may_be_few and (len(words) == 1 or key is not None or filters):
        return find(queries.search)
    if key is None and len(near := find(queries.search, near=True)) == values["limit"]:
        return near
    counts = _counts(words, filters)
    if key is None:
        if counts[0] <= queries.NEAR:
            return near
        words = _rarest_first(words, counts)
    few = may_be_few and min(counts[: len(words)]) == queries.COUNTED > counts[-1]
    return find(queries.search_among if few else queries.search)


def _counts(words: list[str], filters: Mapping[str, Any] = {}) -> Row:
    """Return how many words begin with each of these, and how many users pass the filters."""
    statement = queries.match_counts(len(words), tuple(filters))
    return read(statement, {**filters, **_ranges(words)})[0]


def _rarest_first(words: list[str], counts: Sequence[int]) -> list[str]:
    by_count = sorted(zip(counts, words, strict=False), key=itemgetter(0))
    return [word for _count, word in by_count]


def _ranges(words: Sequence[str]) -> dict[str, str]:
    ranges = {}
    for place, word in enumerate(words):
        ranges[f"from_{place}"], ranges[f"to_{place}"] = prefix_range(word)
    return ranges


def list_users_by_id(
    ids: Sequence[int], columns: tuple[str, ...] = queries.COMPLETE
) -> Sequence[Row]:
    """Return the existing users with these ids, in order of id."""
    known = [user_id for user_id in ids if 0 < user_id <= LARGEST_ID]
    return read_presuming(queries.by_ids(columns), {"ids": known}) if known else ()


def names_of(ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the users with these ids, by id; unknown ids are left out."""
    return {user.id: user.username for user in list_users_by_id(list(ids), ("id", "username"))}


def people_like(text: str) -> list[Person]:
    """Return the first users whom a search finds, for a choice between them."""
    found = search_users(text, MAX_CHOICES, None, {}, ("id", "username", "email"))
    return [Person(user.id, user.username, user.email) for _part, user in found]


register_names("user", names_of)
register_search(people_like)


def count_users(filters: Mapping[str, Any] = {}, text: str | None = None) -> int:
    """Return the number of users, or of those whom a search for a text finds.

    This is slow with a million users.
    """
    words = search_words(text) if text is not None else []
    if text is not None and not words:
        return 0
    if len(words) > 1:
        words = _rarest_first(words, _counts(words))
    values = {**filters, **_ranges(words)}
    total: int = read(queries.total(tuple(filters), len(words)), values)[0][0]
    return total


class Count(NamedTuple):
    """A number of users; not exact: there are more."""

    number: int
    is_exact: bool


def count_some(
    filters: Mapping[str, Any] = {}, text: str | None = None, after_id: int = 0
) -> Count:
    """Count as count_users does, but only so far that it is quick with any number of users.

    :param after_id: without a text, count only users with later ids.
    :return: where there are more, the number is rounded down to its first digit.
    """
    words = search_words(text) if text is not None else []
    if text is not None and not words:
        return Count(0, True)
    if len(words) > 1:
        words = _rarest_first(words, _counts(words))
    most = MOST_FOUND if words else MOST_LISTED
    values = {**filters, **_ranges(words), "key_id": after_id, "limit": most + 1}
    row = read(queries.count(tuple(filters), len(words), after_id > 0), values)[0]
    if row.looked_at <= most:
        return Count(row.found, True)
    digits = len(str(row.found)) - 1
    return Count(row.found // 10**digits * 10**digits, False)


def _keys(after: Sequence[Any] | None) -> dict[str, Any]:
    return {} if after is None else {"key": after[0], "key_id": after[1]}


def create_user(
    username: str,
    email: str,
    *,
    password: str | None = None,
    **others: Any,
) -> Row:
    """Add a user.

    :param password: None: nobody can sign in as this user.
    :param others: values of further fields of ``fields.RECORDED``; the rest have their defaults.
    :raises Invalid: the password is easy to guess (400).
    :raises EmailTaken: another user has this mailbox (400).
    """
    password_hash = None
    if password is not None:  # hashed before the first statement: no transaction waits for it
        check_password(password, username, email)
        password_hash = hash_password(password)
    now = utcnow()
    values = fields.DEFAULTS | {"username": username, "email": email, **others}
    values |= {"created_at": now, "updated_at": now, "password_version": int(password is not None)}
    with _refuse_taken_email():
        folded = fields.with_folded({**values, "password_hash": password_hash})
        user_id = write(_INSERT, folded).inserted_id
    word_index.add([(user_id, username, email, folded["email_folded"])])
    user: Row = fields.StoredUser(**values, id=user_id, version=1)
    audit.record(_USER_CREATED, user.id, after=_state(user, password is not None))
    return user


def has_administrator() -> bool:
    """Return whether there is an administrator who can sign in."""
    return bool(read(queries.TWO_ADMINISTRATORS, {}))


def create_first_administrator(username: str, email: str, password: str) -> Row:
    """Add an administrator if there is none who can sign in.

    Of two at once, one waits for the guard's row, and is then too late; or the database refuses its
    COMMIT, and it runs again.

    :raises Invalid: the password is easy to guess (400).
    :raises EmailTaken: another user has this mailbox (400).
    :raises AdministratorExists: there is one already (409).
    """
    user = create_user(username, email, active=True, role="admin", password=password)
    _lock_guard()
    if any(row.id != user.id for row in write(queries.TWO_ADMINISTRATORS, {}).rows):
        raise errors.AdministratorExists
    return user


def update_user(
    user_id: int,
    changes: dict[str, Any],
    is_expected: Callable[[int], bool] = _any_version,
    *,
    by_admin: bool = True,
    work_out: Callable[[Row], tuple[dict[str, Any], bool]] | None = None,
) -> Row:
    """Change fields of a user; a field that already has the value does not count as changed.

    The row is locked before it is read: of two concurrent changes to one version, one succeeds.

    :param changes: new values by field; without a change, ``updated_at`` stays as it is.
    :param is_expected: returns whether the caller wants to change the version found.
    :param by_admin: whether the caller is an administrator: only they change administrators.
    :param work_out: returns further changes, without a password, from the locked row, and whether
        something else that clients see of the user has changed in the same transaction.
    :raises Invalid: a new password is easy to guess (400).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises KeyOwnAccount: an API key would deactivate its own account (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the version is not the expected one (412).
    :raises TooManyDeactivations: the API key has deactivated too many users within an hour (429).
    :raises EmailTaken: another user has this mailbox (400).
    """
    password_hash = _hash_new_password(user_id, changes) if "password" in changes else ""
    user = _lock_user(user_id, is_expected, by_admin)
    further = False
    if work_out is not None:
        more, further = work_out(user)
        changes = changes | more
    if changes.get("role", user.role) != "admin" or not changes.get("active", user.active):
        _check_not_last_administrator(user)
    new_password = "password" in changes
    changed = {
        name: value
        for name, value in changes.items()
        if name in fields.RECORDED and value != getattr(user, name)
    }
    if new_password:
        changed["password_version"] = user.password_version + 1
    if not changed and not further:
        return user
    changed["updated_at"] = utcnow()
    after = user._replace(**changed, version=user.version + 1)
    values = fields.with_folded(changed)
    if new_password:
        values["password_hash"] = password_hash
    deactivated = changed.get("active") is False
    if deactivated:
        _check_deactivation(user)
    with _refuse_taken_email():
        write(_DEACTIVATE if deactivated else _UPDATE, {"user_id": user_id, **values})
    if not changed.keys().isdisjoint(FOLDED):
        word_index.replace(_names(user), _names(after))
    if deactivated:
        run_after_deactivation([user_id])
    audit.record(_USER_UPDATED, user_id, before=_state(user), after=_state(after, new_password))
    return after


_commit_update = in_transaction(update_user)


def commit_change(
    user_id: int,
    sent: dict[str, Any],
    is_expected: Callable[[int], bool],
    *,
    by_admin: bool = True,
) -> Row:
    """Change fields of a user for the caller, as update_user does, and commit.

    It commits itself, since attempts to prove the current password are committed before.

    :param sent: new values by field, and ``current_password``: the caller's, required to change
        their own email.
    :raises Invalid: also if the current password is wrong (400).
    :raises TooManyRequests: there were too many wrong passwords before (429).
    """
    who = known_principal()
    changes = {name: value for name, value in sent.items() if name != "current_password"}
    if who is not None and who.user_id == user_id and "email" in changes:
        if changes["email"] != get_user(user_id).email:
            with own_email_change(who, sent.get("current_password", "")):
                return _commit_update(user_id, changes, is_expected, by_admin=by_admin)
        # The email stays unchanged, even if somebody else changes it concurrently.
        del changes["email"]
    return _commit_update(user_id, changes, is_expected, by_admin=by_admin)


def delete_user(
    user_id: int, is_expected: Callable[[int], bool] = _any_version, *, by_admin: bool = True
) -> Row:
    """Remove a user; the email can be used again, the id cannot.

    :return: the user as it was.
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises KeyOwnAccount: an API key would remove its own account (403).
    :raises UserNotFound: no user has this id (404).
    :raises LastAdministrator: there would be no active administrator left (409).
    :raises UserChanged: the version is not the expected one (412).
    :raises TooManyDeactivations: the API key has removed too many users within an hour (429).
    """
    user = _lock_user(user_id, is_expected, by_admin)
    _check_not_last_administrator(user)
    _check_deactivation(user)
    run_before_removal([user_id])
    write(_DELETE, {"user_id": user_id})
    audit.record(_USER_REMOVED, user.id, before=_state(user))
    return user


def _names(user: Row) -> word_index.Names:
    return word_index.Names(user.id, user.username, user.email, fold_email(user.email))


def _state(user: Row, new_password: bool = False) -> dict[str, Any]:
    """Return what is recorded of a user; of a new password, only that it was changed."""
    state = dict(zip(fields.RECORDED, _recorded(user), strict=True))
    return {**state, "password": "changed"} if new_password else state


def _lock_user(user_id: int, is_expected: Callable[[int], bool], by_admin: bool) -> Row:
    in_range = 0 < user_id <= LARGEST_ID
    found = write(queries.LOCKED, {"user_id": user_id}).rows if in_range else ()
    if not found:
        raise errors.UserNotFound
    user = found[0]
    if user.role == "admin":
        key = _calling_key()
        if key is not None and ADMIN not in key.scopes:  # also with open access
            raise errors.OnlyByAdministrators(errors.OnlyByAdministrators.by_key)
        if not by_admin:
            raise errors.OnlyByAdministrators
    if not is_expected(user.version):
        raise errors.UserChanged
    return user


def _calling_key() -> Principal | None:
    """Return the caller if it is an API key."""
    who = known_principal()
    return who if who is not None and who.key_id is not None else None


def check_not_own(user_id: int) -> None:
    """Refuse an API key that would deactivate or remove its own account, and so end itself.

    :raises KeyOwnAccount: it would (403).
    """
    key = _calling_key()
    if key is not None and key.user_id == user_id:
        raise errors.KeyOwnAccount


def _check_deactivation(user: Row) -> None:
    """Count a user whom the caller is about to deactivate or remove, if that is an API key.

    :raises KeyOwnAccount: it is the key's own account (403).
    :raises TooManyDeactivations: there were too many within an hour (429).
    """
    if key := _calling_key():
        check_not_own(user.id)
        if user.active:
            deactivation_guard.count(key)


def _check_not_last_administrator(user: Row) -> None:
    """Refuse to lose an administrator if no other can replace them.

    Only an administrator with a password can sign in, and only another one of those can replace
    them. If two administrators remove each other, one waits for the guard's row, and is then the
    last; or the database refuses its COMMIT, and it runs again.
    """
    if user.role != "admin" or not user.active:
        return
    _lock_guard()
    active = db.session.execute(queries.ACTIVE_ADMINISTRATORS.with_for_update())
    lose_administrator({row.id: row.can_sign_in for row in active}, user.id)


def active_administrators() -> dict[int, bool]:
    """Return by id whether each active administrator can sign in, which needs a password."""
    return {row.id: row.can_sign_in for row in read(queries.ACTIVE_ADMINISTRATORS, {})}


def lose_administrator(active: dict[int, bool], user_id: int) -> None:
    """Take one of the active administrators out.

    :param active: as active_administrators returns them.
    :raises LastAdministrator: no other could take their place (409); nothing is taken out.
    """
    others = [can_sign_in for other, can_sign_in in active.items() if other != user_id]
    if not any(can_sign_in or not active[user_id] for can_sign_in in others):
        raise errors.LastAdministrator
    del active[user_id]


def _lock_guard() -> None:
    """Change the guard's row, which a second transaction that does so waits for."""
    write(of_database(**_COUNT_LOSS), {})


def _hash_new_password(user_id: int, changes: dict[str, Any]) -> str:
    """Check and hash a new password, which is slow, before the user's row is locked."""
    names = {**get_user(user_id)._asdict(), **changes}
    check_password(changes["password"], names["username"], names["email"])
    return hash_password(changes["password"])


@contextmanager
def _refuse_taken_email() -> Iterator[None]:
    """Raise EmailTaken if the database refuses a second user with the same mailbox."""
    try:
        yield
    except IntegrityError as error:
        if "email_folded" in str(error.orig):
            raise errors.EmailTaken from error
        raise


def deactivate_users(user_ids: Sequence[int]) -> int:
    """Deactivate those of these users who are active and no administrators.

    :return: how many those were.
    """
    found = write(queries.LOCKED_ACTIVE_OTHERS, {"ids": user_ids}).rows
    if ids := [row.id for row in found]:
        write(_DEACTIVATE_ALL, {"ids": ids, "active": False, "updated_at": utcnow()})
        run_after_deactivation(ids)
        audit.record(_USERS_DEACTIVATED, after={"count": len(ids)})
    return len(ids)


def lock_users(user_ids: Sequence[int]) -> Sequence[Row]:
    """Lock those of these users who exist, for ``update_together`` and ``delete_together``."""
    return write(queries.LOCKED_TOGETHER, {"ids": user_ids}).rows


def update_together(users: Sequence[Row], name: str, value: Any) -> None:
    """Set a field of several users to one value, with an event for each.

    :param users: locked before; none of them has the value, or is an active administrator.
    :param name: ``active`` or ``role``.
    """
    ids = [user.id for user in users]
    deactivates = (name, value) == ("active", False)
    statement = _DEACTIVATE_ALL if deactivates else _UPDATE_ALL
    write(statement, {"ids": ids, name: value, "updated_at": utcnow()})
    if deactivates:
        run_after_deactivation(ids)
    for user in users:
        before = {name: getattr(user, name)}
        audit.record(_USER_UPDATED, user.id, before=before, after={name: value})


def delete_together(users: Sequence[Row]) -> None:
    """Remove several users, with an event for each.

    :param users: locked before; none of them is an active administrator.
    """
    ids = [user.id for user in users]
    run_before_removal(ids)
    write(_DELETE_ALL, {"ids": ids})
    for user in users:
        audit.record(_USER_REMOVED, user.id, before=_state(user))


def create_users(users: Iterable[tuple[str, str]]) -> None:
    """Add many users with one bulk INSERT, and their words with another.

    :param users: the username and email of each, validated by the caller.
    :raises IntegrityError: a mailbox is taken or occurs twice; no user is added.
    """
    rows = [fields.with_folded({"username": username, "email": email}) for username, email in users]
    db.session.execute(insert(User), rows)
    word_index.add_in_bulk(rows)
    audit.record(_USERS_CREATED, after={"count": len(rows)})


def has_users() -> bool:
    """Return whether there are any users."""
    return bool(list_users(limit=1))

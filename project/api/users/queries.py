"""The SELECTs of users: each reads a range of an index, in the order of that index.

Each combination of columns, order and filters is built once; parameters fill it in.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from project.api.users import fields
from project.api.users.models import User, UserWord
from project.database import keyset
from project.database.rendering import all_lines

_users = fields.COLUMNS
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
COMPLETE = (*fields.SHOWN, "version")

HAS_ID = _users.id == sa.bindparam("user_id")
HAS_IDS = _users.id.in_(sa.bindparam("ids", expanding=True))
LOCKED = sa.select(*(_users[name] for name in fields.STORED)).where(HAS_ID).with_for_update()
LOCKED_TOGETHER = (
    sa.select(*(_users[name] for name in fields.STORED))
    .where(HAS_IDS)
    .order_by(_users.id)
    .with_for_update()
)
ACTIVE_ADMINISTRATORS = sa.select(
    _users.id, _users.password_hash.is_not(None).label("can_sign_in")
).where(_users.role == "admin", _users.active)
TWO_ADMINISTRATORS = (
    sa.select(_users.id)
    .where(_users.role == "admin", _users.active, _users.password_hash.is_not(None))
    .limit(2)
)
"""Those who can sign in."""
_ACTIVE_OTHERS = sa.select(_users.id).where(
    _users.active, sa.or_(_users.role.is_(None), _users.role != "admin")
)
LOCKED_ACTIVE_OTHERS = _ACTIVE_OTHERS.where(HAS_IDS).with_for_update()
"""Those of some users who are active and no administrators."""
ACTIVE_OTHERS = (
    _ACTIVE_OTHERS.where(
        _users.id > sa.bindparam("after", type_=sa.Integer),
        _users.id <= sa.bindparam("last", type_=sa.Integer),
    )
    .order_by(_users.id)
    .limit(_LIMIT)
)
"""Those whose ids are after the parameter ``after``, up to ``last``."""
LAST_ID = sa.select(sa.func.max(_users.id))

_SORTED_BY: dict[str, sa.Column[Any]] = {
    "id": _users.id,
    "created_at": _users.created_at,
    "username": _users.username_folded,
    "email": _users.email_folded,
    "last_sign_in_at": _users.last_sign_in_at,
}
# Converting a time, a boolean or an enumeration costs more than all else about a row. The cursor
# and the page do not need it.
_RENDERED: dict[str, sa.ColumnElement[Any]] = {
    "json": fields.JSON,
    "listed": fields.LISTED,
    **{
        f"{name}_text": sa.cast(_users[name], sa.String(19)).label(name)
        for name in ("created_at", "last_sign_in_at")
    },
    "role_text": sa.type_coerce(_users.role, sa.String).label("role"),
    "active_number": sa.type_coerce(_users.active, sa.Integer).label("active"),
}
_IS_NAME = _users.username_folded == sa.bindparam("exact_name")
_IS_EMAIL = _users.email_folded == sa.bindparam("exact_email")
_PARTS: dict[str | None, list[sa.ColumnElement[bool]]] = {
    None: [],
    "email": [_IS_EMAIL],
    "username": [_IS_NAME, ~_IS_EMAIL],
}
_found = UserWord.__table__.alias("found")
_counted = UserWord.__table__.alias("counted")
NEAR = 200
COUNTED = 1000
_FILTERS: dict[str, sa.ColumnElement[bool]] = {
    "active": _users.active == sa.bindparam("active"),
    "email_folded": _users.email_folded == sa.bindparam("email_folded"),
    # SQLite rates this as high as = when it chooses an index, unlike IS NULL.
    "role": _users.role.is_not_distinct_from(sa.bindparam("role", type_=_users.role.type)),
    "no_role": _users.role.is_not_distinct_from(sa.bindparam("no_role", type_=_users.role.type)),
}
"""The conditions of a list by the name of their parameter; that of ``no_role`` is None."""
_MEMBERSHIPS: dict[str, sa.Column[Any]] = {}


def register_membership(name: str, of: sa.Column[Any], user_id: sa.Column[Any]) -> None:
    """Register a filter for the users in something that another feature owns, in order of id.

    :param name: the name of the filter's parameter, whose value is an id of the other thing.
    :param of: the column with that id in the table of memberships, whose key is this and the user.
    :param user_id: the column with the user's id.
    """
    _FILTERS[name] = of == sa.bindparam(name, type_=sa.Integer)
    _MEMBERSHIPS[name] = user_id


@cache
def by_id(columns: tuple[str, ...] = COMPLETE) -> sa.Select[Any]:
    """Return the SELECT of the user with the parameter ``user_id``.

    :param columns: the names of columns, or expressions with a label; ``json``: the JSON object
        that clients see, rendered by the database.
    """
    return sa.select(*_select(columns)).where(HAS_ID)


@cache
def by_ids(columns: tuple[str, ...] = COMPLETE) -> sa.Select[Any]:
    """Return the SELECT of the users whose id is in the parameter ``ids``, in order of id."""
    return sa.select(*_select(columns)).where(HAS_IDS).order_by(_users.id)


@cache
def page(
    columns: tuple[str, ...],
    sort: str,
    filters: tuple[str, ...],
    after: bool,
    part: str | None = None,
    nulls: bool | None = None,
) -> sa.Select[Any]:
    """Return the SELECT of a page; its rows include the sort key.

    NULL comes before all values, and after them in descending order, as in every database.

    :param sort: one of ``schemas.SORTS``; with ``-``, descending.
    :param filters: the names of the filters' parameters: ``active``, ``email_folded`` (the user
        with this mailbox), ``role``, ``no_role``; or one that was registered, alone or with
        ``email_folded``, in order of id.
    :param after: whether the page starts after the row of the parameters ``key`` and ``key_id``.
    :param part: the part of a search: the user with the ``email``, or the others with the
        ``username``, that is exactly the text; None: no search.
    :param nulls: only the users without a sort key, whose parameter ``key`` is None, or only the
        others; None: all that come after. No comparison finds both, so a page may need two.
    """
    column, descending = sort_column(sort), sort.startswith("-")
    conditions = [*_PARTS[part], *(_FILTERS[name] for name in filters)]
    is_unique = column is _users.id or column is _users.email_folded  # its index ends with it
    order = [column] if is_unique else [column, _users.id]
    key = [sa.bindparam("key", type_=column.type), sa.bindparam("key_id", type_=sa.Integer)]
    if nulls:
        conditions.append(column.is_not_distinct_from(key[0]))
    elif nulls is not None and not after:
        conditions.append(column.is_not(None))
    if part is not None or nulls:  # the column has one value, and the databases would sort by it
        order, key = [_users.id], key[1:]
    if (membership := _membership(filters)) is not None:
        order = [membership]
    if after:
        conditions += keyset.after(order, key, descending=descending)
    key_column = f"{column.name}_text" if f"{column.name}_text" in _RENDERED else column.name
    statement = sa.select(*_select((*columns, "id", key_column))).where(*conditions)
    statement = _of_members(statement, filters)
    statement = statement.order_by(*(each.desc() if descending else each for each in order))
    return _with_index(statement, column, filters, part).limit(_LIMIT)


@cache
def lines(
    line: sa.ColumnElement[str], filters: tuple[str, ...], with_ids: bool, *, joined: bool
) -> sa.Select[Any]:
    """Return the SELECT of a part of an export, in order of id, after the parameter ``after``.

    :param line: the expression of a line.
    :param with_ids: whether only users with an id of the parameter ``ids`` are wanted.
    :param joined: whether all is one row: the text ``lines``, their ``number``, and ``last_id``.
    """
    conditions = [_FILTERS[name] for name in filters] + ([HAS_IDS] if with_ids else [])
    conditions.append(_users.id > sa.bindparam("after", type_=sa.Integer))
    statement = sa.select(_users.id, line).where(*conditions).order_by(_users.id)
    if not with_ids:
        statement = _with_index(statement, _users.id, filters)
    statement = statement.limit(_LIMIT)
    if not joined:
        return statement
    part = statement.subquery("part")
    number, last_id = sa.func.count().label("number"), sa.func.max(part.c.id).label("last_id")
    lines: Any = all_lines(part.c.line, part.c.id).label("lines")
    return sa.select(lines, number, last_id)


@cache
def search(
    columns: tuple[str, ...], filters: tuple[str, ...], after: bool, words: int, near: bool = False
) -> sa.Select[Any]:
    """Return the SELECT of a page of the users who have words with these beginnings.

    Each user is found once, at the first of their words that begins with the leading one. The order
    is that of those words, ties by id. Users whom the exact parts of a search find are left out.

    :param after: whether the page starts after the row of the parameters ``key`` and ``key_id``.
    :param words: how many beginnings there are: ``from_0`` and ``to_0`` are those of the leading
        one.
    :param near: whether to look at the first ``NEAR`` words only that begin with the leading one.
    """
    found: sa.FromClause = _found
    if near:
        order = [_found.c.word, _found.c.user_id]
        first = sa.select(*order).where(*_range(_found, 0)).order_by(*order)
        found = _by_word(first).limit(sa.literal_column(str(NEAR))).subquery("near")
    statement = _search((*columns, "id"), filters, words, found).where(~_IS_NAME, ~_IS_EMAIL)
    if "email_folded" not in filters:  # with it, there is one user at most
        order = [found.c.word, found.c.user_id]
        if after:
            key = [sa.bindparam("key", type_=sa.String), sa.bindparam("key_id", type_=sa.Integer)]
            statement = statement.where(*keyset.after(order, key))
        statement = statement.order_by(*order)
    return statement.limit(_LIMIT)


@cache
def search_among(
    columns: tuple[str, ...], filters: tuple[str, ...], after: bool, words: int
) -> sa.Select[Any]:
    """Return the same SELECT as ``search``, for filters that few users pass.

    It reads all of these, and sorts those with the words, instead of looking for them among many
    who have the words.
    """
    first = _first_word(_users.id, 0).label("word")
    others = [_first_word(_users.id, place).is_not(None) for place in range(1, words)]
    conditions = [*(_FILTERS[name] for name in filters), *others, ~_IS_NAME, ~_IS_EMAIL]
    passing = sa.select(_users.id, first).where(*conditions)
    among = _with_index(passing, _users.id, filters).subquery("among")
    order = [among.c.word, among.c.id]
    ranked = sa.select(*among.c).where(among.c.word.is_not(None))
    if after:
        key = [sa.bindparam("key", type_=sa.String), sa.bindparam("key_id", type_=sa.Integer)]
        ranked = ranked.where(*keyset.after(order, key))
    page = ranked.order_by(*order).limit(_LIMIT).subquery("page")
    statement = sa.select(*_select((*columns, "id")), page.c.word)
    statement = statement.select_from(page.join(User.__table__, _users.id == page.c.id))
    return statement.order_by(page.c.word, page.c.id)


@cache
def match_counts(words: int, filters: tuple[str, ...]) -> sa.Select[Any]:
    """Return the SELECT that counts how often each word begins so, and who passes the filters.

    Each count ends at ``COUNTED``. Without filters, there is no count of users.
    """
    one: sa.ColumnElement[int] = sa.literal_column("1")
    most: sa.ColumnElement[int] = sa.literal_column(str(COUNTED))
    counted = [sa.select(one).where(*_range(_counted, place)) for place in range(words)]
    if filters:
        passing = sa.select(one).where(*(_FILTERS[name] for name in filters))
        counted.append(_with_index(passing.select_from(User.__table__), _users.id, filters))
    return sa.select(
        *(
            sa.select(sa.func.count())
            .select_from(each.limit(most).subquery(f"counted_{place}"))
            .scalar_subquery()
            .label(f"count_{place}")
            for place, each in enumerate(counted)
        )
    )


@cache
def total(filters: tuple[str, ...], words: int) -> sa.Select[Any]:
    """Return the SELECT that counts users; only this one may read many rows.

    :param words: how many beginnings of words a search has; 0: no search.
    """
    if words:
        return _search((), filters, words)
    conditions = [_FILTERS[name] for name in filters]
    statement = sa.select(sa.func.count()).where(*conditions)
    if (membership := _membership(filters)) is not None and len(filters) == 1:
        return statement.select_from(membership.table)
    return _of_members(statement.select_from(User.__table__), filters)


@cache
def count(filters: tuple[str, ...], words: int, after: bool = False) -> sa.Select[Any]:
    """Return the SELECT that counts users among the first that the leading filter or word finds.

    Its row has ``looked_at``, the number of those, which ends at the parameter ``limit``, and
    ``found``, the number of users among them whom all filters and words find.

    :param words: how many beginnings of words a search has; 0: no search.
    :param after: whether to count, of a list, only users whose ids are after that in ``key_id``.
    """
    one: sa.ColumnElement[int] = sa.literal_column("1")
    if words:
        first = sa.select(_found.c.word, _found.c.user_id).where(*_range(_found, 0))
        looked_at = _by_word(first.order_by(*first.selected_columns)).limit(_LIMIT).subquery("near")
        fits = [looked_at.c.word == _first_word(looked_at.c.user_id, 0)]
        fits += [_first_word(looked_at.c.user_id, place).is_not(None) for place in range(1, words)]
        fits += [_FILTERS[name] for name in filters]
        source: Any = looked_at.join(User.__table__, _users.id == looked_at.c.user_id)
        found: sa.ColumnElement[Any] = sa.case((sa.and_(*fits), one))
    else:
        leading = _leading(filters)
        others = [_FILTERS[name] for name in filters if name != leading]
        passing = sa.case((sa.and_(*others), one)) if others else one
        some = sa.select(passing.label("found")).select_from(User.__table__)
        if after:
            some = some.where(_users.id > sa.bindparam("key_id", type_=sa.Integer))
        if leading:
            some = _with_index(some.where(_FILTERS[leading]), _users.id, filters)
        source = some.limit(_LIMIT).subquery("some")
        found = source.c.found
    counts: list[Any] = [sa.func.count().label("looked_at"), sa.func.count(found).label("found")]
    return sa.select(*counts).select_from(source)


def _search(
    columns: tuple[str, ...], filters: tuple[str, ...], words: int, found: sa.FromClause = _found
) -> sa.Select[Any]:
    """Return the SELECT of these columns, or the number, of the users with the words.

    The databases would join the tables in another order for some words, and sort the rows.
    """
    selected = [*_select(columns)] or [sa.func.count()]
    has_words = [_first_word(_users.id, place).is_not(None) for place in range(words)]
    matches = [_FILTERS[name] for name in filters]
    if "email_folded" in filters:
        nothing = [sa.literal_column("''", sa.String).label("word")] if columns else []
        statement = sa.select(*selected, *nothing).select_from(User.__table__)
        return statement.where(*matches, *has_words)
    word = [found.c.word] if columns else []
    is_first = found.c.word == _first_word(found.c.user_id, 0)
    statement = (
        sa.select(*selected, *word)
        .select_from(found.join(User.__table__, _users.id == found.c.user_id))
        .where(*_range(found, 0), is_first, *matches, *has_words[1:])
        .with_hint(User.__table__, "NOT INDEXED", "sqlite")
    )
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return _by_word(statement) if found is _found else statement


def _by_word(statement: sa.Select[Any]) -> sa.Select[Any]:
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(_found, "FORCE INDEX (PRIMARY)", dialect)
    return statement


def _first_word(user_id: sa.ColumnElement[Any], place: int) -> sa.ScalarSelect[Any]:
    """Return the first word of a user that begins so; NULL: there is none.

    It is no EXISTS, of which the databases would make a join.
    """
    words = UserWord.__table__.alias(f"word_{place}")
    first = sa.select(sa.func.min(words.c.word)).where(words.c.user_id == user_id)
    return first.where(*_range(words, place)).scalar_subquery()


def _range(words: sa.FromClause, place: int) -> list[sa.ColumnElement[bool]]:
    start, end = (sa.bindparam(f"{name}_{place}", type_=sa.String) for name in ("from", "to"))
    return [words.c.word >= start, words.c.word < end]


def sort_column(sort: str) -> sa.Column[Any]:
    """Return the column of an order."""
    return _SORTED_BY[sort.removeprefix("-")]


def _select(names: Sequence[Any]) -> list[sa.ColumnElement[Any]]:
    columns: dict[str | None, sa.ColumnElement[Any]] = {}
    for name in names:  # of two forms of one column, the first is wanted
        known = isinstance(name, str)
        column = _RENDERED.get(name, _users.get(name)) if known else name
        columns.setdefault(column.key, column)
    return [*columns.values()]


def _with_index(
    statement: sa.Select[Any],
    column: sa.Column[Any],
    filters: tuple[str, ...],
    part: str | None = None,
) -> sa.Select[Any]:
    if index := _index(column, filters, part):
        for dialect in ("mysql", "mariadb"):
            statement = statement.with_hint(User.__table__, f"FORCE INDEX ({index})", dialect)
    return statement


def _index(column: sa.Column[Any], filters: tuple[str, ...], part: str | None = None) -> str | None:
    """Return the index that a page must use; None: the database chooses the right one.

    Databases tend to scan an index without the filter's column and skip rows. That is cheap if half
    of the users match, but a full scan if hardly any do.
    """
    if "email_folded" in filters or part == "email" or _membership(filters) is not None:
        return None
    if not filters:
        return f"ix_users_{column.name}_id" if part is not None or column.nullable else None
    first = "active" if _leading(filters) == "active" else "role"
    names = [first, *([] if column is _users.id else [column.name]), "id"]
    return f"ix_users_{'_'.join(names)}"


def _membership(filters: tuple[str, ...]) -> sa.Column[Any] | None:
    """Return the column with the user's id of a registered filter; None: there is none."""
    return next((_MEMBERSHIPS[name] for name in filters if name in _MEMBERSHIPS), None)


def _of_members(statement: sa.Select[Any], filters: tuple[str, ...]) -> sa.Select[Any]:
    """Return the SELECT from the table of a registered filter, if there is one, and of users.

    Unless the mailbox finds the user, the memberships are read first: a range of their key.
    """
    membership = _membership(filters)
    if membership is None:
        return statement
    both = membership.table.join(User.__table__, _users.id == membership)
    statement = statement.select_from(both)
    if "email_folded" in filters:
        return statement
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return statement.with_hint(User.__table__, "NOT INDEXED", "sqlite")


def _leading(filters: tuple[str, ...]) -> str | None:
    """Return the filter whose index a list reads; None: there is no filter.

    Of two, it is the more selective one: few users have a role, and most are active.
    """
    return next((name for name in ("role", "active", "no_role") if name in filters), None)

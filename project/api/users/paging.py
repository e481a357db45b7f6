"""Pages of users, and the cursors that lead from one to the next.

A cursor is valid for one order and one set of filters: these are part of its signature.
"""

import time
from functools import partial
from typing import Any

from flask import current_app
from sqlalchemy import Column

from project.api.users import queries, service
from project.api.users.fields import COLUMNS
from project.api.users.folding import fold_email, fold_username
from project.api.users.schemas import NO_ROLE, UserListQuery
from project.database import Row
from project.web.pagination import (
    Page,
    Way,
    find_both_ways,
    find_page,
    key_of,
    make_cursor,
    read_cursor,
)

MANY_SECONDS = 60
_MANY = "users.many"


def list_in_order(query: UserListQuery, columns: tuple[str, ...]) -> Page:
    """Return a page of the list in the query's order.

    :param columns: the columns of the rows, as for ``service.get_user``.
    :raises Invalid: the cursor is not valid for this order and these filters (400).
    """
    filters = filters_of(query)
    find = partial(service.list_users, sort=query.sort, filters=filters, columns=columns)
    return find_page(query, _kind(query, query.sort), _order(query.sort), find)


def list_both_ways(query: UserListQuery, before: str | None, columns: tuple[str, ...]) -> Page:
    """Return a page in the query's order, with the cursor of the previous page.

    :param before: the cursor of a page that ends before a user; None: use the query's cursor.
    :raises Invalid: a cursor is not valid for this order and these filters (400).
    """
    name = query.sort.removeprefix("-")
    opposite = name if query.sort.startswith("-") else f"-{name}"
    back = query.model_copy(update={"sort": opposite})
    return find_both_ways(query.cursor, before, _way(query, columns), _way(back, columns))


def _way(query: UserListQuery, columns: tuple[str, ...]) -> Way:
    def list_page(cursor: str | None) -> Page:
        is_asked = cursor == query.cursor  # a copy costs
        asked = query if is_asked else query.model_copy(update={"cursor": cursor})
        return list_in_order(asked, columns)

    return Way(list_page, partial(_cursor, query))


def search(query: UserListQuery, columns: tuple[str, ...]) -> Page:
    """Return a page of the users that match the query's ``q``.

    :raises Invalid: the cursor is not valid for this search and these filters (400).
    """
    text = query.q or ""
    kind = _kind(query, f"words={fold_username(text)}")
    after = None if query.cursor is None else read_cursor(kind, query.cursor)
    found = service.search_users(text, query.limit + 1, after, filters_of(query), columns)
    rows = [row for _part, row in found[: query.limit]]
    if len(found) <= query.limit:
        return Page(rows)
    return Page(rows, make_cursor(kind, search_key(*found[query.limit - 1])))


def count(query: UserListQuery, page: Page) -> service.Count:
    """Return the number of users in all pages of a list, if it is quick to count.

    To count as far as that costs as much as the page. So when a list has more users, which changes
    rarely, it is not counted again for ``MANY_SECONDS``.

    :param page: one of the pages: if it is the only one, nothing more is read.
    """
    if query.cursor is page.next is page.previous is None:
        return service.Count(len(page.rows), True)
    filters = filters_of(query)
    many: dict[Any, tuple[float, service.Count]] = current_app.extensions.setdefault(_MANY, {})
    until, found = many.get(key := tuple(filters.items()), (0.0, None))
    if query.q is not None or found is None or until < time.monotonic():
        found = service.count_some(filters, query.q)
        if query.q is None and query.email is None and not found.is_exact:
            many[key] = time.monotonic() + MANY_SECONDS, found
    return found if found.is_exact else found._replace(number=max(found.number, len(page.rows)))


def count_rest(query: UserListQuery) -> service.Count | None:
    """Return the number of users after a cursor in the order of ids, if it is quick to count.

    :return: None: it is not known, since this is a search.
    :raises Invalid: the cursor is not valid for this order and these filters (400).
    """
    if query.q is not None:
        return None
    after_id = read_cursor(_kind(query, query.sort), query.cursor or "")[0]
    return service.count_some(filters_of(query), after_id=after_id)


def search_key(part: str, row: Row) -> list[Any]:
    """Return the key of a user whom a search has found, for the users after it."""
    key = [row.word, row.id] if part == "word" else key_of(row, _order(part))
    return [part, *key]


def filters_of(query: UserListQuery) -> dict[str, Any]:
    """Return the values of the query's filters by name, as for ``service.list_users``."""
    filters = role_and_activity(query.role, query.active)
    if query.email is not None:
        filters["email_folded"] = fold_email(query.email)
    if query.group is not None:
        filters["group"] = query.group
    return filters


def role_and_activity(role: str | None, active: bool | None) -> dict[str, Any]:
    """Return the values of these filters by name; None: no filter."""
    filters: dict[str, Any] = {}
    if active is not None:
        filters["active"] = active
    if role == NO_ROLE:
        filters["no_role"] = None
    elif role is not None:
        filters["role"] = role
    return filters


def _cursor(query: UserListQuery, row: Row) -> str:
    """Return the cursor of the page after a row in the query's order."""
    return make_cursor(_kind(query, query.sort), key_of(row, _order(query.sort)))


def _order(sort: str) -> list[Column[Any]]:
    return [queries.sort_column(sort), COLUMNS.id]


def _kind(query: UserListQuery, order: str) -> str:
    email = None if query.email is None else fold_email(query.email)
    # The text stays as it was before there were roles and groups, so that earlier cursors stay
    # valid.
    with_role = "" if query.role is None else f" role={query.role}"
    in_group = "" if query.group is None else f" group={query.group}"
    filters = f"Filters(active={query.active!r}, email_folded={email!r}){with_role}{in_group}"
    return f"users {order} {filters}"

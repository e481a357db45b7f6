"""Pages of users, and the cursors that lead from one to the next.

A cursor is good for one order and one set of filters: these are part of its signature.
"""

from project.api.users import queries, service
from project.api.users.folding import fold_email, fold_username
from project.api.users.queries import Filters
from project.api.users.schemas import UserListQuery
from project.web.pagination import Page, make_cursor, read_cursor


def list_in_order(query: UserListQuery) -> Page:
    """Return a page of the list in the query's order.

    :raises Invalid: the cursor is not one of this order and these filters (400).
    """
    filters, kind = _filters(query), _kind(query)
    after = None
    if query.cursor is not None:
        key, user_id = read_cursor(kind, query.cursor)
        after = queries.from_json(query.sort, key), user_id
    rows = service.list_users(query.limit + 1, query.sort, after, filters)
    if len(rows) <= query.limit:
        return Page(rows)
    shown = rows[: query.limit]
    key, user_id = queries.key_of(query.sort)(shown[-1])
    return Page(shown, make_cursor(kind, [queries.as_json(key), user_id]))


def search(query: UserListQuery) -> Page:
    """Return a page of the users that the query's ``q`` finds.

    :raises Invalid: the cursor is not one of this search and these filters (400).
    """
    filters, kind = _filters(query), _kind(query)
    after = None
    if query.cursor is not None:
        part, key, user_id = read_cursor(kind, query.cursor)
        after = part, key, user_id
    found = service.search_users(query.q or "", query.limit + 1, after, filters)
    rows = [row for _part, row in found[: query.limit]]
    if len(found) <= query.limit:
        return Page(rows)
    part = found[query.limit - 1][0]
    return Page(rows, make_cursor(kind, [part, *queries.key_of(part)(rows[-1])]))


def count(query: UserListQuery) -> int:
    """Return how many users all pages of the query have."""
    return service.count_users(_filters(query), query.q)


def _filters(query: UserListQuery) -> Filters:
    email = None if query.email is None else fold_email(query.email)
    return Filters(active=query.active, email_folded=email)


def _kind(query: UserListQuery) -> str:
    order = query.sort if query.q is None else f"q={fold_username(query.q)}"
    return f"users {order} {_filters(query)}"

"""Pages of the audit trail, and the cursors that lead from one to the next."""

from functools import partial

from project.api.audit import service
from project.api.audit.queries import ORDER
from project.api.audit.schemas import EventListQuery
from project.web.pagination import Page, find_page


def list_events(query: EventListQuery) -> Page:
    """Return a page of the query's events.

    :raises Invalid: the cursor is not valid for these filters (400).
    """
    kind = f"audit {query.user} {query.actor} {query.since}"
    find = partial(service.list_events, user_id=query.user, actor=query.actor, since=query.since)
    return find_page(query, kind, ORDER, find)

"""Pages of the trail, and the cursors that lead from one to the next."""

from datetime import datetime

from project.api.audit import service
from project.api.audit.schemas import EventListQuery
from project.web.pagination import Page, make_cursor, read_cursor


def list_events(query: EventListQuery) -> Page:
    """Return a page of the events that the query is about.

    :raises Invalid: the cursor is not one of these filters (400).
    """
    kind = f"audit {query.user} {query.actor} {query.since}"
    after = None
    if query.cursor is not None:
        created_at, event_id = read_cursor(kind, query.cursor)
        after = datetime.fromisoformat(created_at), event_id
    rows = service.list_events(query.limit + 1, query.user, query.actor, query.since, after)
    if len(rows) <= query.limit:
        return Page(rows)
    last = rows[query.limit - 1]
    return Page(rows[: query.limit], make_cursor(kind, [last.created_at.isoformat(), last.id]))

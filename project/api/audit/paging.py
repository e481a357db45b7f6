"""Pages of the trail, and the cursors that lead from one to the next."""

from project.api.audit import service
from project.api.audit.queries import ORDER
from project.api.audit.schemas import EventListQuery
from project.database import keyset
from project.web.pagination import Page, make_cursor, read_cursor


def list_events(query: EventListQuery) -> Page:
    """Return a page of the events that the query is about.

    :raises Invalid: the cursor is not one of these filters (400).
    """
    kind = f"audit {query.user} {query.actor} {query.since}"
    after = None
    if query.cursor is not None:
        key, event_id = keyset.from_cursor(ORDER, read_cursor(kind, query.cursor))
        after = key, event_id
    rows = service.list_events(query.limit + 1, query.user, query.actor, query.since, after)
    if len(rows) <= query.limit:
        return Page(rows)
    shown = rows[: query.limit]
    key = keyset.to_cursor([shown[-1].created_at, shown[-1].id])
    return Page(shown, make_cursor(kind, key))

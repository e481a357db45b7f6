"""Who did what to whom, for administrators."""

from project.api.audit import bp, paging
from project.api.audit.schemas import EventListQuery, EventRead
from project.web.contract import accepts_query, returns_page
from project.web.guard import require
from project.web.pagination import Page


@bp.get("/audit")
@require("admin", even_when_open=True)
@accepts_query(EventListQuery)
@returns_page(EventRead, "events")
def list_events(query: EventListQuery) -> Page:
    """List what was done, the newest first: to a user, by somebody, since a time."""
    return paging.list_events(query)

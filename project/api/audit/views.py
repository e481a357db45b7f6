"""The audit trail, for administrators."""

from project.api.audit import bp, service
from project.api.audit.schemas import EventListQuery, EventRead
from project.web.contract import accepts_query, returns_page
from project.web.guard import require
from project.web.pagination import Page


@bp.get("/audit")
@require("admin", even_when_open=True)
@accepts_query(EventListQuery)
@returns_page(EventRead, "events")
def list_events(query: EventListQuery) -> Page:
    """List audit events, newest first, by affected user, actor and time.

    Each change was recorded in its own transaction. Passwords, tokens and keys are in no event.
    """
    return service.list_page(query)

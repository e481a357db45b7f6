"""The page from which a person downloads users as a file."""

from typing import Any

from flask import Response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from project.api.transfer import bp
from project.api.transfer.views import ExportQuery, send_users
from project.api.users import paging, service
from project.api.users.fields import SHOWN
from project.api.users.schemas import NO_ROLE
from project.clock import utcnow
from project.web.contract import repeatable, validate_query
from project.web.fields import Flag
from project.web.guard import SESSION, require
from project.web.languages import format_number

FILTERS = ("q", "role", "active", "ids")
_LABELS = {
    "id": lazy_gettext("ID"),
    "username": lazy_gettext("Username"),
    "email": lazy_gettext("Email address"),
    "active": lazy_gettext("Active"),
    "created_at": lazy_gettext("Added"),
    "updated_at": lazy_gettext("Last changed"),
    "role": lazy_gettext("Role"),
    "last_sign_in_at": lazy_gettext("Last sign-in"),
}
_ROLES = {
    "viewer": lazy_gettext("Viewer"),
    "editor": lazy_gettext("Editor"),
    "admin": lazy_gettext("Administrator"),
    NO_ROLE: lazy_gettext("No role"),
}


class DownloadQuery(ExportQuery):
    """The parameters of a download: those of the API, and one that a person understands."""

    excel: Flag = False


@bp.get("/export")
@require("users:read", credentials=SESSION)
def export_form() -> str:
    """Show whom the filters of the address find, and a form for the file.

    The filters are those of the list. Users that were chosen one by one are in ``ids``, whatever
    search found them.

    :raises Invalid: a filter is invalid (400).
    """
    values = _values(*FILTERS)
    if "ids" in values:
        values.pop("q", None)
    query = validate_query(ExportQuery, values)
    return render_template(
        "transfer/export.html",
        values=values,
        count=_count(query),
        conditions=_conditions(query),
        columns=[(name, _LABELS.get(name, name)) for name in SHOWN],
    )


@bp.get("/export/download")
@require("users:read", credentials=SESSION)
def download_users() -> Response:
    """Send the users as a file that the browser saves.

    :raises Invalid: a parameter is invalid (400).
    """
    query = validate_query(DownloadQuery, _values(*request.args))
    if query.excel:
        query = query.model_copy(update={"bom": True, "safe": True})
    return send_users(query, f"users-{utcnow():%Y-%m-%d}.{query.format}", SESSION)


def _values(*names: str) -> dict[str, Any]:
    """Return the parameters with these names that are not empty."""
    many = repeatable(DownloadQuery)
    return {
        name: request.args.getlist(name) if name in many else request.args[name].strip()
        for name in names
        if any(request.args.getlist(name))
    }


def _count(query: ExportQuery) -> str:
    """Return in words how many users the file will have, if that is quick to count."""
    filters = paging.role_and_activity(query.role, query.active)
    if query.ids is None:
        found = service.count_some(filters, query.q)
    else:
        users = service.list_users_by_id(query.ids, ("id", "role", "active"))
        role = None if query.role == NO_ROLE else query.role
        fits = [
            (query.role is None or user.role == role) and query.active in (None, user.active)
            for user in users
        ]
        found = service.Count(sum(fits), True)
    number = format_number(found.number)
    if not found.is_exact:
        return str(_("Over %(number)s users", number=number))
    return str(ngettext("%(number)s user", "%(number)s users", found.number, number=number))


def _conditions(query: ExportQuery) -> list[str]:
    """Return in words what the filters ask for."""
    conditions = []
    if query.ids is not None:
        conditions.append(_("Chosen in the list"))
    if query.q is not None:
        conditions.append(_("Found by “%(text)s”", text=query.q))
    if query.role is not None:
        conditions.append(str(_ROLES[query.role]))
    if query.active is not None:
        conditions.append(_("Active") if query.active else _("Inactive"))
    return conditions

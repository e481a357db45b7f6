"""The page of a user: who they are, how they sign in, and what has been done to them.

Everybody who may read users sees the details. Sign-ins, API keys and the history are for
administrators, as in the API, even when access is open.
"""

import re
from functools import partial
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from project.api.audit import service as audit
from project.api.audit import words
from project.api.audit.schemas import EventListQuery
from project.api.auth import bp, service
from project.api.auth.devices import device_words
from project.api.auth.forms import ROLE_NAMES, SessionForm, UserPageForm
from project.api.users import service as users
from project.api.users.errors import LastAdministrator, OnlyByAdministrators, UserChanged
from project.api.users.pages import list_parameters
from project.api.users.panels import render_panels
from project.api.users.schemas import UserUpdate
from project.clock import utcnow
from project.database import Row, in_transaction
from project.errors import Forbidden, Invalid, TooManyRequests
from project.web import guard
from project.web.contract import validate_query
from project.web.fields import parse_id, read_id
from project.web.guard import SESSION, may, require
from project.web.languages import gettext as _
from project.web.languages import translated

EVENTS_PER_PAGE = 20


@bp.get("/user/<user_id>")
@require("users:read", allow_self=True, credentials=SESSION)
def user_page(user_id: str) -> ResponseReturnValue:
    """Show a user; ``events`` selects older events of the history.

    :raises Invalid: the cursor ``events`` is invalid (400).
    :raises UserNotFound: no user has this id (404).
    """
    guard.find_principal(SESSION)  # administrators see more, even when access is open
    user = users.get_user(parse_id(user_id))
    if not may("users:read"):
        return redirect(url_for("auth.account_form"), 303)
    return _render(user, UserPageForm.of(user) if _may_change(user) else None)


@bp.post("/user/<user_id>")
@require("users:write", credentials=SESSION)
def change_user(user_id: str) -> ResponseReturnValue:
    """Change the user to the form's values, unless somebody else changed it since it was shown.

    :raises Forbidden: it has a role, but the caller is not an administrator (403).
    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user = _get_changeable(user_id)
    form, problem = UserPageForm(data={"role": user.role}), None
    if not guard.is_admin():
        if form.role.name in request.form:
            raise Forbidden
        del form.role
    if form.validate_on_submit():
        try:
            sent = form.read(UserUpdate).model_dump(exclude_unset=True)
            changed = users.commit_change(user.id, sent, form.has_version, by_admin=may("admin"))
        except UserChanged:
            user = _get_changeable(user_id)
            current = UserPageForm.of(user)
            return _render(user, current, lost=form.differences(current)), 412
        except LastAdministrator as error:
            problem, form.status = translated(error.message), 409
        except (Invalid, TooManyRequests) as error:
            form.show(error)
        else:
            if form.has_version(changed.version):
                flash(_("Nothing was changed."))
            else:
                flash(_("%(email)s was changed!", email=changed.email))
            return _back_to(user)
    return _render(user, form, problem=problem), form.status, form.headers


@bp.post("/user/<user_id>/sessions")
@require("admin", even_when_open=True, credentials=SESSION)
def end_user_sessions(user_id: str) -> ResponseReturnValue:
    """End one sign-in of a user, or all; administrators keep their own.

    :raises UserNotFound: no user has this id (404).
    """
    user = users.get_user(parse_id(user_id))
    form, who = SessionForm(), guard.principal(SESSION)
    if not form.validate_on_submit():
        return _render(user, UserPageForm.of(user), expired_form=form), 400
    end_sessions(user.id, form, (who.session or "") if who.user_id == user.id else "")
    return _back_to(user, "access")


def end_sessions(user_id: int, form: SessionForm, kept: str) -> None:
    """End the sign-in that a form names, or all but one, commit, and say so."""
    session_id = form.session_id.data
    if not session_id:
        in_transaction(service.end_sessions)(user_id, kept)
        flash(_("All other sessions have ended.") if kept else _("All sessions have ended."))
        return
    number = read_id(session_id) if re.fullmatch("[0-9]+", session_id) else 0
    in_transaction(service.end_session)(user_id, number)
    flash(_("The session has ended."))


def _may_change(user: Row) -> bool:
    return may("users:write") and (user.role != "admin" or may("admin"))


def _get_changeable(user_id: str) -> Row:
    user: Row = users.get_user(parse_id(user_id))
    if not _may_change(user):
        raise OnlyByAdministrators
    return user


def _render(user: Row, form: UserPageForm | None, **more: Any) -> str:
    """Render the page with what the caller may see.

    :param form: None: the caller may not change the user.
    """
    found: dict[str, Any] = {}
    if guard.is_admin():
        cursor = request.args.get("events")
        query = {"user": str(user.id), "limit": EVENTS_PER_PAGE, "cursor": cursor}
        page = audit.list_page(validate_query(EventListQuery, query))
        names = words.find_names(page.rows)
        link = partial(_link, f"user:{user.id}")
        found = {
            "sessions": service.list_sessions(user.id),
            "keys": service.list_keys(user.id),
            "device_words": device_words,
            "now": utcnow(),
            "days_left": service.days_left,
            "events": [(event, words.describe(event, names, link)) for event in page.rows],
            "older": page.next,
            "is_older": cursor is not None,
        }
    elif form is not None and "role" in form:
        del form.role
    return render_template(
        "auth/user.html", user=user, form=form, values=list_parameters(), roles=ROLE_NAMES,
        panels=render_panels(user), **found, **more,
    )  # fmt: skip


def _link(shown: str, reference: str, name: str) -> Markup:
    """Return the link to a user's page; the user whose page is shown has none."""
    if reference == shown:
        return Markup("<strong>{}</strong>").format(name)
    path = url_for("auth.user_page", user_id=reference.removeprefix("user:"))
    return Markup('<a href="{}">{}</a>').format(path, name)


def _back_to(user: Row, part: str | None = None) -> ResponseReturnValue:
    path = url_for("auth.user_page", user_id=user.id, **list_parameters(), _anchor=part)
    return redirect(path, 303)

"""The pages on which several users are changed at once: what will happen, and what was done.

The users are those chosen on the list, or all that its filter finds. A form has the ids of those
whom it changes, so that nobody else is changed, whatever happens to the list meanwhile.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
import structlog
from flask import Response, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import ngettext
from sqlalchemy.exc import SQLAlchemyError

from project.api.users import bp, bulk, paging, service
from project.api.users.bulk import Change, Outcome, Preview
from project.api.users.forms import BulkForm
from project.api.users.models import ROLES
from project.api.users.pages import FILTERS, back_to_list, list_parameters, list_query
from project.api.users.schemas import NO_ROLE, UserListQuery
from project.database.failures import is_outage
from project.errors import AppError, FieldError, Forbidden, Unavailable
from project.web import error_handlers
from project.web.contract import validate_query
from project.web.guard import SESSION, is_admin, known_principal, may, require
from project.web.idempotency import answer_once
from project.web.languages import format_number, translated
from project.web.languages import gettext as _
from project.web.pagination import invalid_parameters
from project.web.request_id import request_id

REMOVED_WITHOUT_NUMBER = 10
"""How many users, and how many percent of all, are removed without typing their number."""

log = structlog.get_logger()


@bp.get("/bulk")
@require("users:write", credentials=SESSION)
def confirm_bulk() -> ResponseReturnValue:
    """Say what a change would do to the chosen users, and ask for confirmation.

    ``action`` and ``new_role`` are the change, ``ids`` the users; or ``all`` that the list's filter
    finds, after the cursor ``after``.

    :raises Invalid: a parameter is invalid (400).
    :raises Forbidden: only administrators change roles (403).
    """
    takes_all = "all" in request.args
    if not takes_all and "ids" not in request.args:
        return _choose_first()
    change = _read_change(request.args.get("action"), request.args.get("new_role"))
    found, after = Preview(change, may("admin")), None
    if takes_all:
        after = _add_all(found, request.args.get("after"))
    else:
        found.add(service.list_users_by_id(_chosen_ids(), bulk.COLUMNS))
    form = BulkForm(
        data={
            "action": change.kind,
            "new_role": request.args.get("new_role", ""),
            "ids": ".".join(map(str, found.ids)),
        }
    )
    return _render_confirmation(form, found, after)


@bp.post("/bulk")
@require("users:write", credentials=SESSION)
def change_bulk() -> ResponseReturnValue:
    """Change the form's users; say what was done and what was not.

    :raises Invalid: the form is not one of the page's (400).
    :raises Forbidden: only administrators change roles (403).
    """
    form = BulkForm()
    change = _read_change(form.action.data, form.new_role.data)
    ids = form.user_ids(bulk.MOST_AT_ONCE)
    if not ids:
        raise invalid_parameters([FieldError("ids", "Must be ids of users.")])
    after = request.args.get("after")
    is_sent = form.validate_on_submit()
    asks = form.asks.data or _is_many(change, len(ids))
    if is_sent and asks and not form.confirms(ids):
        form.number.errors = (_("Is not the number of users to be removed."),)
    if not is_sent or form.number.errors:
        found = Preview(change, may("admin"))
        for start in range(0, len(ids), bulk.USERS_PER_PAGE):
            some = ids[start : start + bulk.USERS_PER_PAGE]
            found.add(service.list_users_by_id(some, bulk.COLUMNS))
        return _render_confirmation(form, found, after), 400
    outcome, error = _change_in_batches(form.idempotency_key.data, change, ids)
    if error is None and not outcome.left_out and after is None:
        flash(_what_was_done(change, outcome.done))
        return back_to_list()
    status = 200
    if error is not None:
        status = error_handlers.status_of(type(error))
    page = render_template(
        "users/bulk_done.html",
        form=form,
        done=_what_was_done(change, outcome.done),
        outcome=outcome,
        missing=len(ids) - outcome.done - outcome.unchanged - outcome.gone - len(outcome.left_out),
        reason=error and translated(error.message),
        left_out=[each._replace(reason=translated(each.reason)) for each in outcome.left_out],
        **_what_follows(after),
    )
    return page, status


@bp.get("/bulk/export")
@require("users:read", credentials=SESSION)
def export_chosen() -> ResponseReturnValue:
    """Lead to the page that exports the chosen users, or all that the list's filter finds.

    :raises Invalid: a parameter is invalid (400).
    """
    if "all" in request.args:
        values = list_parameters()
        query = {name: values[name] for name in FILTERS if name in values}
    elif "ids" in request.args:
        query = {"ids": ",".join(map(str, _chosen_ids()))}
    else:
        return _choose_first()
    text = urlencode(query, safe=",")
    return redirect(f"{request.root_path}/export{'?' if text else ''}{text}", 303)


def _choose_first() -> ResponseReturnValue:
    flash(_("Choose users first."))
    return back_to_list()


def _chosen_ids() -> Sequence[int]:
    query = validate_query(UserListQuery, {"ids": request.args.getlist("ids")})
    return query.ids or ()


def _read_change(kind: str | None, role: str | None) -> Change:
    """Return the change that is asked for.

    :raises Invalid: there is no such change (400).
    :raises Forbidden: only administrators change roles (403).
    """
    if kind == "role":
        if not is_admin():
            raise Forbidden
        if role not in (*ROLES, NO_ROLE):
            raise invalid_parameters([FieldError("new_role", "Must be a role.")])
        return Change(kind, None if role == NO_ROLE else role)
    if kind not in {"activate", "deactivate", "remove"}:
        raise invalid_parameters([FieldError("action", "Must be an action.")])
    return Change(kind)


def _filter_query(after: str | None) -> UserListQuery:
    values = list_parameters()
    filters = {name: values[name] for name in FILTERS if name in values}
    return list_query(filters, sort="id", limit=bulk.USERS_PER_PAGE, cursor=after)


def _add_all(found: Preview, after: str | None) -> str | None:
    """Add the users that the list's filter finds, as far as one form can change them.

    :return: the cursor of the others; None: there are none.
    """
    query = _filter_query(after)
    find = paging.list_in_order if query.q is None else paging.search
    while True:
        page = find(query, bulk.COLUMNS)
        found.add(page.rows)
        if page.next is None or found.is_full:
            return page.next
        query = query.model_copy(update={"cursor": page.next})


def _is_many(change: Change, number: int) -> bool:
    return change.kind == "remove" and number > REMOVED_WITHOUT_NUMBER


def _needs_number(change: Change, number: int) -> bool:
    """Return whether the number must be typed to confirm the change.

    A form remembers this: once it was sent, the same users may be more than a tenth of all.
    """
    if change.kind != "remove" or _is_many(change, number):
        return change.kind == "remove"
    return number * 100 > service.count_some().number * REMOVED_WITHOUT_NUMBER


def _change_in_batches(
    key: str | None, change: Change, ids: Sequence[int]
) -> tuple[Outcome, AppError | None]:
    """Change users in transactions of bounded size, unless this form has already done so.

    A second submit of a form waits for each batch of the first, and gets its outcome; after a
    failure, it goes on where that has stopped.

    :return: what was done, and the error that has stopped it.
    """
    outcome, by_admin = Outcome(), may("admin")
    for start in range(0, len(ids), bulk.USERS_PER_BATCH):
        batch = ids[start : start + bulk.USERS_PER_BATCH]
        try:
            outcome.add(_change_once(f"bulk {key} {start}", change, batch, by_admin))
        except AppError as error:
            return outcome, error
        except SQLAlchemyError as error:
            log.error("bulk change stopped", request_id=request_id(), exc_info=error)
            return outcome, Unavailable() if is_outage(error) else _Unexpected()
    return outcome, None


class _Unexpected(Unavailable):
    """The database has refused a change for an unknown reason (503)."""

    message = "Something went wrong on our side."


def _change_once(key: str, change: Change, ids: Sequence[int], by_admin: bool) -> Outcome:
    def answer() -> Response:
        outcome = bulk.apply(change, ids, by_admin)
        left_out = [[*each] for each in outcome.left_out]
        return Response(orjson.dumps({**vars(outcome), "left_out": left_out}))

    who = known_principal()
    asked = orjson.dumps([*change, *ids])
    stored = orjson.loads(answer_once(f"{who.name if who else ''} {key}", asked, answer).data)
    left_out = [bulk.LeftOut(*each) for each in stored.pop("left_out")]
    return Outcome(**stored, left_out=left_out)


def _render_confirmation(form: BulkForm, found: Preview, after: str | None) -> str:
    number = len(found.ids)
    form.asks.data = form.asks.data or ("1" if _needs_number(found.change, number) else "")
    form.number.label.text = _("Type %(number)s to confirm", number=number)
    return render_template(
        "users/bulk.html",
        form=form,
        found=found,
        question=_question(found.change, number),
        left_out=[each._replace(reason=translated(each.reason)) for each in found.left_out],
        **_what_follows(after),
    )


def _what_follows(after: str | None) -> dict[str, Any]:
    """Return the cursor of the users that follow, their number, and the list's parameters."""
    rest = paging.count_rest(_filter_query(after)) if after is not None else None
    return {"after": after, "rest": rest, "values": list_parameters()}


def _question(change: Change, number: int) -> str:
    values = _values(change, number)
    match change.kind:
        case "activate":
            text = ngettext(
                "Activate %(number)s user?", "Activate %(number)s users?", number, **values
            )
        case "deactivate":
            text = ngettext(
                "Deactivate %(number)s user?", "Deactivate %(number)s users?", number, **values
            )
        case "role":
            text = ngettext(
                "Set the role of %(number)s user to “%(role)s”?",
                "Set the role of %(number)s users to “%(role)s”?",
                number,
                **values,
            )
        case _:
            text = ngettext("Remove %(number)s user?", "Remove %(number)s users?", number, **values)
    return str(text)


def _what_was_done(change: Change, number: int) -> str:
    if not number:
        return _("Nobody was changed.")
    values = _values(change, number)
    match change.kind:
        case "activate":
            text = ngettext(
                "%(number)s user was activated.",
                "%(number)s users were activated.",
                number,
                **values,
            )
        case "deactivate":
            text = ngettext(
                "%(number)s user was deactivated.",
                "%(number)s users were deactivated.",
                number,
                **values,
            )
        case "role":
            text = ngettext(
                "The role of %(number)s user was set to “%(role)s”.",
                "The role of %(number)s users was set to “%(role)s”.",
                number,
                **values,
            )
        case _:
            text = ngettext(
                "%(number)s user was removed.", "%(number)s users were removed.", number, **values
            )
    return str(text)


def _values(change: Change, number: int) -> dict[str, str]:
    names = {"viewer": _("Viewer"), "editor": _("Editor"), "admin": _("Administrator")}
    return {"number": format_number(number), "role": names.get(change.role or "", _("No role"))}

"""The HTML pages: one to list, find and add users, and another to remove a user."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup, escape

from project.api.users import bp, paging, service
from project.api.users.errors import LastAdministrator, OnlyByAdministrators, UserChanged
from project.api.users.forms import UserAddForm, UserForm, VersionedForm
from project.api.users.schemas import UserCreate, UserListQuery
from project.database import Row, in_transaction
from project.database.rendering import SEPARATOR
from project.errors import Invalid
from project.web.contract import validate_query
from project.web.fields import parse_id
from project.web.guard import SESSION, may, require
from project.web.idempotency import answer_once
from project.web.languages import format_date, language, translated
from project.web.languages import gettext as _

USERS_PER_PAGE = 50
NEWEST_FIRST = "-created_at"
FILTERS = ("q", "role", "active")
LIST_PARAMETERS = (*FILTERS, "sort", "cursor", "before")


@bp.get("/")
@require("users:read", credentials=SESSION)
def index() -> str:
    """Show the users, the newest first, and a form to add one.

    ``q`` finds users, ``role`` and ``active`` choose some of them, and ``sort`` their order.
    ``cursor`` selects the users after those of another page, ``before`` those before them.

    :raises Invalid: a parameter is invalid (400).
    """
    return _render_list(UserAddForm())


@bp.post("/")
@require("users:write", credentials=SESSION)
def add_user() -> ResponseReturnValue:
    """Add the form's user; the redirect prevents a reload of the page from adding it again."""
    form = UserAddForm()
    if form.validate_on_submit():
        try:
            user = form.read(UserCreate)
            _add_once(form.idempotency_key.data, user)
        except Invalid as error:
            form.show(error)
        else:
            flash(_("%(email)s was added!", email=user.email), "added")
            return back_to_list()
    return _render_list(form), 400


@bp.get("/edit/<user_id>")
@bp.post("/edit/<user_id>")
def edit_user(user_id: str) -> ResponseReturnValue:
    """Lead from the former address of a user's page to the current one, forms included."""
    return redirect(url_for("auth.user_page", user_id=user_id, **list_parameters()), 308)


@bp.get("/remove/<user_id>")
@require("users:write", credentials=SESSION)
def remove_user_form(user_id: str) -> str:
    """Ask for confirmation to remove a user.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user = _get_changeable(user_id)
    return _render_removal(VersionedForm(obj=user), user)


@bp.post("/remove/<user_id>")
@require("users:write", credentials=SESSION)
def remove_user(user_id: str) -> ResponseReturnValue:
    """Remove the user, unless somebody changed it since it was shown.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    form = VersionedForm()
    if form.validate_on_submit():
        try:
            removed = in_transaction(service.delete_user)(
                parse_id(user_id), form.has_version, by_admin=may("admin")
            )
        except UserChanged:
            user = _get_changeable(user_id)
            current = VersionedForm(formdata=None, obj=user)
            return _render_removal(current, user, lost=True), 412
        except LastAdministrator as error:
            problem = translated(error.message)
            return _render_removal(form, _get_changeable(user_id), problem=problem), 409
        else:
            flash(_("%(email)s was removed!", email=removed.email))
            return back_to_list()
    return _render_removal(form, _get_changeable(user_id)), 400


def _add_once(key: str | None, user: UserCreate) -> None:
    """Add a user, unless this form already added the same user.

    The values are part of the key: the form, submitted again with others, adds another user.
    """

    def add() -> Response:
        service.create_user(**user.model_dump(exclude_unset=True))
        return Response(status=204)

    answer_once(f"form {key} {user.model_dump_json()}", b"", add)


def _render_list(form: UserForm) -> str:
    values = list_parameters()
    query = list_query(values, sort=values.get("sort", NEWEST_FIRST), limit=USERS_PER_PAGE)
    if query.q is not None:
        page = paging.search(query, ("listed",))
    else:
        page = paging.list_both_ways(query, values.get("before"), ("listed",))
    path = url_for("users.index")
    shown = tuple((name, values[name]) for name in (*FILTERS, "sort") if name in values)
    return render_template(
        "users/index.html",
        form=form,
        rows=_rows(page.rows, values),
        page=page,
        total=paging.count(query, page),
        values=values,
        by_time="sort" not in values,
        filters=_filters(path, shown, language()),
        address=partial(_address, path, shown),
    )


def _rows(users: Sequence[Row], values: Mapping[str, Any]) -> Markup:
    """Return the rows of the list.

    Each kind of row is rendered once. Rendering every row would cost twice as much as the page.
    """
    in_language = language()
    # No prefix of the path has a colon.
    before_id, after_id = url_for("auth.user_page", user_id=":", **values).split(":", 1)
    before_id, after_id = escape(before_id), escape(after_id)
    # Escaped together, since one by one would be a tenth of the page's cost. No text has a NUL.
    escaped = str(escape("\0".join(user.listed for user in users)))
    rows = []
    for text in escaped.split("\0") if users else ():
        user_id, day, role, active, seen, email, username = text.split(SEPARATOR, 6)
        values_of_row = {
            "id": user_id,
            "username": username,
            "email": email,
            "day": day,
            "address": f"{before_id}{user_id}{after_id}",
            "last": seen and format_date(seen),
        }
        rows.append(_row(role, active, seen != "", in_language) % values_of_row)
    return Markup("".join(rows))  # nosec B704


@lru_cache(maxsize=128)
def _row(role: str, active: str, has_signed_in: bool, _language: str) -> str:
    """Return a kind of row, with placeholders for what differs from user to user."""
    names = ("id", "username", "email", "day", "address", "last")
    row = render_template(
        "users/row.html",
        role=role,
        active=active == "true",
        has_signed_in=has_signed_in,
        **{name: f"\0{name}\0" for name in names},
    )
    row = re.sub(r"\s*\n\s*", "\n", row).replace("%", "%%")
    for name in names:
        row = row.replace(f"\0{name}\0", f"%({name})s")
    return row


@lru_cache(maxsize=256)  # limited, since it contains search terms
def _filters(path: str, shown: tuple[tuple[str, str], ...], _language: str) -> Markup:
    """Return the links to the list with other filters and orders, which is half of the page."""
    address = partial(_address, path, shown)
    export = f"{path}bulk/export?{urlencode([('all', '1'), *shown])}"
    page = render_template("users/filters.html", values=dict(shown), address=address, export=export)
    return Markup(page)  # nosec B704


def _address(path: str, shown: Sequence[tuple[str, str]], **changes: str | None) -> str:
    """Return the address of the list with other parameters; None removes one."""
    items = {**dict(shown), **changes}
    query = urlencode({name: items[name] for name in LIST_PARAMETERS if items.get(name)})
    return f"{path}?{query}" if query else path


def list_query(values: Mapping[str, str], **others: Any) -> UserListQuery:
    """Return the query of the list with these parameters.

    :param others: ``limit``, and ``sort``, which a search does not have.
    :raises Invalid: a parameter is invalid (400).
    """
    if "q" in values:
        others.pop("sort", None)
    shown = {name: values[name] for name in (*FILTERS, "cursor") if name in values}
    return validate_query(UserListQuery, {**shown, **others})


def _get_changeable(user_id: str) -> Row:
    """Return a user whom the caller may change.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user: Row = service.get_user(parse_id(user_id))
    if user.role == "admin" and not may("admin"):
        raise OnlyByAdministrators
    return user


def _render_removal(form: VersionedForm, user: Row, **more: Any) -> str:
    return render_template(
        "users/remove.html", form=form, user=user, values=list_parameters(), **more
    )


def back_to_list() -> ResponseReturnValue:
    """Lead back to the part of the list that the person came from."""
    return redirect(url_for("users.index", **list_parameters()), 303)


def list_parameters() -> dict[str, Any]:
    """Return the parameters of the part of the list that the person sees or came from."""
    found = {name: request.args[name].strip() for name in LIST_PARAMETERS if name in request.args}
    if found.get("q") or found.get("sort") == NEWEST_FIRST:
        found.pop("sort", None)  # a search has its own order
    return {name: value for name, value in found.items() if value or name in {"cursor", "before"}}

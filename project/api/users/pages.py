"""The HTML pages: one to list, find and add users, and others to edit or remove a user."""

from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from project.api.users import bp, paging, service
from project.api.users.errors import OnlyByAdministrators, UserChanged
from project.api.users.forms import UserAddForm, UserEditForm, UserForm, VersionedForm
from project.api.users.schemas import UserCreate, UserListQuery, UserReplace
from project.database import Row, in_transaction
from project.errors import Invalid, TooManyRequests
from project.web.contract import validate_query
from project.web.fields import parse_id
from project.web.guard import SESSION, may, require
from project.web.idempotency import answer_once
from project.web.languages import gettext as _

USERS_PER_PAGE = 50
LIST_PARAMETERS = ("q", "cursor", "before")
LISTED = ("id", "username", "created_at_text")
FOUND = (*LISTED, "email")


@bp.get("/")
@require("users:read", credentials=SESSION)
def index() -> str:
    """Show the newest users, or those that match ``q``, and a form to add one.

    ``cursor`` selects older users or further matches, ``before`` newer users.

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
            flash(_("%(email)s was added!", email=user.email))
            return _back_to_list()
    return _render_list(form), 400


@bp.get("/edit/<user_id>")
@require("users:write", credentials=SESSION)
def edit_user_form(user_id: str) -> str:
    """Show a form with a user's current values.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user = _get_changeable(user_id)
    return _render_user("users/edit.html", UserEditForm(obj=user), user)


@bp.post("/edit/<user_id>")
@require("users:write", credentials=SESSION)
def edit_user(user_id: str) -> ResponseReturnValue:
    """Change the user to the form's values, unless somebody else changed it since it was shown.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    form = UserEditForm()
    if form.validate_on_submit():
        try:
            sent = form.read(UserReplace).model_dump(exclude_unset=True)
            changed = service.commit_change(
                parse_id(user_id), sent, form.has_version, by_admin=may("admin")
            )
        except UserChanged:
            user = _get_changeable(user_id)
            current = UserEditForm(formdata=None, obj=user)
            return _render_user("users/edit.html", current, user, lost=form), 412
        except (Invalid, TooManyRequests) as error:
            form.show(error)
        else:
            flash(_("%(email)s was changed!", email=changed.email))
            return _back_to_list()
    return (
        _render_user("users/edit.html", form, _get_changeable(user_id)),
        form.status,
        form.headers,
    )


@bp.get("/remove/<user_id>")
@require("users:write", credentials=SESSION)
def remove_user_form(user_id: str) -> str:
    """Ask for confirmation to remove a user.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user = _get_changeable(user_id)
    return _render_user("users/remove.html", VersionedForm(obj=user), user)


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
            return _render_user("users/remove.html", current, user, lost=form), 412
        else:
            flash(_("%(email)s was removed!", email=removed.email))
            return _back_to_list()
    return _render_user("users/remove.html", form, _get_changeable(user_id)), 400


def _add_once(key: str | None, user: UserCreate) -> None:
    """Add a user, unless this form already added the same user.

    The values are part of the key: the form, submitted again with others, adds another user.
    """

    def add() -> Response:
        service.create_user(**user.model_dump(exclude_unset=True))
        return Response(status=204)

    answer_once(f"form {key} {user.model_dump_json()}", b"", add)


def _render_list(form: UserForm) -> str:
    values = _list_parameters()
    query = {"limit": USERS_PER_PAGE, "cursor": values.get("cursor")}
    if "q" in values:
        page = paging.search(validate_query(UserListQuery, {**query, "q": values["q"]}), FOUND)
    else:
        query["sort"] = "-created_at"
        page = paging.list_both_ways(
            validate_query(UserListQuery, query), values.get("before"), LISTED
        )
    return render_template(
        "users/index.html",
        form=form,
        users=[(*row[:3], row.email if "q" in values else None) for row in page.rows],
        page=page,
        values=values,
        unchangeable=_unchangeable([user.id for user in page.rows]),
    )


def _unchangeable(ids: list[int]) -> set[int]:
    """Return the ids of the users whom a caller with ``users:write`` may not change."""
    if not ids or may("admin") or not may("users:write"):
        return set()
    return service.administrators_among(ids)


def _get_changeable(user_id: str) -> Row:
    """Return a user whom the caller may change.

    :raises OnlyByAdministrators: the user is an administrator, but the caller is not (403).
    :raises UserNotFound: no user has this id (404).
    """
    user: Row = service.get_user(parse_id(user_id))
    if _unchangeable([user.id]):
        raise OnlyByAdministrators
    return user


def _render_user(template: str, form: VersionedForm, user: Row, lost: object = None) -> str:
    return render_template(template, form=form, user=user, lost=lost, values=_list_parameters())


def _back_to_list() -> ResponseReturnValue:
    return redirect(url_for("users.index", **_list_parameters()), 303)


def _list_parameters() -> dict[str, Any]:
    """Return the parameters of the part of the list that the person sees or came from."""
    found = {name: request.args[name] for name in LIST_PARAMETERS if name in request.args}
    if not (q := found.pop("q", "").strip()):
        return found
    return {"q": q, **found}

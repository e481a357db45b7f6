"""The pages of groups: the list, a group with its members, and the part of a user's page."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from project.api.audit.people import Person, find_people
from project.api.groups import bp, exporting, service
from project.api.groups.errors import GroupChanged, GroupNameTaken, UnknownMembers
from project.api.groups.forms import GroupForm, GroupPageForm, MemberForm
from project.api.groups.schemas import GroupCreate, GroupListQuery, GroupUpdate, PageQuery
from project.api.users import service as users
from project.api.users.forms import VersionedForm
from project.api.users.panels import register_panel
from project.clock import utcnow
from project.database import Row, in_transaction
from project.errors import Invalid
from project.web.contract import validate_query
from project.web.downloads import send_file
from project.web.fields import parse_id
from project.web.guard import SESSION, may, require, require_still
from project.web.languages import gettext as _

GROUPS_PER_PAGE = 50
MEMBERS_PER_PAGE = 50
GROUPS_OF_USER = 100
_LISTED = ("id", "username", "email", "active_number")


@bp.get("/group")
@require("groups:read", credentials=SESSION)
def index() -> str:
    """Show the groups by name, and a form to add one.

    ``q`` finds groups by the start of their name; ``cursor`` selects those after another page.

    :raises Invalid: a parameter is invalid (400).
    """
    return _render_list(GroupForm(formdata=None))


@bp.post("/group")
@require("groups:write", credentials=SESSION)
def add_group() -> ResponseReturnValue:
    """Add the form's group, and lead to its page."""
    form = GroupForm()
    if form.validate_on_submit():
        try:
            name = form.read(GroupCreate).display_name
            group = in_transaction(service.create_group)(name)
        except Invalid as error:
            form.show(error)
        except GroupNameTaken as error:
            form.show(error, "display_name")
            form.status = 409
        else:
            flash(_("%(name)s was added!", name=group.display_name))
            return redirect(url_for("groups.group_page", group_id=group.id), 303)
    return _render_list(form), form.status


@bp.get("/group/download")
@require("groups:read", credentials=SESSION)
def download_groups() -> Response:
    """Send all groups with their members as a CSV that Excel understands."""
    still = partial(require_still, "groups:read", SESSION)
    chunks = exporting.export_groups("csv", still, bom=True, safe=True)
    return send_file(chunks, exporting.CONTENT_TYPES["csv"], f"groups-{utcnow():%Y-%m-%d}.csv")


@bp.get("/group/<group_id>")
@require("groups:read", credentials=SESSION)
def group_page(group_id: str) -> str:
    """Show a group and its members; ``cursor`` selects those after another page.

    :raises Invalid: the cursor is invalid (400).
    :raises GroupNotFound: no group has this id (404).
    """
    return _render(service.get_group(parse_id(group_id)))


@bp.post("/group/<group_id>")
@require("groups:write", credentials=SESSION)
def rename_group(group_id: str) -> ResponseReturnValue:
    """Rename the group, unless somebody changed it since it was shown.

    :raises GroupNotFound: no group has this id (404).
    """
    group, form = service.get_group(parse_id(group_id)), GroupPageForm()
    if form.validate_on_submit():
        try:
            changes = {"display_name": form.read(GroupUpdate).display_name}
            in_transaction(service.update_group)(group.id, changes, form.has_version)
        except Invalid as error:
            form.show(error)
        except GroupNameTaken as error:
            form.show(error, "display_name")
            form.status = 409
        except GroupChanged:
            current = GroupPageForm(formdata=None, obj=service.get_group(group.id))
            current.display_name.data = form.display_name.data
            return _render(group, form=current, lost=True), 412
        else:
            flash(_("The group was renamed."))
            return _back_to(group)
    return _render(group, form=form), form.status


@bp.post("/group/<group_id>/members")
@require("groups:write", credentials=SESSION)
def add_member(group_id: str) -> ResponseReturnValue:
    """Add the user with the id, or the one whom the text means; if these are several, ask whom.

    :raises GroupNotFound: no group has this id (404).
    """
    group, form = service.get_group(parse_id(group_id)), MemberForm()
    if not form.validate_on_submit():
        return _render(group, member_form=form), 400
    found = _meant(form)
    if len(found) > 1:
        return _render(group, member_form=form, people=found)
    try:
        changed = in_transaction(service.add_members)(group.id, [each.id for each in found]).changed
    except UnknownMembers:
        found = ()
    if not found:
        problem = _("Nobody with this name, email address or ID was found.")
        form.person.errors = [problem]
        return _render(group, member_form=form), 400
    name = found[0].name
    flash(
        _("%(name)s was added to the group.", name=name)
        if changed
        else _("%(name)s is in the group already.", name=name)
    )
    return _back_to(group, "members")


@bp.post("/group/<group_id>/members/remove")
@require("groups:write", credentials=SESSION)
def remove_member(group_id: str) -> ResponseReturnValue:
    """Remove a user from the group.

    :raises GroupNotFound: no group has this id (404).
    """
    group, form = service.get_group(parse_id(group_id)), MemberForm()
    if not form.validate_on_submit():
        return _render(group, member_form=form), 400
    for each in _with_id(form.user_id.data):
        in_transaction(service.remove_members)(group.id, [each.id])
        flash(_("%(name)s was removed from the group.", name=each.name))
    return _back_to(group, "members")


@bp.get("/group/<group_id>/remove")
@require("groups:write", credentials=SESSION)
def remove_group_form(group_id: str) -> str:
    """Ask for confirmation to remove a group.

    :raises GroupNotFound: no group has this id (404).
    """
    group = service.get_group(parse_id(group_id))
    return _render_removal(VersionedForm(formdata=None, obj=group), group)


@bp.post("/group/<group_id>/remove")
@require("groups:write", credentials=SESSION)
def remove_group(group_id: str) -> ResponseReturnValue:
    """Remove the group, unless somebody changed it since it was shown.

    :raises GroupNotFound: no group has this id (404).
    """
    group, form = service.get_group(parse_id(group_id)), VersionedForm()
    if form.validate_on_submit():
        try:
            in_transaction(service.delete_group)(group.id, form.has_version)
        except GroupChanged:
            group = service.get_group(group.id)
            current = VersionedForm(formdata=None, obj=group)
            return _render_removal(current, group, lost=True), 412
        flash(_("%(name)s was removed!", name=group.display_name))
        return redirect(url_for("groups.index"), 303)
    return _render_removal(form, group), 400


@register_panel
def groups_of_user(user: Row) -> Markup:
    """Return the groups of a user, for the user's page."""
    if not may("groups:read"):
        return Markup("")
    page = service.page_of_user(user.id, PageQuery(limit=GROUPS_OF_USER))
    return Markup(render_template("groups/panel.html", page=page))  # nosec B704


def _meant(form: MemberForm) -> Sequence[Person]:
    """Return the users whom the form may mean."""
    if form.user_id.data:
        return _with_id(form.user_id.data)
    text = form.person.data or ""
    return _with_id(text) or (find_people(text) if text else ())


def _with_id(text: str | None) -> Sequence[Person]:
    if not re.fullmatch("[0-9]{1,10}", text or ""):
        return ()
    found = users.list_users_by_id([int(text or "")], ("id", "username", "email"))
    return [Person(user.id, user.username, user.email) for user in found]


def _render_list(form: GroupForm) -> str:
    values = {name: request.args[name].strip() for name in ("q", "cursor") if name in request.args}
    if not values.get("q"):
        values.pop("q", None)
    order = {} if "q" in values else {"sort": "display_name"}
    query = validate_query(GroupListQuery, {**values, **order, "limit": GROUPS_PER_PAGE})
    page = service.list_page(query)
    return render_template("groups/index.html", form=form, page=page, values=values)


def _render(
    group: Row,
    form: GroupPageForm | None = None,
    member_form: MemberForm | None = None,
    **more: Any,
) -> str:
    """Render the page of a group with what the caller may do."""
    values: dict[str, Any] = {"limit": MEMBERS_PER_PAGE}
    if request.method == "GET" and "cursor" in request.args:
        values["cursor"] = request.args["cursor"]
    page = service.members_page(group.id, validate_query(PageQuery, values), _LISTED)
    return render_template(
        "groups/group.html",
        group=group,
        page=page,
        is_later="cursor" in values,
        form=form or GroupPageForm(formdata=None, obj=group),
        member_form=member_form or MemberForm(formdata=None),
        **more,
    )


def _render_removal(form: VersionedForm, group: Row, **more: Any) -> str:
    return render_template("groups/remove.html", form=form, group=group, **more)


def _back_to(group: Row, part: str | None = None) -> ResponseReturnValue:
    return redirect(url_for("groups.group_page", group_id=group.id, _anchor=part), 303)

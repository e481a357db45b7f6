"""The page on which administrators see what identity providers do here."""

from flask import current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import HiddenField

from project.api.auth import service as auth
from project.api.provisioning import bp, recording
from project.api.scim import PREFIX
from project.api.users import deactivation_guard
from project.database import in_transaction
from project.web.fields import parse_id
from project.web.forms import PageForm
from project.web.guard import ADMIN, SESSION, require
from project.web.languages import gettext as _


class AllowForm(PageForm):
    """Lets an API key go on that was stopped."""

    key_id = HiddenField()


@bp.get("/provisioning")
@require(ADMIN, even_when_open=True, credentials=SESSION)
def show_provisioning() -> ResponseReturnValue:
    """Show the address for SCIM, keys that were stopped, and the last SCIM requests.

    ``key`` selects the requests with one API key.

    :raises WrongId: it is no id (400).
    """
    return _render(AllowForm())


@bp.post("/provisioning")
@require(ADMIN, even_when_open=True, credentials=SESSION)
def allow_key() -> ResponseReturnValue:
    """Let a key that was stopped deactivate and remove users, for an hour.

    :raises WrongId: the form has no id (400).
    :raises KeyNotFound: there is no such key (404).
    """
    form = AllowForm()
    if not form.validate_on_submit():
        return _render(form), 400
    key = auth.get_key(parse_id(form.key_id.data or ""))
    in_transaction(deactivation_guard.allow)(key.id, key.user_id, key.name)
    flash(_("The API key “%(name)s” may go on for an hour.", name=key.name))
    return redirect(url_for("provisioning.show_provisioning"), 303)


def _render(form: AllowForm) -> str:
    key_id = parse_id(request.args["key"]) if request.args.get("key") else None
    requests, stops = recording.list_requests(key_id), deactivation_guard.list_stops()
    known = {key_id, *(each.key_id for each in (*requests, *stops))} - {None}
    return render_template(
        "provisioning/provisioning.html",
        form=form,
        base_url=(current_app.config["PUBLIC_URL"] or request.url_root).rstrip("/") + PREFIX,
        key_id=key_id,
        requests=requests,
        stops=stops,
        names=auth.key_names(known) if known else {},
    )

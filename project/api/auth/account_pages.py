"""The pages for one's own account, and for revoking API keys: one's own, or as administrator any.

A new API key is in the response that made it, and nowhere else; a redirect would have to store it.
"""

from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from project.api.auth import bp, service
from project.api.auth.devices import device_words
from project.api.auth.errors import TooManyKeys
from project.api.auth.forms import ROLE_NAMES, KeyForm, PasswordForm, SessionForm
from project.api.auth.schemas import APIKeyCreate, PasswordChange
from project.api.auth.throttle import TooManyAttempts
from project.api.auth.user_pages import end_sessions
from project.api.users import service as users
from project.api.users.errors import UserChanged
from project.api.users.forms import ProfileForm
from project.api.users.schemas import UserReplace
from project.clock import utcnow
from project.database import Row, in_transaction
from project.errors import FieldError, Invalid, TooManyRequests
from project.web import guard
from project.web.fields import parse_id
from project.web.forms import PageForm
from project.web.guard import SESSION
from project.web.idempotency import answer_once
from project.web.languages import gettext as _
from project.web.languages import lazy_gettext, translated
from project.web.preferences import theme

SCOPE_WORDS = {
    "users:read": lazy_gettext("Read and export all users"),
    "users:write": lazy_gettext("Add, change, import and remove users"),
    "groups:read": lazy_gettext("Read and export all groups"),
    "groups:write": lazy_gettext("Add, change and remove groups and their members"),
    "admin": lazy_gettext(
        "Read the activity and manage everybody's API keys; together with users:write, also set"
        " passwords and roles"
    ),
}
"""What API keys may do; a scope without words is shown by its name alone."""


@bp.get("/account")
def account_form() -> str:
    """Show one's own account."""
    return _render(guard.principal(SESSION))


@bp.post("/account")
def change_account() -> ResponseReturnValue:
    """Change one's own name and email."""
    form, who = ProfileForm(), guard.principal(SESSION)
    if form.validate_on_submit():
        try:
            sent = form.read(UserReplace).model_dump(exclude_unset=True)
            changed = users.commit_change(who.user_id, sent, form.has_version)
        except UserChanged:
            current = ProfileForm.of(users.get_user(who.user_id))
            return _render(who, form=current, lost=form.differences(current)), 412
        except (Invalid, TooManyRequests) as error:
            form.show(error)
        else:
            if form.has_version(changed.version):
                return _back(_("Nothing was changed."))
            return _back(_("Your account was changed."))
    return _render(who, form=form), form.status, form.headers


@bp.post("/account/password")
def change_own_password() -> ResponseReturnValue:
    """Change one's own password; all other sign-ins end."""
    form, who = PasswordForm(), guard.principal(SESSION)
    if form.validate_on_submit():
        try:
            body = form.read(PasswordChange)
            service.commit_password_change(
                who.user_id,
                who.session or "",
                body.current_password,
                body.password,
                request.remote_addr or "",
            )
        except (Invalid, TooManyAttempts) as error:
            form.show(error)
        else:
            return _back(_("Your password was changed. You are signed out everywhere else."))
    return _render(who, password_form=form), form.status, form.headers


@bp.post("/account/sessions")
def end_own_sessions() -> ResponseReturnValue:
    """End one of one's own sign-ins, or all but this one."""
    form, who = SessionForm(), guard.principal(SESSION)
    if not form.validate_on_submit():
        return _render(who, expired_form=form), 400
    end_sessions(who.user_id, form, who.session or "")
    return redirect(url_for("auth.account_form", _anchor="sessions"), 303)


@bp.post("/account/keys")
def create_own_key() -> ResponseReturnValue:
    """Create an API key, which is shown only in this response.

    :raises ScopeTooWide: the user does not have a scope (403).
    """
    who = guard.principal(SESSION)
    form = KeyForm(_scopes_of(who))
    if form.validate_on_submit():
        try:
            if not form.scopes.data:
                raise Invalid(errors=[FieldError("scopes", _("Choose at least one."))])
            made = _make_key_once(who, form.idempotency_key.data, form.read(APIKeyCreate))
        except Invalid as error:
            form.show(error)
        except TooManyKeys as error:
            form.name.errors, form.status = (translated(error.message),), 409
        else:
            if made is None:
                return _back(_("This key was made before. It is not shown again."), "keys")
            return _render(who, made=made), 201
    return _render(who, key_form=form), form.status, form.headers


@bp.get("/revoke/<key_id>")
def revoke_key_form(key_id: str) -> str:
    """Ask for confirmation to revoke an API key.

    :raises KeyNotFound: there is no such key, or it belongs to another user (404).
    """
    owner_id = _owner_filter()
    return _ask_to_revoke(service.get_key(parse_id(key_id), owner_id), PageForm(formdata=None))


@bp.post("/revoke/<key_id>")
def revoke_key(key_id: str) -> ResponseReturnValue:
    """Revoke an API key: one's own, or as an administrator any.

    :raises KeyNotFound: there is no such key, or it belongs to another user (404).
    """
    form, owner_id = PageForm(), _owner_filter()
    if not form.validate_on_submit():
        return _ask_to_revoke(service.get_key(parse_id(key_id), owner_id), form), 400
    key = in_transaction(service.delete_key)(parse_id(key_id), owner_id)
    flash(_("The API key %(name)s was revoked.", name=key.name))
    return redirect(_page_with_keys(key.user_id), 303)


@bp.post("/resume/<key_id>")
def resume_key(key_id: str) -> ResponseReturnValue:
    """Resume a suspended API key: one's own, or as an administrator any.

    :raises KeyNotFound: there is no such key, or it belongs to another user (404).
    """
    form, owner_id = PageForm(), _owner_filter()
    key = service.get_key(parse_id(key_id), owner_id)
    if form.validate_on_submit():
        in_transaction(service.resume_key)(key.id, owner_id)
        flash(_("The API key %(name)s works again.", name=key.name))
    else:
        flash(_("The form has expired. Please submit it again. Nothing has been changed yet."))
    return redirect(_page_with_keys(key.user_id), 303)


def _make_key_once(who: guard.Principal, form_key: str | None, key: APIKeyCreate) -> Row | None:
    """Create an API key; None: this form has created it before."""
    made: list[Row] = []

    def make() -> Response:
        made[:] = [service.create_key(who, key.name, key.scopes, key.expires_in_days)]
        return Response(status=204)

    answer_once(f"{who.name} form {form_key}", b"", make)
    return made[0] if made else None


def _owner_filter() -> int | None:
    """Return the id of the only user whose API keys the caller may manage; None: any user's."""
    who = guard.principal(SESSION)
    return None if guard.ADMIN in who.scopes else who.user_id


def _page_with_keys(user_id: int) -> str:
    if user_id == guard.principal(SESSION).user_id:
        return url_for("auth.account_form", _anchor="keys")
    return url_for("auth.user_page", user_id=user_id, _anchor="keys")


def _ask_to_revoke(key: Row, form: PageForm) -> str:
    return render_template(
        "auth/revoke.html",
        key=key,
        owner=users.get_user(key.user_id),
        form=form,
        back=_page_with_keys(key.user_id),
    )


def _scopes_of(who: guard.Principal) -> dict[str, Any]:
    return {each: SCOPE_WORDS.get(each, "") for each in guard.scopes() if each in who.scopes}


def _render(who: guard.Principal, **more: Any) -> str:
    """Render the page; a form that is not given shows the current values."""
    user = users.get_user(who.user_id)
    shown = {
        "form": ProfileForm.of(user),
        "password_form": PasswordForm(formdata=None),
        "key_form": KeyForm(_scopes_of(who), formdata=None),
        **more,
    }
    return render_template(
        "auth/account.html",
        user=user,
        roles=ROLE_NAMES,
        sessions=service.list_sessions(user.id),
        this_session=who.session,
        device_words=device_words,
        now=utcnow(),
        days_left=service.days_left,
        theme=theme(),
        keys=service.list_keys(user.id),
        **shown,
    )


def _back(message: str, part: str | None = None) -> ResponseReturnValue:
    flash(message)
    return redirect(url_for("auth.account_form", _anchor=part), 303)

"""The pages of new accounts: invitations, one-time links, registration and the first start."""

from flask import (
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from project.api.auth import bp, links, outbox, service, setup, throttle
from project.api.auth.errors import LinkEnded, NoMails, RegistrationClosed
from project.api.auth.forms import (
    ForgottenForm,
    InviteForm,
    LinkForm,
    RegistrationForm,
    SetupForm,
)
from project.api.auth.links import MadeLink
from project.api.auth.pages import SIGN_IN, start_session
from project.api.auth.schemas import Invitation, NewPassword, Recipient, Registration, Setup
from project.api.users import service as users
from project.api.users.errors import AdministratorExists
from project.database import in_transaction
from project.errors import Invalid, TooManyRequests
from project.web import guard
from project.web.fields import parse_id
from project.web.forms import PageForm
from project.web.guard import SESSION, require
from project.web.idempotency import answer_once
from project.web.languages import language, translated

BY_MAIL = "mail"


@bp.get("/invite")
@require("admin", even_when_open=True, credentials=SESSION)
def invite_form() -> str:
    """Show the form to add a colleague."""
    return render_template("auth/invite.html", form=InviteForm())


@bp.post("/invite")
@require("admin", even_when_open=True, credentials=SESSION)
def invite() -> ResponseReturnValue:
    """Add a user, and show their one-time link or send it."""
    form = InviteForm()
    if form.validate_on_submit():
        try:
            return _invite_once(form.idempotency_key.data, form.read(Invitation))
        except Invalid as error:
            form.show(error)
    return render_template("auth/invite.html", form=form), form.status


@bp.post("/user/<user_id>/link")
@require("admin", even_when_open=True, credentials=SESSION)
def make_link(user_id: str) -> ResponseReturnValue:
    """Make a one-time link for a user, and show it or send it.

    :raises WrongId: the id is not a decimal integer (400).
    :raises UserNotFound: no user has this id (404).
    """
    if not PageForm().validate_on_submit():
        abort(400, "The form has expired. Please go back and submit it again.")
    user = users.get_user(parse_id(user_id))
    if not _wants_mail():
        return _show(in_transaction(links.make_link)(user.id))
    in_transaction(outbox.add)(links.INVITE, user.email, language())
    return _announce_mail(user.email, "users.index")


def _invite_once(key: str | None, body: Invitation) -> ResponseReturnValue:
    """Add a user with a link, unless this form already added them: then lead to their page.

    Only the user's id is stored with the form's key, not the link.
    """
    made: list[MadeLink | None] = []

    def add() -> Response:
        if _wants_mail():
            made[:] = [None]
            user = users.create_user(body.username, body.email, role=body.role)
            outbox.add(links.INVITE, body.email, language())
        else:
            made[:] = [link := links.invite(body.username, body.email, body.role)]
            user = link.user
        return Response(str(user.id))

    who = guard.principal(SESSION).name
    stored = answer_once(f"{who} invite {key} {body.model_dump_json()}", b"", add)
    if not made:
        flash(
            _(
                "%(email)s was added when you first sent this form. If they need another link, make"
                " it here.",
                email=body.email,
            )
        )
        path = url_for("auth.user_page", user_id=stored.get_data(as_text=True), _anchor="access")
        return redirect(path, 303)
    return _show(made[0]) if made[0] else _announce_mail(body.email, "auth.invite_form")


def _wants_mail() -> bool:
    return outbox.is_on() and request.form.get("by") == BY_MAIL


def _show(link: MadeLink) -> str:
    address = links.address_of(link.token, request.url_root)
    return render_template("auth/link.html", link=link, address=address, form=PageForm())


def _announce_mail(email: str, endpoint: str) -> ResponseReturnValue:
    outbox.wake()
    flash(_("A mail with a one-time link is on its way to %(email)s.", email=email))
    return redirect(url_for(endpoint), 303)


@bp.get("/welcome")
def welcome_form() -> ResponseReturnValue:
    """Show who gets a password by a link, and the form for it; changes nothing.

    So programs that open the links in mails do not use them up.
    """
    token = request.args.get("link", "")
    try:
        return _ask_for_password(LinkForm(data={"link": token}), token)
    except LinkEnded:
        return _link_has_ended()


@bp.post("/welcome")
def welcome() -> ResponseReturnValue:
    """Set the password, and sign in."""
    form = LinkForm()
    token = form.link.data or ""
    try:
        if form.validate_on_submit():
            try:
                body = form.read(NewPassword)
                made = links.commit_use(token, body.password, session.get(SIGN_IN))
            except Invalid as error:
                form.show(error)
            else:
                return start_session(made, _("Your password is set, and you are signed in."))
        return _ask_for_password(form, token), form.status
    except LinkEnded:
        return _link_has_ended()


def _ask_for_password(form: LinkForm, token: str) -> str:
    return render_template("auth/welcome.html", form=form, user=links.find_link(token))


def _link_has_ended() -> ResponseReturnValue:
    return render_template("auth/link_ended.html"), 410


@bp.get("/forgot")
def forgotten_form() -> str:
    """Show the form to ask for a mail with a link.

    :raises NoMails: the service sends no mails (404).
    """
    _require_mails()
    return render_template("auth/forgotten.html", form=ForgottenForm())


@bp.post("/forgot")
def send_reset() -> ResponseReturnValue:
    """Add a mail to send, and say the same whether or not a user has the address.

    :raises NoMails: the service sends no mails (404).
    """
    _require_mails()
    form = ForgottenForm()
    if form.validate_on_submit():
        try:
            email = form.read(Recipient).email
            throttle.commit_mail(email, request.remote_addr or "")
        except (Invalid, TooManyRequests) as error:
            form.show(error)
        else:
            in_transaction(outbox.add)(links.RESET, email, language())
            outbox.wake()
            flash(
                _(
                    "If somebody with the address %(email)s may sign in, a mail with a link is on"
                    " its way. If it does not come within a few minutes, look for it among unwanted"
                    " mails, or ask an administrator.",
                    email=email,
                )
            )
            return redirect(url_for("auth.sign_in_form"), 303)
    return render_template("auth/forgotten.html", form=form), form.status, form.headers


def _require_mails() -> None:
    if not outbox.is_on():
        raise NoMails


@bp.get("/register")
def register_form() -> str:
    """Show the form to create one's own account.

    :raises RegistrationClosed: registration is disabled (403).
    """
    _require_registration()
    return render_template("auth/register.html", form=RegistrationForm())


@bp.post("/register")
def register_on_page() -> ResponseReturnValue:
    """Create one's own account, and sign in.

    :raises RegistrationClosed: registration is disabled (403).
    """
    _require_registration()
    form = RegistrationForm()
    if form.validate_on_submit():
        try:
            body = form.read(Registration)
            with throttle.commit_email_attempt(None, request.remote_addr or ""):
                made = in_transaction(service.register)(body.username, body.email, body.password)
        except (Invalid, TooManyRequests) as error:
            form.show(error)
        else:
            return start_session(made, _("Your account was created, and you are signed in."))
    return render_template("auth/register.html", form=form), form.status, form.headers


def _require_registration() -> None:
    if not current_app.config["REGISTRATION"]:
        raise RegistrationClosed


@bp.get("/setup")
def setup_form() -> ResponseReturnValue:
    """Show the form to create the first administrator, until there is one."""
    if not setup.is_needed():
        return redirect(url_for("users.index"), 303)
    return render_template("auth/setup.html", form=SetupForm())


@bp.post("/setup")
def set_up() -> ResponseReturnValue:
    """Create the first administrator, and sign them in."""
    form = SetupForm()
    if form.validate_on_submit():
        try:
            body = form.read(Setup)
            made = setup.commit_first_administrator(
                body.username, body.email, body.password, body.code, request.remote_addr or ""
            )
        except (Invalid, TooManyRequests) as error:
            form.show(error, "code" if isinstance(error, TooManyRequests) else "")
        except AdministratorExists as error:
            flash(translated(error.message))
            return redirect(url_for("auth.sign_in_form"), 303)
        else:
            return start_session(made, _("You are the first administrator, and you are signed in."))
    return render_template("auth/setup.html", form=form), form.status, form.headers

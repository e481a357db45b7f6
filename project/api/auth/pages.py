"""The pages for signing in and out.

The session cookie names a sign-in in the database, which each request looks up. After a sign-out or
a deactivation, a copy of the cookie is therefore invalid.

A person whose sign-in has ended while they filled in a form signs in at the address to which the
form was sent. The sign-in page carries the entries, so the server does not store them. The view
then gets them without a CSRF token, so it shows its form with them and saves nothing.
"""

from typing import Any

from flask import abort, current_app, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from project.api.auth import bp, principals, service, setup
from project.api.auth.errors import WrongCredentials
from project.api.auth.forms import SignInForm
from project.api.auth.schemas import Login
from project.api.auth.service import SignIn
from project.api.auth.throttle import TooManyAttempts
from project.database import in_transaction
from project.errors import AppError, Invalid
from project.web import error_handlers, guard
from project.web.addresses import own_path
from project.web.forms import PageForm, entries, is_own_form
from project.web.languages import gettext as _

SIGN_IN = "sign_in"
MAX_NEXT_LENGTH = 1000  # nginx accepts 4 KB of headers from the service


def by_cookie() -> guard.Principal | None:
    """Return the user who is signed in with this browser; None: nobody."""
    return principals.by_session(session[SIGN_IN]) if SIGN_IN in session else None


def recall_cookie() -> guard.Recalled | None:
    """Return the user who is signed in with this browser, if they were identified a moment ago."""
    return principals.recall_session(session[SIGN_IN]) if SIGN_IN in session else None


def ask_to_sign_in(error: AppError) -> ResponseReturnValue:
    """Lead browsers to the sign-in page; API clients get the error as usual."""
    if not error_handlers.wants_page():
        return error_handlers.handle_app_error(error)
    if is_own_form():
        try:
            return _resume()
        except Exception as failure:  # Flask does not handle what an error handler raises
            return current_app.handle_user_exception(failure)
    # A file that was sent is lost; the page with its form has the same address.
    has_page = request.method == "GET" or request.mimetype == "multipart/form-data"
    path = request.full_path.rstrip("?") if has_page else "/"
    next_path = request.root_path + path
    # Without ``next``, people get to a page that they may see.
    has_next = path != "/" and len(next_path) <= MAX_NEXT_LENGTH
    query: dict[str, Any] = {"next": next_path} if has_next else {}
    return redirect(url_for("auth.sign_in_form", **query), 303)


def _resume() -> ResponseReturnValue:
    """Ask to sign in, and then show the form that was sent, with its entries."""
    form = SignInForm(prefix=SIGN_IN)
    if form.email.name not in request.form:
        form.status = 403  # not an attempt to sign in: the form of a page
    elif _sign_in(form):
        g.pop("csrf_token", None)  # it belongs to the previous session
        return current_app.dispatch_request()
    page = render_template("auth/sign_in.html", form=form, entries=entries())
    return page, form.status, form.headers


@bp.get("/sign-in")
def sign_in_form() -> ResponseReturnValue:
    """Show the sign-in form; ``next`` is the path to open afterwards.

    Without an administrator, lead to the page that creates the first one. From there, others who
    have an account already come back, with ``setup=later``.
    """
    if request.args.get("setup") != "later" and setup.is_needed():
        return redirect(url_for("auth.setup_form"), 303)
    form = SignInForm(data={"next": request.args.get("next")})
    return render_template("auth/sign_in.html", form=form)


@bp.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Sign in, and open the page that ``next`` names."""
    form = SignInForm()
    if made := _sign_in(form):
        default = "users.index" if made.role else "auth.account_form"
        return redirect(own_path(form.next.data) or url_for(default), 303)
    return render_template("auth/sign_in.html", form=form), form.status, form.headers


def _sign_in(form: SignInForm) -> SignIn | None:
    """Sign in: this browser gets a new session, and its previous one ends.

    :return: None: the form shows what is wrong.
    """
    if not form.validate_on_submit():
        return None
    try:
        body = form.read(Login)
        made = service.commit_sign_in(
            body.email, body.password, request.remote_addr or "", replaces=session.get(SIGN_IN)
        )
    except (Invalid, WrongCredentials, TooManyAttempts) as error:
        form.show(error, "password")
        return None
    _keep(made)
    return made


def start_session(made: SignIn, message: str) -> ResponseReturnValue:
    """Sign in this browser, and open the first page that the user may see, with a message."""
    _keep(made)
    flash(message)
    return redirect(url_for("users.index" if made.role else "auth.account_form"), 303)


def _keep(made: SignIn) -> None:
    """Give this browser a new session."""
    session.clear()
    session.permanent = True
    session[SIGN_IN] = made.session


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """Sign out in this browser."""
    if not PageForm().validate_on_submit():
        abort(400, "The form has expired. Please go back and submit it again.")
    who = by_cookie()
    if who is not None and who.session:
        in_transaction(service.log_out)(who.session)
    session.clear()
    flash(_("You have signed out."))
    return redirect(url_for("auth.sign_in_form"), 303)

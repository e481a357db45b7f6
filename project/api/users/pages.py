"""The page on which people see and add users."""

from datetime import datetime

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from project.api.users import bp, service
from project.api.users.forms import UserForm
from project.api.users.schemas import UserCreate
from project.errors import Invalid
from project.transactions import in_transaction
from project.web.contract import validate
from project.web.pagination import make_page, read_cursor

NEWEST = "users by time"
USERS_PER_PAGE = 50


@bp.get("/")
def index() -> str:
    """Show the newest users and a form to add one; ``cursor`` leads to older ones.

    :raises Invalid: the cursor is not one that this page gave out (400).
    """
    return _render(UserForm(), request.args.get("cursor"))


@bp.post("/")
def add_user() -> Response | tuple[str, int]:
    """Add the form's user; the redirect keeps a reload of the page from adding it again."""
    form = UserForm()
    if form.validate_on_submit():
        try:
            user = validate(UserCreate, form.data)
            in_transaction(service.create_user)(user.username, user.email)
        except Invalid as error:
            form.show(error)
        else:
            flash(f"{user.email} was added!")
            return redirect(url_for("users.index"), 303)
    return _render(form), 400


def _render(form: UserForm, cursor: str | None = None) -> str:
    before = None
    if cursor is not None:
        created_at, user_id = read_cursor(NEWEST, cursor)
        before = datetime.fromisoformat(created_at), user_id
    rows = service.list_newest_users(USERS_PER_PAGE + 1, before)
    page = make_page(
        NEWEST, rows, USERS_PER_PAGE, key=lambda row: [row.created_at.isoformat(), row.id]
    )
    return render_template("index.html", form=form, page=page, newest=cursor is None)

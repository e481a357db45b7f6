"""The page on which people see and add users."""

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from project.api.users import bp, paging, service
from project.api.users.forms import UserForm
from project.api.users.schemas import UserCreate, UserListQuery
from project.errors import Invalid
from project.transactions import in_transaction
from project.web.contract import validate

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
    query = UserListQuery(limit=USERS_PER_PAGE, sort="-created_at", cursor=cursor)
    page = paging.list_in_order(query)
    return render_template("index.html", form=form, page=page, newest=cursor is None)

"""The page on which people see and add users."""

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from project.api.users import bp, paging, service
from project.api.users.forms import UserForm
from project.api.users.schemas import UserCreate, UserListQuery
from project.errors import Invalid
from project.transactions import in_transaction
from project.web.contract import validate
from project.web.idempotency import answer_once

USERS_PER_PAGE = 50


@bp.get("/")
def index() -> str:
    """Show the newest users and a form to add one; ``cursor`` leads to older ones.

    :raises Invalid: the cursor is not one that this page gave out (400).
    """
    return _render(UserForm(), request.args.get("cursor"))


@bp.post("/")
def add_user() -> Redirect | tuple[str, int]:
    """Add the form's user; the redirect keeps a reload of the page from adding it again."""
    form = UserForm()
    if form.validate_on_submit():
        try:
            user = validate(UserCreate, form.data)
            _add_once(form.idempotency_key.data, user)
        except Invalid as error:
            form.show(error)
        else:
            flash(f"{user.email} was added!")
            return redirect(url_for("users.index"), 303)
    return _render(form), 400


@in_transaction
def _add_once(key: str | None, user: UserCreate) -> None:
    """Add a user, or find that this form has added the same user before.

    What was typed is part of the key: a form that is sent with something else adds that too.
    """

    def add() -> Response:
        service.create_user(user.username, user.email)
        return Response(status=204)

    answer_once(f"form {key} {user.model_dump_json()}", b"", add)


def _render(form: UserForm, cursor: str | None = None) -> str:
    query = UserListQuery(limit=USERS_PER_PAGE, sort="-created_at", cursor=cursor)
    page = paging.list_in_order(query)
    return render_template("index.html", form=form, page=page, newest=cursor is None)

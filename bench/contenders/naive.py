"""`naive`: the same contract the plain way, with ORM objects, jsonify, and nothing set up."""

import json
import os
from datetime import UTC, datetime
from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask import Flask, Response, jsonify, redirect, render_template_string, request
from flask_bootstrap import Bootstrap5
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import FlaskForm
from wtforms import EmailField, StringField, SubmitField
from wtforms.validators import DataRequired, Length

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SECRET_KEY"] = "naive"
app.config["BOOTSTRAP_SERVE_LOCAL"] = True
db = SQLAlchemy(app)
bootstrap = Bootstrap5(app)

PAGE = """
{% from "bootstrap5/form.html" import render_form %}
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Flask microservice app on Docker</title>
    {{ bootstrap.load_css() }}
  </head>
  <body>
    <main class="container">
      <h1>All Users</h1>
      {{ render_form(form) }}
      <form method="get"><input name="q"><button type="submit">Find</button></form>
      {% for user in users %}
      <p>
        <strong>{{ user.username }}</strong> - <em>{{ user.created_at.strftime("%Y-%m-%d") }}</em>
        <a href="{{ url_for('edit_user', user_id=user.id) }}">Edit</a>
      </p>
      {% else %}
      <p>No users!</p>
      {% endfor %}
    </main>
  </body>
</html>
"""


def now() -> datetime:
    """Return the present time, in UTC and whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


class User(db.Model):  # type: ignore[name-defined,misc]
    """A user."""

    __tablename__ = "users"

    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(128), nullable=False)
    username_folded = db.Column(db.String(384), nullable=False)
    email = db.Column(db.String(128), nullable=False)
    email_folded = db.Column(db.String(512), nullable=False, unique=True)
    active = db.Column(db.Boolean, default=False, nullable=False)
    created_at = db.Column(db.DateTime, default=now, nullable=False)
    updated_at = db.Column(db.DateTime, default=now, onupdate=now, nullable=False)
    version = db.Column(db.Integer, nullable=False)
    role = db.Column(db.Enum("viewer", "editor", "admin", name="role"))
    last_sign_in_at = db.Column(db.DateTime)

    __mapper_args__ = {"version_id_col": version}

    def to_json(self) -> dict[str, Any]:
        """Return what clients see."""
        return {
            "id": self.id,
            "username": self.username,
            "email": self.email,
            "active": self.active,
            "created_at": self.created_at.isoformat() + "Z",
            "updated_at": self.updated_at.isoformat() + "Z",
            "role": self.role,
            "last_sign_in_at": self.last_sign_in_at and self.last_sign_in_at.isoformat() + "Z",
        }


class AuditEvent(db.Model):  # type: ignore[name-defined,misc]
    """What somebody has done."""

    __tablename__ = "audit_events"

    id = db.Column(db.Integer, primary_key=True)
    created_at = db.Column(db.DateTime, default=now, nullable=False)
    actor = db.Column(db.String(64), nullable=False)
    action = db.Column(db.String(64), nullable=False)
    user_id = db.Column(db.Integer)
    after = db.Column(db.Text)
    address = db.Column(db.String(45))


class UserForm(FlaskForm):  # type: ignore[misc]
    """Adds a user."""

    username = StringField(validators=[DataRequired(), Length(max=128)])
    email = EmailField(validators=[DataRequired(), Length(max=128)])
    submit = SubmitField("Submit")


def fail(message: str, status: int) -> tuple[Response, int]:
    """Return an answer to a mistake."""
    return jsonify({"status": "fail", "message": message}), status


def one(user: User) -> Response:
    """Return the answer about one user."""
    response = jsonify({"status": "success", "data": user.to_json()})
    response.set_etag(str(user.version))
    response.make_conditional(request)
    return response


@app.get("/ping")
def ping() -> Response:
    """Answer."""
    return jsonify({"status": "success", "message": "pong!"})


@app.get("/users/<user_id>")
def get_user(user_id: str) -> Any:
    """Return one user."""
    try:
        user = db.session.get(User, int(user_id))
    except ValueError:
        return fail("Param id error", 400)
    return one(user) if user else fail("User does not exist", 404)


@app.get("/users")
def list_users() -> Any:
    """Return a page of users."""
    limit = int(request.args.get("limit", 1000))
    query = User.query
    if "email" in request.args:
        query = query.filter(User.email_folded == request.args["email"].lower())
    if "cursor" in request.args:
        query = query.filter(User.id > int(request.args["cursor"]))
    users = query.order_by(User.id).limit(limit + 1).all()
    more = str(users[limit - 1].id) if len(users) > limit else None
    data = {"users": [user.to_json() for user in users[:limit]], "next": more}
    return jsonify({"status": "success", "data": data})


@app.post("/users")
def create_user() -> Any:
    """Add a user, and the event of it."""
    body: Any = request.get_json(silent=True)
    try:
        username, email = body["username"], body["email"]
        validate_email(email, check_deliverability=False)
    except (TypeError, KeyError, EmailNotValidError):
        return fail("Invalid payload.", 400)
    if User.query.filter_by(email_folded=email.lower()).first():
        return fail("Sorry. That email already exists.", 400)
    user = User(
        username=username,
        username_folded=username.lower(),
        email=email,
        email_folded=email.lower(),
    )
    db.session.add(user)
    db.session.flush()
    after = {name: getattr(user, name) for name in ("username", "email", "active", "role")}
    event = AuditEvent(
        actor="anonymous",
        action="user.created",
        user_id=user.id,
        after=json.dumps(after),
        address=request.remote_addr,
    )
    db.session.add(event)
    db.session.commit()
    answer = {"status": "success", "message": f"{email} was added!", "data": user.to_json()}
    return jsonify(answer), 201, {"Location": f"/users/{user.id}"}


@app.patch("/users/<int:user_id>")
def update_user(user_id: int) -> Any:
    """Change the name of a user."""
    user = db.session.get(User, user_id)
    if user is None:
        return fail("User does not exist", 404)
    user.username = request.get_json()["username"]
    user.username_folded = user.username.lower()
    db.session.commit()
    return one(user)


@app.route("/", methods=["GET", "POST"])
def index() -> Any:
    """Show the newest users, and a form."""
    form = UserForm()
    if form.validate_on_submit():
        db.session.add(User(username=form.username.data, email=form.email.data))
        db.session.commit()
        return redirect("/")
    users = User.query.order_by(User.created_at.desc(), User.id.desc()).limit(50).all()
    return render_template_string(PAGE, form=form, users=users)


@app.get("/edit/<int:user_id>")
def edit_user(user_id: int) -> str:
    """Show the form about one user; here only for its address."""
    return render_template_string(PAGE, form=UserForm(), users=[db.session.get(User, user_id)])

"""A feature answers errors below its prefix in a form of its own, also where no view runs."""

from typing import Any
from unittest import TestCase

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel
from sqlalchemy import text

from project import create_app, db
from project.config import TestingConfig
from project.errors import FieldError, Invalid, NotFound, TooManyRequests, Unauthenticated
from project.web.contract import accepts
from project.web.error_handlers import Failure, prefixes, register_prefix

BROWSER = {"Accept": "text/html"}


class DatabaseAwayConfig(TestingConfig):
    """A database that cannot be opened."""

    SQLALCHEMY_DATABASE_URI = "sqlite:////nowhere/users.db"
    MAX_CONTENT_LENGTH = 100


class TeamCreate(BaseModel):
    """What makes a team."""

    name: str


class TeamTaken(Invalid):
    """Another team has this name."""

    message = "That team already exists."


bp = Blueprint("teams", __name__)


@bp.post("/teams")
@accepts(TeamCreate)
def create_team(body: TeamCreate) -> str:
    """Make a team."""
    return body.name


@bp.get("/teams/<error>")
def fail(error: str) -> str:
    """Raise an error."""
    raise {
        "taken": TeamTaken(errors=[FieldError("name", "Is taken.")]),
        "unknown": NotFound(),
        "token": Unauthenticated(),
        "busy": TooManyRequests(7),
        "broken": RuntimeError("password of the database"),
    }[error]


@bp.get("/teams/all")
def list_teams() -> str:
    """Ask the database."""
    db.session.execute(text("SELECT 1"))
    return "never"


def render(failure: Failure) -> Response:
    """Render an error in the form of teams."""
    status = 409 if isinstance(failure.error, TeamTaken) else failure.status
    body = {
        "detail": failure.message,
        "status": str(status),
        "fields": [error.field for error in failure.errors],
        "number": failure.request_id,
    }
    response = jsonify(body)
    response.status_code, response.mimetype = status, "application/problem+json"
    return response


class OwnFormTests(TestCase):
    """Errors at and below a prefix with a renderer of its own."""

    def setUp(self) -> None:
        app = create_app(DatabaseAwayConfig)
        register_prefix(app, "/teams", render)
        app.register_blueprint(bp)
        self.client: Any = app.test_client()

    def assert_own_form(self, response: Any, status: int, message: str) -> None:
        """Check that an answer has the form of teams."""
        self.assertEqual(response.status_code, status)
        self.assertEqual(response.content_type, "application/problem+json")
        self.assertEqual(list(response.json), ["detail", "status", "fields", "number"])
        self.assertEqual(response.json["detail"], message)
        self.assertEqual(response.json["status"], str(status))
        number = response.headers["X-Request-ID"] if status >= 500 else None
        self.assertEqual(response.json["number"], number)

    def test_unknown_url_has_the_form_at_any_depth(self):
        for path in ["/teams/", "/teams/1/2/3", "/teams//1", "/teams/%00/x"]:
            for headers in [{}, BROWSER]:
                with self.subTest(path, headers=headers):
                    response = self.client.get(path, headers=headers)

                    self.assertEqual(response.status_code, 404)
                    self.assert_own_form(response, 404, response.json["detail"])

    def test_unknown_method_has_the_form_and_says_which_are_allowed(self):
        response = self.client.delete("/teams", headers=BROWSER)

        self.assert_own_form(response, 405, "The method is not allowed for the requested URL.")
        self.assertEqual(set(response.headers["Allow"].split(", ")), {"OPTIONS", "POST"})

    def test_body_that_is_refused_has_the_form(self):
        large = self.client.post("/teams", json={"name": "x" * 100})
        file = self.client.post("/teams", data="x", content_type="text/csv")
        wrong = self.client.post("/teams", json={"name": 1})

        self.assert_own_form(large, 413, "The body is larger than 100 bytes.")
        self.assert_own_form(file, 415, "The body must be application/json.")
        self.assert_own_form(wrong, 400, "Invalid payload.")
        self.assertEqual(wrong.json["fields"], ["name"])

    def test_error_of_the_feature_has_the_form_and_may_have_another_status(self):
        self.assert_own_form(self.client.get("/teams/unknown"), 404, "Not found.")
        response = self.client.get("/teams/taken")

        self.assert_own_form(response, 409, "That team already exists.")
        self.assertEqual(response.json["fields"], ["name"])

    def test_headers_of_a_status_do_not_depend_on_the_form(self):
        token = self.client.get("/teams/token", headers=BROWSER)
        busy = self.client.get("/teams/busy", headers=BROWSER)

        self.assert_own_form(token, 401, Unauthenticated.message)
        self.assertIn("invalid_token", token.headers["WWW-Authenticate"])
        self.assert_own_form(busy, 429, TooManyRequests.message)
        self.assertEqual(busy.headers["Retry-After"], "7")

    def test_database_away_has_the_form(self):
        response = self.client.get("/teams/all", headers=BROWSER)

        self.assert_own_form(
            response, 503, "The service is not available at the moment. Please try again."
        )
        self.assertEqual(response.headers["Retry-After"], "2")

    def test_unexpected_error_has_the_form(self):
        response = self.client.get("/teams/broken", headers=BROWSER)

        self.assert_own_form(response, 500, "Something went wrong on our side.")

    def test_other_paths_keep_their_form(self):
        self.assertEqual(self.client.get("/users/x").json["status"], "fail")
        self.assertEqual(self.client.get("/teamsx").json["status"], "fail")
        self.assertEqual(self.client.get("/nowhere", headers=BROWSER).mimetype, "text/html")


class RegistryTests(TestCase):
    """Which prefixes there are."""

    def setUp(self) -> None:
        self.app = create_app(TestingConfig)

    def test_every_endpoint_of_the_api_is_below_a_prefix(self):
        """A path with JSON that nobody has registered would answer errors as pages."""
        registered = prefixes(self.app)
        for rule in self.app.url_map.iter_rules():
            if hasattr(self.app.view_functions[rule.endpoint], "contract"):
                with self.subTest(rule.rule):
                    self.assertIn("/" + rule.rule.split("/")[1], registered)

    def test_default_form_is_the_envelope(self):
        register_prefix(self.app, "/teams")

        response: Any = self.app.test_client().get("/teams/x", headers=BROWSER)

        self.assertEqual((response.status_code, response.json["status"]), (404, "fail"))

    def test_prefix_has_one_renderer(self):
        with self.assertRaisesRegex(ValueError, "^/users is already registered"):
            register_prefix(self.app, "/users", render)

    def test_prefix_is_one_segment(self):
        for prefix in ["", "/", "teams", "/teams/", "/teams/x"]:
            with self.subTest(prefix), self.assertRaisesRegex(ValueError, "one path segment"):
                register_prefix(self.app, prefix)

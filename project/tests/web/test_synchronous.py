"""An async function is refused when the application starts, not when a client meets it."""

from collections.abc import AsyncIterator, Callable
from operator import methodcaller
from typing import Any
from unittest import TestCase, mock

from flask import Blueprint, Flask

from project import create_app, docs
from project.config import TestingConfig
from project.errors import NotFound
from project.web.contract import returns_message
from project.web.guard import require


async def work(*_arguments: Any, **_options: Any) -> str:
    """Do what takes a while."""
    return "done"


async def stream() -> AsyncIterator[str]:
    """Give what takes a while, piece by piece."""
    yield "done"


class AsyncFunctionTests(TestCase):
    """A feature with an async function, in place of the API's description."""

    def assert_refused(self, init_app: Callable[[Flask], Any], name: str = "work") -> None:
        """Check that an application with this feature does not start, and says why."""
        with (
            mock.patch.object(docs, "init_app", init_app),
            self.assertRaisesRegex(TypeError, rf"test_synchronous\.{name} is async"),
        ):
            create_app(TestingConfig)

    def test_async_view_is_refused(self):
        self.assert_refused(lambda app: app.add_url_rule("/teams", view_func=work))
        self.assert_refused(lambda app: app.add_url_rule("/teams", view_func=stream), "stream")

    def test_async_view_below_decorators_is_refused(self):
        view = require("users:read")(returns_message("pong!")(work))

        self.assert_refused(lambda app: app.add_url_rule("/teams", view_func=view))

    def test_async_hook_is_refused(self):
        for add in ("before_request", "after_request", "teardown_request", "teardown_appcontext"):
            with self.subTest(add):
                self.assert_refused(methodcaller(add, work))

    def test_async_error_handler_is_refused(self):
        for error in (404, NotFound):
            with self.subTest(error):
                self.assert_refused(methodcaller("register_error_handler", error, work))

    def test_async_function_of_a_blueprint_is_refused(self):
        bp = Blueprint("teams", __name__)
        bp.before_request(work)

        self.assert_refused(lambda app: app.register_blueprint(bp))

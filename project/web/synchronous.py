"""Views, hooks and error handlers are synchronous; an app with an async one does not start.

Flask runs an async view on another thread, but a database connection, and so a transaction, belongs
to the request's thread. Since no function is async, Flask need not check each before each call.
"""

from collections.abc import Callable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction, unwrap
from typing import Any

from flask import Flask

Function = Callable[..., Any]


class SynchronousFlask(Flask):
    """Flask that does not check each function before each call; ``refuse_async`` checks once."""

    def ensure_sync(self, func: Function) -> Function:
        """Return the function as it is."""
        return func


def refuse_async(app: Flask) -> None:
    """Check the functions of an app; call it when all of them are registered.

    :raises TypeError: a view, a hook or an error handler is async, or wraps an async function.
    """
    for function in _functions(app):
        innermost = unwrap(function, stop=_is_async)
        if _is_async(innermost):
            raise TypeError(
                f"{innermost.__module__}.{innermost.__qualname__} is async. Views, hooks and error"
                " handlers must be synchronous here: see project/web/synchronous.py."
            )


def _is_async(function: Function) -> bool:
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def _functions(app: Flask) -> Iterator[Function]:
    yield from app.view_functions.values()
    hooks: tuple[Any, ...] = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
    )
    for by_blueprint in hooks:
        for functions in by_blueprint.values():
            yield from functions
    yield from app.teardown_appcontext_funcs
    for by_status in app.error_handler_spec.values():
        for by_class in by_status.values():
            yield from by_class.values()

"""Views, hooks and error handlers are synchronous; an app with an async one does not start.

Flask runs an async view on another thread, but a database connection, and so a transaction, belongs
to the request's thread. Since no function is async, Flask need not check each before each call.
"""

from collections.abc import Callable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction, unwrap
from typing import Any

from flask import Flask

REGISTRIES = """
    view_functions before_request_funcs after_request_funcs teardown_request_funcs
    teardown_appcontext_funcs error_handler_spec
    """.split()


class SynchronousFlask(Flask):
    """Flask that does not check each function before each call; ``refuse_async`` checks once."""

    ensure_sync = staticmethod(lambda func: func)


def refuse_async(app: Flask) -> None:
    """Check the functions of an app; call it when all of them are registered.

    :raises TypeError: a view, a hook or an error handler is async, or wraps an async function.
    """
    for function in _functions([getattr(app, name) for name in REGISTRIES]):
        innermost = unwrap(function, stop=_is_async)
        if _is_async(innermost):
            raise TypeError(
                f"{innermost.__module__}.{innermost.__qualname__} is async. Views, hooks and error"
                " handlers must be synchronous here: see project/web/synchronous.py."
            )


def _is_async(function: Callable[..., Any]) -> bool:
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def _functions(registered: Any) -> Iterator[Callable[..., Any]]:
    if callable(registered):
        yield registered
    else:
        for each in registered.values() if isinstance(registered, dict) else registered:
            yield from _functions(each)

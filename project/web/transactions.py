"""``@transactional``: one transaction for a view that writes, and its ``Idempotency-Key``."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app

from project.database import db, in_transaction
from project.errors import Invalid
from project.web import idempotency
from project.web.contract import View, declare


def transactional(*, idempotent: bool = False) -> Callable[[View], View]:
    """Commit what the view writes after its response is built; an error rolls it back.

    The decorator belongs below ``@require`` and above ``@accepts`` and ``@returns``; another order
    fails at import. The transaction begins at the view's first statement on ``db.session``, so the
    body is read and validated, and a password is hashed, before it. After a deadlock the view runs
    again, as described in ``in_transaction``.

    :param idempotent: whether a request with a known ``Idempotency-Key`` gets the stored response.
        Refusals of the request itself (400) are stored too; after any other error the request may
        be sent again with its key.
    :raises TypeError: at import: the decorators are in another order.
    :raises Invalid: the header is not a valid key (400).
    :raises KeyInUse: another request with this key is still running after 5 s (409).
    :raises KeyReused: the key was already used for another request (422).
    """

    def decorate(view: View) -> View:
        committed = in_transaction(view)
        if not idempotent:
            declare(committed, transactional=True)
            return committed

        @wraps(committed)
        def wrapper(**kwargs: Any) -> Any:
            def answer() -> Any:
                try:
                    return view(**kwargs)
                except Invalid as error:
                    db.session.rollback()
                    return current_app.make_response(current_app.handle_user_exception(error))

            key = idempotency.read_key()
            if key is None:
                return committed(**kwargs)
            return idempotency.answer_once(*key, answer)

        declare(wrapper, transactional=True, idempotent=True)
        return wrapper

    return decorate

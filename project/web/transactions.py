"""One transaction for a view that writes, and its ``Idempotency-Key``: ``@transactional``."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app

from project.database import db, in_transaction
from project.errors import Invalid
from project.web import idempotency
from project.web.contract import View, declare


def transactional(*, idempotent: bool = False) -> Callable[[View], View]:
    """Commit what the view writes, once its answer is made; an error undoes it.

    It stands below ``@require`` and above ``@accepts`` and ``@returns``; another order fails at
    import. The database begins the transaction at the view's first statement on ``db.session``, so
    the body is read and validated, and a password is hashed, before it. After a deadlock all of it
    runs again, as ``in_transaction`` says.

    :param idempotent: whether a request whose ``Idempotency-Key`` was used before gets the answer
        that was given then. Refusals of the request as it is (400) are stored too; after other
        errors the request may be sent again with its key.
    :raises TypeError: at import: the order of the decorators is another.
    :raises Invalid: the header is no key (400).
    :raises KeyInUse: another request with this key is still running after 5 s (409).
    :raises KeyReused: the key came with another body before (422).
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

"""How many resources of a type there are, without reading all of them for a page.

A count is kept for 30 s. Up to ``MOST_COUNTED`` it is quick. If there are more, they are counted
beside the requests, which are told the number before; and until there is one, the highest id, which
is never less: no id is given twice. See docs/decisions/scim.md.
"""

import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, NamedTuple

import structlog
from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from project.database import close_thread_connections

SECONDS = 30
MOST_COUNTED = 50_000
_TOTALS = "scim.totals"

log = structlog.get_logger()


class _Known(NamedTuple):
    number: int
    until: float  # of time.monotonic


class Total:
    """The number of all resources of a type.

    :param name: of the type.
    :param count: counts them, but no further than its argument; None: all of them.
    :param last_id: returns the highest id.
    """

    def __init__(
        self, name: str, count: Callable[[int | None], int], last_id: Callable[[], int]
    ) -> None:
        self._name, self._count, self._last_id = name, count, last_id
        self._counting = Lock()

    def get(self) -> int:
        """Return the number, as it was within the last 30 s or while it is counted."""
        known: _Known | None = self._totals(current_app).get(self._name)
        if known is not None and known.until > time.monotonic():
            return known.number
        if known is None or known.number <= MOST_COUNTED:
            number = self._count(MOST_COUNTED + 1)
            if number <= MOST_COUNTED:
                self._keep(current_app, number)
                return number
        if self._counting.acquire(blocking=False):
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
            Thread(target=self._count_all, args=(app,), name="counting", daemon=True).start()
        return self._last_id() if known is None else known.number

    def _count_all(self, app: Flask) -> None:
        try:
            with app.app_context():
                self._keep(app, self._count(None))
        except SQLAlchemyError as error:  # the next request counts again
            log.warning("counting failed", what=self._name, reason=str(error))
        finally:
            close_thread_connections()
            self._counting.release()

    def _keep(self, app: Flask, number: int) -> None:
        self._totals(app)[self._name] = _Known(number, time.monotonic() + SECONDS)

    def _totals(self, app: Flask) -> dict[str, _Known]:
        totals: dict[str, Any] = app.extensions.setdefault(_TOTALS, {})
        return totals

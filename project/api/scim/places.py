"""After which id a page by ``startIndex`` begins, as the page before it has left it.

A place is stored by a thread of its own: a COMMIT waits for the disk, and now and then for long. A
request waits for it at most ``MOST_WAIT_SECONDS``; from then on until it is stored, only this
process knows it. See docs/decisions/scim.md.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import Flask, current_app
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from project.api.scim.models import SCIMPlace
from project.clock import utcnow
from project.database import db, in_transaction, of_database, read, write
from project.errors import OutcomeUnknown
from project.web.pruning import prunes

RETENTION = timedelta(hours=1)
MOST_WAIT_SECONDS = 0.01
MOST_WAITING = 1_000
_WAITING = "scim.places"
_places: Any = SCIMPlace.__table__
_NEAREST = (
    sa.select(_places.c.start_index, _places.c.after_id)
    .where(
        _places.c.listing == sa.bindparam("listing"),
        _places.c.start_index <= sa.bindparam("start"),
    )
    .order_by(_places.c.start_index.desc())
    .limit(1)
)
_REMEMBER = {
    "sqlite": (added := sqlite.insert(_places)).on_conflict_do_update(
        set_={name: added.excluded[name] for name in ("after_id", "created_at")}
    ),
    "mysql": (inserted := mysql.insert(_places)).on_duplicate_key_update(
        {name: inserted.inserted[name] for name in ("after_id", "created_at")}
    ),
}
_pool = ThreadPoolExecutor(1, "scim-places")

log = structlog.get_logger()


def find_nearest(listing: str, start: int) -> tuple[int, int]:
    """Return the ``startIndex`` of the nearest known page up to one, and after which id it begins.

    :param listing: the list and who reads it.
    """
    if (after := _waiting(current_app).get((listing, start))) is not None:
        return start, after
    found = read(_NEAREST, {"listing": listing, "start": start})
    return tuple(found[0]) if found else (1, 0)


def remember(listing: str, start: int, after: int) -> None:
    """Remember after which id a page begins.

    If the database cannot store it, or too many wait, no request fails: the ids are counted then.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    waiting = _waiting(app)
    if len(waiting) < MOST_WAITING:
        waiting[listing, start] = after
        stored = _pool.submit(_store, app, listing, start, after)
        for each in wait([stored], MOST_WAIT_SECONDS).done:
            each.result()


def _waiting(app: Flask) -> dict[tuple[str, int], int]:
    """Return the places that are not stored yet."""
    waiting: dict[tuple[str, int], int] = app.extensions.setdefault(_WAITING, {})
    return waiting


def _store(app: Flask, listing: str, start: int, after: int) -> None:
    try:
        with app.app_context():
            _commit(listing, start, after)
    except (SQLAlchemyError, OutcomeUnknown) as error:
        log.warning("place of a SCIM list not stored", reason=str(error))
    finally:
        _waiting(app).pop((listing, start), None)


@in_transaction
def _commit(listing: str, start: int, after: int) -> None:
    values = {"listing": listing, "start_index": start, "after_id": after, "created_at": utcnow()}
    write(of_database(**_REMEMBER), values)


@prunes("places of SCIM lists")
def remove_expired(limit: int) -> int:
    """Remove the oldest places that are older than ``RETENTION``; return how many."""
    key = sa.tuple_(_places.c.listing, _places.c.start_index)
    oldest = (
        sa.select(_places.c.listing, _places.c.start_index)
        .where(_places.c.created_at <= utcnow() - RETENTION)
        .order_by(_places.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [tuple(row) for row in db.session.execute(oldest)]
    if found:
        db.session.execute(sa.delete(_places).where(key.in_(found)))
    return len(found)

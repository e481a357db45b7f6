"""A table in order of id: how many rows it has, and where a page of them begins."""

from typing import Any

import sqlalchemy as sa

from project.database import read


class IdOrder:
    """The rows of a table in order of ``id``; each SELECT reads a range of its key."""

    def __init__(self, table: Any) -> None:
        key, limit = table.c.id, sa.bindparam("limit", type_=sa.Integer)
        self._skip = (
            sa.select(key)
            .where(key > sa.bindparam("after"))
            .order_by(key)
            .limit(1)
            .offset(sa.bindparam("skipped", type_=sa.Integer))
        )
        number = sa.select(sa.func.count())
        self._count = number.select_from(table)
        self._count_some = number.select_from(sa.select(key).limit(limit).subquery())
        self._last_id = sa.select(sa.func.max(key))

    def skip(self, after: int, count: int) -> int | None:
        """Return the id of the last of so many rows after an id; None: there are not so many."""
        found = read(self._skip, {"after": after, "skipped": count - 1})
        return found[0].id if found else None

    def count(self, limit: int | None = None) -> int:
        """Return the number of rows, but at most the limit; without one, slow with a million."""
        found = read(self._count, {}) if limit is None else read(self._count_some, {"limit": limit})
        total: int = found[0][0]
        return total

    def last_id(self) -> int:
        """Return the highest id; 0: there are no rows."""
        return read(self._last_id, {})[0][0] or 0

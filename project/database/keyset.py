"""Keyset pagination: a page starts after the last row of the previous one, never at an offset."""

import operator
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, and_, or_


def after(
    columns: Sequence[ColumnElement[Any]], key: Sequence[Any], *, descending: bool = False
) -> list[ColumnElement[bool]]:
    """Return the conditions for the rows after a key, in the order of the columns.

    They are written out, since MySQL does not use an index range for ``(a, b) > (x, y)``. The first
    condition is redundant; SQLite needs it for an index range.

    :param columns: the columns of the order, unique together.
    :param key: the values in the last row, or parameters for them.
    """
    is_after = operator.lt if descending else operator.gt
    if len(columns) == 1:
        return [is_after(columns[0], key[0])]
    is_not_before = operator.le if descending else operator.ge
    ties = list(map(operator.eq, columns, key))
    alternatives = (
        and_(*ties[:place], is_after(columns[place], key[place])) for place in range(len(columns))
    )
    return [is_not_before(columns[0], key[0]), or_(*alternatives)]


def to_cursor(key: Iterable[Any]) -> list[Any]:
    """Return a key with values that JSON can represent."""
    return [each.isoformat() if isinstance(each, datetime) else each for each in key]


def from_cursor(columns: Iterable[ColumnElement[Any]], content: Iterable[Any]) -> list[Any]:
    """Return the key from which ``to_cursor`` made the content."""
    return [
        datetime.fromisoformat(each) if isinstance(column.type, DateTime) and each else each
        for column, each in zip(columns, content, strict=True)
    ]

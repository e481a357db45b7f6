"""A premise: what a request takes for granted until its first read checks it.

The condition goes into the SELECT of that read, so it is checked in the same round trip and on the
same state of the database. See docs/decisions/callers.md.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement

T = TypeVar("T")


class Premise(NamedTuple):
    """A condition that was true a moment ago.

    :ivar condition: refers to no table of another SELECT.
    :ivar parameters: its values, under names that no other SELECT has.
    :ivar holds: asks the database whether nothing has changed since the premise was first known,
        including what changed and changed back.
    """

    condition: ColumnElement[bool]
    parameters: dict[str, Any]
    holds: Callable[[], bool]


class PremiseFailed(Exception):
    """What was taken for granted may no longer be so; nothing has been returned under it."""


class _Thread(threading.local):
    """What this thread has not checked yet."""

    unchecked: Premise | None = None


current = _Thread()


def presuming(premise: Premise, work: Callable[..., T], **arguments: Any) -> T:
    """Return what a function returns, which only reads; the premise is checked before the end.

    :raises PremiseFailed: the premise does not hold, whatever the function returned or raised.
    """
    current.unchecked = premise
    try:
        return work(**arguments)
    finally:
        settle()


def settle() -> None:
    """Check the thread's premise by itself, if nothing has checked it yet.

    :raises PremiseFailed: it does not hold.
    """
    premise, current.unchecked = current.unchecked, None
    if premise is not None and not premise.holds():
        raise PremiseFailed

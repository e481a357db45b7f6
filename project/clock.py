"""The one place that asks the time."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the present time in UTC, naive and cut to whole seconds.

    MySQL's DATETIME keeps no zone and no fraction, and would round one up: cut here, a time is
    the same in the answer to a write as in every later read.
    """
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)

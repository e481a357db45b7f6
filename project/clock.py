"""The only place that reads the clock."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the current time in UTC, naive and truncated to whole seconds.

    MySQL's DATETIME stores no zone and no fraction, and would round a fraction. Truncated here, a
    time is the same in the response to a write as in every later read.
    """
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)

"""The progress bar of long work."""

from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, unit: str, doing: str | None = None) -> "tqdm[Any]":
    """Return a progress bar, which is shown on a terminal only.

    :param total: of how many units; None: nobody knows.
    :param doing: what stands before the bar, such as ``Writing``.
    """
    return tqdm(desc=doing, total=total, unit=unit, unit_scale=True, disable=None)

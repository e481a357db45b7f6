"""Users who are not in a file, whom an import deactivates where that is asked for."""

from array import array
from collections.abc import Callable, Iterable, Sequence

from project.api.transfer.importing import ROWS_PER_BATCH, Report
from project.api.users import queries, service
from project.database import in_transaction, read
from project.web.guard import known_principal

LARGEST_SHARE = 10  # percent


class Met:
    """The users whom the rows of an import meet, of those who are there when it begins.

    A bit for each id takes 125 kB for a million users.
    """

    def __init__(self) -> None:
        self.last_id: int = read(queries.LAST_ID, {})[0][0] or 0
        self._bits = bytearray(self.last_id // 8 + 1)

    def add(self, user_ids: Iterable[int]) -> None:
        """Remember users; those with later ids were not there before."""
        for user_id in user_ids:
            if user_id <= self.last_id:
                self._bits[user_id // 8] |= 1 << user_id % 8

    def __contains__(self, user_id: int) -> bool:
        return bool(self._bits[user_id // 8] & 1 << user_id % 8)


def commit_deactivations(
    met: Met,
    report: Report,
    most: int | None = None,
    dry_run: bool = False,
    before_batch: Callable[[], None] = lambda: None,
    deactivate: Callable[[Sequence[int]], int] = service.deactivate_users,
) -> None:
    """Deactivate active users whom an import has not met, and add to its report.

    Administrators, the caller, and users who were added meanwhile stay active. Nobody is
    deactivated if rows have failed, or if too many are missing: then the report says so.

    :param most: how many users may be deactivated; None: a tenth of the active ones.
    :param before_batch: called before each transaction; may raise to stop.
    :param deactivate: does a batch, in its transaction; returns how many users it has deactivated.
    """
    missing, active = _find(met)
    report.missing = len(missing)
    if report.failed:
        report.refusal = "Nobody was deactivated, since rows have failed."
    elif len(missing) > (active * LARGEST_SHARE // 100 if most is None else most):
        report.refusal = (
            f"Nobody was deactivated: {len(missing):,} of {active:,} active users are not in the"
            f" file, and at most {f'{LARGEST_SHARE} %' if most is None else f'{most:,}'} may be"
            f" deactivated. If that is right, set max_deactivate to {len(missing)}."
        )
    elif dry_run:
        report.deactivated = len(missing)
    else:
        commit = in_transaction(deactivate)
        for start in range(0, len(missing), ROWS_PER_BATCH):
            before_batch()
            report.deactivated += commit(missing[start : start + ROWS_PER_BATCH].tolist())


def _find(met: Met) -> tuple["array[int]", int]:
    """Return the ids of the active users whom an import has not met, and how many are active."""
    missing, active, last = array("i"), 0, 0
    caller = known_principal()
    while rows := read(
        queries.ACTIVE_OTHERS, {"after": last, "last": met.last_id, "limit": ROWS_PER_BATCH}
    ):
        active += len(rows)
        last = rows[-1].id
        missing.extend(row.id for row in rows if row.id not in met)
    if caller is not None and caller.user_id in missing:
        missing.remove(caller.user_id)
    return missing, active

"""The file in which a worker process counts; together they are the metrics of the service.

prometheus_client maps a file with holes in it into memory: on a full disk, the first count that
falls into one would kill the process by SIGBUS. A file that it cannot open would fail requests.
"""

import mmap
import os
from contextlib import suppress

from prometheus_client.mmap_dict import MmapedDict

FIRST_BYTES = 65_536


class MetricsFile(MmapedDict):
    """A file that is wholly on the disk before it is counted in.

    Where that cannot be, the process counts in memory of its own; what it counts there is not among
    the metrics of all.
    """

    problems: list[OSError] = []
    """What stood in the way, the newest last."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            with open(filename, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, FIRST_BYTES)
        except OSError as error:
            self.problems.append(error)
            with suppress(OSError):
                os.unlink(filename)  # an empty file could not be read
            filename = _file_in_memory()
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Make room for one more number, and set it to zero."""
        room = self._capacity - self._used
        if room < 4 * len(key) + 64:  # the most that the key may take, and the number
            try:
                os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
            except OSError as error:
                self.problems.append(error)
                self._move_into_memory()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _move_into_memory(self) -> None:
        content = self._m[:]
        self._f.close()
        self._f = open(_file_in_memory(), "r+b")
        self._f.write(content)
        self._f.flush()
        self._m = mmap.mmap(self._f.fileno(), self._capacity)


def _file_in_memory() -> str:
    """Return the name of a new file without a disk; it goes with the process."""
    return f"/proc/self/fd/{os.memfd_create('metrics')}"

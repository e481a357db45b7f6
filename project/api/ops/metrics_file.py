"""The metrics file of a worker process; all files together are the metrics of the service.

prometheus_client maps a sparse file into memory: on a full disk, the first write to a hole would
kill the process by SIGBUS. A file that it cannot open would make requests fail.
"""

import mmap
import os
from contextlib import suppress

from prometheus_client.mmap_dict import MmapedDict

FIRST_BYTES = 65_536


class MetricsFile(MmapedDict):
    """A file whose disk space is allocated before it is used.

    If that fails, the process counts in its own memory; these counts are missing from the metrics
    of the service.
    """

    problems: list[OSError] = []
    """The errors so far, newest last."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            with open(filename, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, FIRST_BYTES)
        except OSError as error:
            self.problems.append(error)
            with suppress(OSError):
                os.unlink(filename)  # reading an empty file would fail
            filename = _file_in_memory()
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Add a number, zero, after allocating space for it."""
        room = self._capacity - self._used
        if room < 4 * len(key) + 64:  # the maximum size of the key and the number
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
    """Return the name of a new file in memory, which ends with the process."""
    return f"/proc/self/fd/{os.memfd_create('metrics')}"

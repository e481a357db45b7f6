"""The files of the workers' metrics, on disks that take them and on others."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from prometheus_client.mmap_dict import MmapedDict

from project.api.ops.metrics_file import FIRST_BYTES, MetricsFile


class MetricsFileTests(unittest.TestCase):
    """One process's file, written by it and read by another."""

    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="users-metrics-"))
        self.path = Path(folder, "counter_1.db")
        self.problems: list[OSError] = []
        self.enterContext(mock.patch.object(MetricsFile, "problems", self.problems))

    def open(self, name: str) -> MetricsFile:
        """Open a file for a process to count in."""
        file = MetricsFile(name)
        self.addCleanup(file.close)
        return file

    def write(self, file: MetricsFile, *numbers: int) -> None:
        """Let each number be counted under a key of its own."""
        for number in numbers:
            file.write_value(f"key {number} {'x' * 400}", float(number), 0.0)

    def read(self, path: Path) -> list[float]:
        """Return what another process finds in a file."""
        return [value for _key, value, *_ in MmapedDict.read_all_values_from_file(path)]

    def assert_has_no_holes(self) -> None:
        """Assert that all of the file is on the disk."""
        status = self.path.stat()
        self.assertGreaterEqual(status.st_blocks * 512, status.st_size)

    def test_file_is_on_the_disk_before_it_is_written(self):
        file = self.open(str(self.path))

        self.assertEqual(self.path.stat().st_size, FIRST_BYTES)
        self.assert_has_no_holes()
        self.write(file, 1, 2)
        self.assertEqual(self.read(self.path), [1, 2])

    def test_file_grows_without_holes(self):
        file = self.open(str(self.path))

        self.write(file, *range(1000))

        self.assertGreater(self.path.stat().st_size, FIRST_BYTES)
        self.assert_has_no_holes()
        self.assertEqual(self.read(self.path), list(range(1000)))
        self.assertEqual(self.problems, [])

    def test_disk_that_gets_full_leaves_the_counts_in_memory(self):
        file = self.open(str(self.path))
        self.write(file, *range(10))

        with mock.patch.object(os, "posix_fallocate", side_effect=OSError(28, "full")):
            self.write(file, *range(1000))

        self.assertEqual([value for _, value, _ in file.read_all_values()], list(range(1000)))
        self.assertEqual({error.errno for error in self.problems}, {28})
        self.assertEqual(self.read(self.path), list(range(len(self.read(self.path)))))

    def test_disk_that_is_full_leaves_no_empty_file(self):
        with mock.patch.object(os, "posix_fallocate", side_effect=OSError(28, "full")):
            file = self.open(str(self.path))
        self.write(file, 1, 2)

        self.assertEqual([value for _, value, _ in file.read_all_values()], [1, 2])
        self.assertFalse(self.path.exists())

    def test_folder_that_is_none_leaves_the_counts_in_memory(self):
        file = self.open(f"{os.devnull}/counter_1.db")
        self.write(file, *range(1000))

        self.assertEqual([value for _, value, _ in file.read_all_values()], list(range(1000)))
        self.assertEqual(len(self.problems), 1)

"""The progress bar, on a terminal and in a log file."""

import unittest
from contextlib import redirect_stderr
from io import StringIO
from unittest import mock

from project.progress import progress_bar


class ProgressTests(unittest.TestCase):
    """``progress_bar``."""

    def shown(self, is_terminal: bool) -> str:
        """Return what half of a piece of work shows."""
        with redirect_stderr(StringIO()) as output:
            with mock.patch.object(output, "isatty", return_value=is_terminal):
                with progress_bar(10, " users", "Counting") as progress:
                    progress.update(5)
        return output.getvalue()

    def test_terminal_shows_it(self):
        self.assertRegex(self.shown(True), r"Counting:  50%\|.*5\.00/10\.0 ")

    def test_log_file_does_not(self):
        self.assertEqual(self.shown(False), "")

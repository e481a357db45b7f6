"""What becomes of lines that cannot be written."""

import io
import os
import tempfile
import unittest
from unittest import mock

from project.logs import Output


class OutputTests(unittest.TestCase):
    """The stream that all logs go to."""

    def setUp(self) -> None:
        self.failures = self.enterContext(mock.patch.object(Output, "on_failure"))
        self.file = self.enterContext(tempfile.TemporaryFile("w+"))
        self.output = Output(self.file)

    def written(self) -> str:
        """Return what is in the file."""
        self.file.seek(0)
        return self.file.read()

    def test_lines_are_written_at_once(self):
        self.output.write("jos\xe9\n")
        self.output.write(b"two\n")

        self.assertEqual(self.written(), "jos\xe9\ntwo\n")
        self.failures.assert_not_called()

    def test_text_that_is_no_unicode_is_written_too(self):
        self.output.write("\udc80\n")

        self.assertEqual(self.written(), "\\udc80\n")

    def test_line_that_is_cut_off_is_not_continued_by_the_next(self):
        write = os.write

        def some(descriptor: int, data: bytes) -> int:
            if data == b"ne\n":
                raise OSError(28, "full")
            return write(descriptor, data[:2])

        with mock.patch.object(os, "write", some):
            self.output.write("gone\n")
        self.output.write("next\n")
        self.output.write("last\n")

        self.assertEqual(self.written(), "go\nnext\nlast\n")
        self.failures.assert_called_once_with()

    def test_stream_that_takes_nothing_loses_and_counts_each_line(self):
        reader, writer = os.pipe()
        os.close(reader)
        full = self.enterContext(open("/dev/full", "w"))
        pipe = self.enterContext(open(writer, "w"))
        closed = open(os.devnull, "w")
        closed.close()
        for number, stream in enumerate([full, pipe, closed, io.StringIO(), None], 1):
            with self.subTest(stream):
                Output(stream).write("lost\n")

                self.assertEqual(self.failures.call_count, number)

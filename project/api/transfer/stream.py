"""The bytes of a file: unpacked, as UTF-8, line by line, and in proportion to what came."""

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from project.api.transfer.archives import ZIP, only_file
from project.errors import Invalid, Message, TooLarge

MAX_ROW_BYTES = 65_536
GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
MAX_ARCHIVE_BYTES = 20_000_000
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Limits on the work that the bytes received may cause: a free allowance, and more in proportion to
# the bytes. Measured on exports that compress extremely well: 26 bytes per byte, 4.8 bytes per row.
FREE_BYTES = 1_048_576
FREE_LINES = FREE_FAILURES = 10_000
UNPACKED_PER_BYTE = 200
BYTES_PER_LINE = 2
BYTES_PER_FAILURE = 4


class OutOfProportion(TooLarge):
    """The bytes would cause more work than their number allows (413)."""


@dataclass(slots=True)
class Row:
    """A row that was parsed; its values are not validated.

    :param line: the number of its first line, from 1.
    :param values: by field.
    :param names: of the columns, in the file.
    :param cells: what came, in the order of the names.
    """

    line: int
    values: dict[str, Any]
    names: Sequence[str] = field(default=(), compare=False)
    cells: Sequence[Any] = field(default=(), compare=False)


@dataclass(slots=True)
class BadRow:
    """A row that cannot be parsed; otherwise like ``Row``."""

    line: int
    reason: str
    names: Sequence[str] = field(default=(), compare=False)
    cells: Sequence[Any] = field(default=(), compare=False)


class Source(io.RawIOBase):
    """The bytes of a file or a request.

    :param read: returns at most the given number of bytes, and none at the end.
    :param size: the expected number of bytes; None: unknown.
    :param max_bytes: the limit on the number of bytes, and on the decompressed bytes; None: no
        limit.
    :raises TooLarge: the limit is exceeded; also raised later, while reading (413).
    """

    def __init__(
        self, read: Callable[[int], bytes], size: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.position = 0
        self.max_bytes = max_bytes
        self._read, self._size = read, size
        self.refuse_over_limit(size or 0)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        :raises Invalid: the data ends before ``size`` bytes (400).
        :raises TooLarge: the data exceeds ``max_bytes`` (413).
        """
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        self.refuse_over_limit(self.position)
        if not data and self._size is not None and self.position < self._size:
            raise Invalid(
                Message(
                    "The data ends after %(count)s of %(size)s bytes.",
                    count=f"{self.position:,}",
                    size=f"{self._size:,}",
                )
            )
        return len(data)

    def refuse_over_limit(self, count: int) -> None:
        """Check a number of bytes against the limit.

        :raises TooLarge: it exceeds the limit (413).
        """
        if self.max_bytes is not None and count > self.max_bytes:
            limit = f"{self.max_bytes:,}"
            raise TooLarge(Message("The data is larger than %(limit)s bytes.", limit=limit))

    def refuse_bomb(self, unpacked: int, lines: int) -> None:
        """Check that the decompressed data is in proportion to the bytes received so far.

        :raises OutOfProportion: it is not (413).
        """
        if unpacked > FREE_BYTES + self.position * UNPACKED_PER_BYTE:
            ratio = f"{UNPACKED_PER_BYTE} bytes per byte"
        elif lines > FREE_LINES + self.position // BYTES_PER_LINE:
            ratio = f"one line per {BYTES_PER_LINE} bytes"
        else:
            return
        raise OutOfProportion(f"The data decompresses to more than {ratio} received.")

    def refuse_failures(self, count: int) -> None:
        """Check that the number of failed rows is in proportion to the bytes received so far.

        :raises OutOfProportion: it is not, and the source has a limit (413).
        """
        allowed = FREE_FAILURES + self.position // BYTES_PER_FAILURE
        if self.max_bytes is not None and count > allowed:
            raise OutOfProportion(
                f"More than one row has failed per {BYTES_PER_FAILURE} bytes received."
            )


class Opened(NamedTuple):
    """The content of a file.

    :param data: in UTF-8 without a mark, unless it has sheets.
    :param head: its beginning, up to the end of the first line that is not empty.
    :param is_compressed: whether it came as gzip or in a zip file.
    :param has_sheets: whether it is a file of Excel or LibreOffice.
    """

    data: io.BufferedReader
    head: bytes
    is_compressed: bool
    has_sheets: bool = False


def opened(source: Source, gzipped: bool) -> Opened:
    """Return the content of a source, which tells how it is compressed and encoded.

    :param gzipped: whether the data must be gzip.
    """
    data, head = _with_head(io.BufferedReader(source, MAX_ROW_BYTES))
    is_compressed = gzipped or head.startswith(GZIP)
    if is_compressed:
        data, head = _with_head(io.BufferedReader(gzip.GzipFile(fileobj=data), MAX_ROW_BYTES))
    for _ in range(2):  # the one file in a zip file may have sheets, and be a zip file itself
        if head.startswith(ZIP):
            content = _read_small(data)
            if (member := only_file(content)) is None:
                return Opened(io.BufferedReader(io.BytesIO(content)), b"", is_compressed, True)
            data, head = _with_head(io.BufferedReader(member, MAX_ROW_BYTES))  # type: ignore[arg-type]
            is_compressed = True
    if head.startswith(_UTF_16):
        data, head = _with_head(io.BufferedReader(_FromUtf16(data), MAX_ROW_BYTES))
    if head.startswith(_BOM):
        data.read(len(_BOM))
        head = head.removeprefix(_BOM)
    return Opened(data, head, is_compressed)


def _with_head(file: io.BufferedReader) -> tuple[io.BufferedReader, bytes]:
    """Return a stream, and its bytes up to the end of the first line that is not empty."""
    head = b""
    with decompression_errors():
        while len(head) < MAX_ROW_BYTES and b"\n" not in head.lstrip():
            data = file.read1(MAX_ROW_BYTES)
            if not data:
                break
            head += data
    return io.BufferedReader(_Replayed(head, file), MAX_ROW_BYTES), head


class _Replayed(io.RawIOBase):
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, file: io.BufferedReader) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return self._file.readinto1(buffer)
        part, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _read_small(file: io.BufferedReader) -> bytes:
    """Return the rest of a file that must be in memory as a whole.

    :raises TooLarge: it has more than 20 MB (413).
    """
    with decompression_errors():
        content = file.read(MAX_ARCHIVE_BYTES + 1)
    if len(content) > MAX_ARCHIVE_BYTES:
        raise TooLarge(
            Message(
                "A zip, Excel or LibreOffice file may have %(limit)s bytes at most."
                " Send it as CSV, gzip or not.",
                limit=f"{MAX_ARCHIVE_BYTES:,}",
            )
        )
    return content


@contextmanager
def decompression_errors() -> Iterator[None]:
    """Raise Invalid for gzip or zip that is incomplete or corrupt (400)."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise Invalid(Message("The compressed data is incomplete or corrupt.")) from error


class _FromUtf16(io.RawIOBase):
    """UTF-16 as UTF-8."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-16")()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            data = self._file.read1(MAX_ROW_BYTES)
            try:
                self._rest = self._decoder.decode(data, not data).encode(errors="replace")
            except UnicodeDecodeError as error:
                raise Invalid(Message("The data is not valid UTF-16.")) from error
            if not data:
                break
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class Limits:
    """Counts the content, and refuses too much of it."""

    def __init__(self, source: Source, is_compressed: bool) -> None:
        self._source, self._is_compressed = source, is_compressed
        self._bytes = 0

    def count(self, size: int, lines: int) -> None:
        """Count bytes.

        :raises TooLarge: the data exceeds a limit (413).
        """
        self._bytes += size
        self._source.refuse_over_limit(self._bytes)
        if self._is_compressed:
            self._source.refuse_bomb(self._bytes, lines)


class Line(NamedTuple):
    """A line, with its end.

    :param number: from 1.
    :param data: None: it is too long.
    """

    number: int
    data: bytes | None

    def text(self) -> str:
        """Return the line's text.

        :raises ValueError: it is too long or not UTF-8; the message is a sentence.
        """
        if self.data is None:
            limit = f"{MAX_ROW_BYTES:,}"
            raise ValueError(Message("Is longer than %(limit)s bytes.", limit=limit))
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(Message("Is not valid UTF-8.")) from error

    def shown(self) -> str:
        """Return as much of the text as can be read."""
        return (self.data or b"").decode(errors="replace").rstrip("\r\n")


def lines(data: io.BufferedReader, limits: Limits) -> Iterator[Line]:
    """Yield the lines of a stream; the rest of one that is too long is passed over."""
    pieces = iter(partial(data.readline, MAX_ROW_BYTES + 1), b"")
    number = 0
    with decompression_errors():
        for piece in pieces:
            number += 1
            limits.count(len(piece), number)
            whole = None if _is_incomplete(piece) else piece
            while _is_incomplete(piece):
                piece = next(pieces, b"")
                limits.count(len(piece), number)
            yield Line(number, whole)


def _is_incomplete(piece: bytes) -> bool:
    """Return whether the line continues after this piece."""
    return len(piece) > MAX_ROW_BYTES and not piece.endswith(b"\n")

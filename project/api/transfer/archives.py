"""Opens zip files: the one file in them, or the sheets of Excel (.xlsx) and LibreOffice (.ods)."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from project.errors import Invalid, Message

ZIP = b"PK\x03\x04"
_SHEETS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SHEET_READER = Path(__file__).with_name("sheet_reader.py")


def only_file(content: bytes) -> IO[bytes] | None:
    """Return the one file of a zip file; None: it holds sheets.

    :raises Invalid: it is corrupt, encrypted, or holds several files (400).
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        infos = [
            each
            for each in archive.infolist()
            if not each.is_dir() and not each.filename.startswith("__MACOSX/")
        ]
        if any(each.filename in _SHEETS for each in infos):
            return None
        if len(infos) != 1:
            raise Invalid(
                Message("The zip file holds %(count)s files; it must be one.", count=len(infos))
            )
        if infos[0].compress_type not in _METHODS:
            raise Invalid(Message("The zip file is compressed by a method that is not read."))
        return archive.open(infos[0])
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
        raise Invalid(Message("The zip file is corrupt or encrypted.")) from error


def sheet_rows(content: bytes, count: Callable[[int, int], None]) -> Iterator[list[Any] | None]:
    """Yield the rows of all sheets, and None before the first row of each.

    :param count: is given the size of each row, and its number; it refuses too much.
    :raises Invalid: the file is corrupt, encrypted, or needs too much memory (400).
    """
    command = [sys.executable, "-I", str(_SHEET_READER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes) as reader:  # type: ignore[call-overload]
        try:
            with suppress(BrokenPipeError):
                reader.stdin.write(content)
                reader.stdin.close()
            for number, line in enumerate(reader.stdout, 1):
                count(len(line), number)
                yield json.loads(line)
            if reader.wait():
                raise ValueError(reader.returncode)
        except ValueError as error:
            message = Message(
                "The file with sheets is corrupt or encrypted, or its sheets are too large."
                " Save the sheet with the users as CSV."
            )
            raise Invalid(message) from error
        finally:
            reader.kill()

"""Opens zip files: one file in them, or the sheets of Excel (.xlsx) and LibreOffice (.ods)."""

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from python_calamine import CalamineError, CalamineWorkbook

from project.errors import Invalid

ZIP = b"PK\x03\x04"
_SHEETS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


class Limit(Protocol):
    """Knows how much may be unpacked."""

    def refuse_bomb(self, unpacked: int, lines: int) -> None:
        """Raise TooLarge for too much."""


class Member(NamedTuple):
    """The one file of a zip file.

    :param size: its bytes when it is unpacked.
    """

    file: Any
    size: int


def zipped_file(content: bytes) -> Member | None:
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
            raise Invalid(f"The zip file holds {len(infos)} files; it must be one.")
        return Member(archive.open(infos[0]), infos[0].file_size)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise Invalid("The zip file is corrupt or encrypted.") from error


def sheets(content: bytes, limit: Limit) -> Iterator[list[list[Any]]]:
    """Yield the rows of each sheet.

    :param limit: refuses what would unpack to too much.
    :raises Invalid: it is corrupt or encrypted (400).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            limit.refuse_bomb(sum(each.file_size for each in archive.infolist()), 0)
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        for name in book.sheet_names:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            yield [list(map(_cell, row)) for row in rows]
    except (zipfile.BadZipFile, CalamineError) as error:
        raise Invalid("The file with sheets is corrupt or encrypted.") from error


def _cell(value: Any) -> Any:
    """Return a cell as it would be in CSV; dates and yes or no stay what they are."""
    if isinstance(value, bool | datetime | str):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or isinstance(value, timedelta) else str(value)

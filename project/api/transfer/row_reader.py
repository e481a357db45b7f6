"""Reads rows from a stream of bytes whose content tells its form.

CSV, NDJSON and LDIF are read line by line, JSON documents item by item. A row that cannot be parsed
is yielded as a ``BadRow``; reading continues with the line after its first. Knows neither HTTP nor
the database.
"""

import re
from collections.abc import Iterator

from project.api.transfer.archives import ZIP
from project.api.transfer.columns import Columns
from project.api.transfer.json_rows import read_document, read_ndjson
from project.api.transfer.ldif_rows import read_ldif
from project.api.transfer.stream import BadRow, Row, Source, lines, opened
from project.api.transfer.table_rows import read_csv, read_sheets
from project.errors import Invalid

_LDIF = re.compile(rb"(?:#[^\n]*\n|\r?\n)*(?:version: *1\s|dn::? )", re.IGNORECASE)
_HOLDER = re.compile(rb'"(?:users|Resources|value|data)"\s*:\s*[\[{]')


_ARRAY_OF_OTHERS = re.compile(rb"\[\s*[^\s{]")

_OTHER_FORMS = {
    b"%PDF": "a PDF. Export a CSV file from the program it comes from.",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls). Save it as CSV.",
    b"\x1f\x8b": "packed twice. Unpack it once.",
    b"<": "HTML or XML. Export a CSV or JSON file instead.",
}


def _refuse_other_forms(head: bytes) -> None:
    """Refuse data of a form that is not read, and say what it seems to be.

    :raises Invalid: it is of such a form (400).
    """
    start = head.lstrip()
    for mark, seems in _OTHER_FORMS.items():
        if start.startswith(mark):
            raise Invalid(f"This seems to be {seems}")


def _is_document(head: bytes, as_lines: bool) -> bool:
    """Return whether data is one JSON document, and not an object on each line."""
    start = head.lstrip()
    first, _, _ = start.partition(b"\n")
    if start.startswith(b"{"):
        return first.rstrip().endswith((b"{", b"[", b",", b":")) or bool(_HOLDER.search(first))
    return start.startswith(b"[") and not (as_lines and _ARRAY_OF_OTHERS.match(start))


def read_rows(
    source: Source, gzipped: bool, columns: Columns, as_lines: bool = False
) -> Iterator[Row | BadRow]:
    """Yield the rows of a stream, in constant memory. The errors are raised while iterating.

    :param gzipped: whether the data is said to be gzip; if not, its content tells.
    :param as_lines: whether it is said to be NDJSON; then what has no other form is.
    :param columns: what to read; its ``used`` and ``ignored`` are complete afterwards.
    :raises Invalid: the form is unknown, the header is invalid, or the data is incomplete or
        corrupt (400).
    :raises TooLarge: the data exceeds the source's limit (413).
    :raises OutOfProportion: the data would cause too much work (413).
    """
    file, head, packed = opened(source, gzipped)
    _refuse_other_forms(head)
    if head.startswith(ZIP):
        yield from read_sheets(file.read(), source, columns)
        return
    if _is_document(head, as_lines):
        yield from read_document(file, source, packed, columns)
        return
    each_line = lines(file, source, packed)
    if as_lines or head.lstrip().startswith(b"{"):
        yield from read_ndjson(each_line, columns)
    elif _LDIF.match(head):
        yield from read_ldif(each_line, columns)
    else:
        yield from read_csv(each_line, columns)

"""Reads rows from a stream of bytes whose content tells its form.

CSV, NDJSON and LDIF are read line by line, JSON documents item by item. A row that cannot be parsed
is yielded as a ``BadRow``; reading continues with the line after its first. Knows neither HTTP nor
the database.
"""

import re
from collections.abc import Iterator

from project.api.transfer.archives import ZIP
from project.api.transfer.columns import Columns
from project.api.transfer.json_rows import is_document, read_document, read_ndjson
from project.api.transfer.ldif_rows import read_ldif
from project.api.transfer.stream import GZIP, BadRow, Limits, Row, Source, lines, opened
from project.api.transfer.table_rows import read_csv, read_sheets
from project.errors import Invalid, Message

_LDIF = re.compile(rb"(?:#[^\n]*\n|\r?\n)*(?:version: *1\s|dn::? )", re.IGNORECASE)
_TWICE = Message("This seems to be compressed twice. Decompress it once.")
_OTHER_FORMS = {
    b"%PDF": Message("This seems to be a PDF. Export a CSV file from the program it comes from."),
    b"\xd0\xcf\x11\xe0": Message("This seems to be an old Excel file (.xls). Save it as CSV."),
    GZIP: _TWICE,
    ZIP: _TWICE,
    b"<": Message("This seems to be HTML or XML. Export a CSV or JSON file instead."),
}


def read_rows(
    source: Source, gzipped: bool, columns: Columns, as_lines: bool = False
) -> Iterator[Row | BadRow]:
    """Yield the rows of a stream, in constant memory. The errors are raised while iterating.

    :param gzipped: whether the data must be gzip; otherwise, its content tells.
    :param as_lines: whether it is said to be NDJSON; then what has no other form is.
    :param columns: what to read; its ``used`` and ``ignored`` are complete afterwards.
    :raises Invalid: the form is unknown, the header is invalid, or the data is incomplete or
        corrupt (400).
    :raises TooLarge: the data exceeds the source's limit (413).
    :raises OutOfProportion: the data would cause too much work (413).
    """
    content = opened(source, gzipped)
    start = content.head.lstrip()
    for mark, seems in _OTHER_FORMS.items():
        if start.startswith(mark):
            raise Invalid(seems)
    limits = Limits(source, content.is_compressed or content.has_sheets)
    if content.has_sheets:
        yield from read_sheets(content.data.read(), limits, columns)
    elif is_document(start, as_lines):
        yield from read_document(content.data, limits, columns)
    elif as_lines or start.startswith(b"{"):
        yield from read_ndjson(lines(content.data, limits), columns)
    elif _LDIF.match(content.head):
        yield from read_ldif(lines(content.data, limits), columns)
    else:
        yield from read_csv(lines(content.data, limits), columns)

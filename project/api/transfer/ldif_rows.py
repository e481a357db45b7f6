"""Rows of LDIF (RFC 2849), as directories export their people."""

import base64
import binascii
from collections.abc import Iterator
from itertools import chain
from typing import Any

from project.api.transfer.columns import Columns
from project.api.transfer.json_rows import row_of_object
from project.api.transfer.stream import MAX_ROW_BYTES, BadRow, Line, Row
from project.errors import Invalid, Message, error_text

MAX_LINES = 10_000


def read_ldif(lines: Iterator[Line], columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of records: of an attribute with several values, the first counts."""
    for record in _ldif_records(lines):
        number, problem = record[0].number, None
        values: dict[str, Any] = {}
        for line in record:
            try:
                name, value = _ldif_value(line.text())
            except ValueError as error:
                problem = BadRow(line.number, error_text(error), ["row"], [line.shown()])
                break
            values.setdefault(name, value)
        if problem is not None:
            yield problem
        elif set(values) != {"version"}:
            row = row_of_object(number, values, columns)
            if row is not None:
                yield row


def _ldif_records(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Yield the lines of each record, those that were folded (RFC 2849) as one."""
    record: list[Line] = []
    for line in chain(lines, [Line(0, b"")]):
        data = line.data
        if data is not None and not data.strip():
            if record:
                yield record
            record = []
        elif data is not None and data.startswith(b" ") and record:
            before = record[-1].data
            joined = None if before is None else before.rstrip(b"\r\n") + data[1:]
            too_long = joined is None or len(joined) > MAX_ROW_BYTES
            record[-1] = record[-1]._replace(data=None if too_long else joined)
        elif data is None or not data.startswith(b"#"):
            record.append(line)
            if len(record) > MAX_LINES:
                raise Invalid(
                    Message(
                        "Line %(number)s: the record has too many lines.", number=f"{line.number:,}"
                    )
                )


def _ldif_value(text: str) -> tuple[str, str]:
    name, colon, value = text.rstrip("\r\n").partition(":")
    if not colon:
        raise ValueError(Message("Must be `name: value`."))
    if value.startswith(":"):
        try:
            value = base64.b64decode(value[1:].strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            value = ""  # a picture, for example
    return name.partition(";")[0], value.removeprefix(" ")

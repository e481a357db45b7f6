"""Rows of JSON: an object on each line (NDJSON), or a document that holds an array of users."""

import io
from collections.abc import Iterator
from typing import Any

import ijson
import orjson

from project.api.transfer.columns import Columns
from project.api.transfer.stream import (
    MAX_ROW_BYTES,
    BadRow,
    Limits,
    Line,
    Row,
    Source,
    gzip_errors,
)
from project.errors import Invalid

MAX_EVENTS = 10_000
_HOLDERS = ("item", "users.item", "Resources.item", "value.item", "data.item", "data.users.item")


def read_ndjson(lines: Iterator[Line], columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of objects, one on each line."""
    for line in lines:
        try:
            text = line.text()
            if not text.strip():
                continue
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield BadRow(line.number, f"Is not valid JSON, from character {error.pos + 1:,} on.")
        except ValueError as error:
            yield BadRow(line.number, str(error))
        else:
            yield row_of_object(line.number, values, columns)


def row_of_object(number: int, values: Any, columns: Columns) -> Row | BadRow:
    """Return the row of an object: its keys are the columns."""
    if not isinstance(values, dict):
        return BadRow(number, "Must be a JSON object.")
    if any(isinstance(value, dict | list) for value in values.values()):
        values = dict(_flattened(values))
    try:
        plan = columns.plan(tuple(values))
    except Invalid as error:
        return BadRow(number, f"{error.errors[0].field}: Is there more than once.")
    return Row(number, plan.read(tuple(values.values())))


def _flattened(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys and values; those of an object by ``key.key``; of a list, what counts."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        elif isinstance(value, list):
            yield name, _first(value)
        else:
            yield name, value


def _first(values: list[Any]) -> Any:
    """Return the primary value of a list such as SCIM's emails, else the first."""
    objects = [each for each in values if isinstance(each, dict) and "value" in each]
    if objects:
        return next((each for each in objects if each.get("primary") is True), objects[0])["value"]
    return values[0] if values and isinstance(values[0], str) else values


def read_document(
    stream: io.BufferedReader, source: Source, packed: bool, columns: Columns
) -> Iterator[Row | BadRow]:
    """Read a JSON array of users, or an object that holds one; a row's line is its number."""
    file = _Counted(stream, source, packed)
    has_users, item, events = False, None, 0
    try:
        for prefix, event, value in ijson.parse(file, use_float=True):
            file.note_event()
            if item is None:
                if event == "start_array" and f"{prefix}.item".lstrip(".") in _HOLDERS:
                    has_users = True
                elif prefix in _HOLDERS and event == "start_map":
                    item, events = (prefix, ijson.ObjectBuilder()), 0
                elif prefix in _HOLDERS and event not in ("end_map", "start_array", "end_array"):
                    file.items += 1
                    yield BadRow(file.items, "Must be a JSON object.")
            if item is not None:
                events += 1
                if events > MAX_EVENTS:
                    raise Invalid(f"User {file.items + 1:,} has more than {MAX_EVENTS:,} values.")
                item[1].event(event, value)
                if event == "end_map" and prefix == item[0]:
                    file.items += 1
                    yield row_of_object(file.items, item[1].value, columns)
                    item = None
    except (ijson.JSONError, ValueError) as error:
        raise Invalid(f"The JSON is incomplete or corrupt, after {file.items:,} users.") from error
    if not has_users:
        raise Invalid("The JSON holds no users: it must be an array, or an object with `users`.")


class _Counted:
    """A file for ijson, which ends when one value takes too much of it.

    :ivar items: how many rows were read so far.
    """

    def __init__(self, file: io.BufferedReader, source: Source, gzipped: bool) -> None:
        self._file, self._limits = file, Limits(source, gzipped)
        self.items = self._bytes = self._bytes_at_event = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raises Invalid: a single text goes on for too long (400).
        """
        if self._bytes - self._bytes_at_event > 4 * MAX_ROW_BYTES:
            raise Invalid(f"A value of the JSON is longer than {MAX_ROW_BYTES:,} bytes.")
        with gzip_errors():
            data = self._file.read1(min(size, MAX_ROW_BYTES)) if size else b""
        self._bytes += len(data)
        self._limits.count(len(data), self.items)
        return data

    def note_event(self) -> None:
        """Remember that the reading goes on."""
        self._bytes_at_event = self._bytes

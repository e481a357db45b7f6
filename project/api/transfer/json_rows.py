"""Rows of JSON: an object on each line (NDJSON), or a document that holds an array of users."""

import io
import re
from collections.abc import Iterator
from typing import Any

import ijson
import orjson

from project.api.transfer.columns import PARENTS, Columns
from project.api.transfer.stream import (
    MAX_ROW_BYTES,
    BadRow,
    Limits,
    Line,
    Row,
    decompression_errors,
)
from project.errors import Invalid, Message, error_text

MAX_EVENTS = 10_000
MAX_DEPTH = 30
NO_OBJECT = Message("Must be a JSON object.")
_HOLDERS = {"", "users", "Resources", "value", "data", "data.users", ".data"}
"""The keys of the array with the users in a document; none if it is the document.

In ``.data``, phpMyAdmin has the rows of a table; its document is an array and begins with a header.
"""
_NO_NAMES = {"", *(key.partition(".")[0] for key in _HOLDERS)}

_BEGINS_HOLDER = re.compile(rb'"(?:users|Resources|value|data)"\s*:\s*[\[{]')
_BEGINS_NAMED = re.compile(rb'\{\s*"[^"]*"\s*:\s*\{')
_ARRAY_OF_OTHERS = re.compile(rb"\[\s*[^\s{]")


def is_document(start: bytes, as_lines: bool) -> bool:
    """Return whether data is one JSON document, and not an object on each line.

    :param start: its first line, or the beginning of it.
    :param as_lines: whether it is said to be NDJSON.
    """
    first, end, _ = start.partition(b"\n")
    if start.startswith(b"["):
        return not (as_lines and _ARRAY_OF_OTHERS.match(start))
    if not start.startswith(b"{"):
        return False
    try:
        values = orjson.loads(first)
    except orjson.JSONDecodeError:
        is_open = first.rstrip().endswith((b"{", b"[", b",", b":"))
        begins = _BEGINS_HOLDER.search(first) or _BEGINS_NAMED.match(first)
        return is_open or not end and bool(begins)
    if len(values) > 1 and all(isinstance(each, dict) for each in values.values()):
        return PARENTS.isdisjoint(map(str.lower, values))  # else they are parts of one user
    data = values.get("data")
    lists = [values.get(name) for name in ("users", "Resources", "value")]
    lists += [data, data.get("users") if isinstance(data, dict) else None]
    return any(isinstance(each, list) for each in lists)


def read_ndjson(lines: Iterator[Line], columns: Columns) -> Iterator[Row | BadRow]:
    """Yield the rows of objects, one on each line."""
    for line in lines:
        try:
            text = line.text()
            if not text.strip():
                continue
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            reason = Message(
                "Is not valid JSON, from character %(place)s on.", place=f"{error.pos + 1:,}"
            )
            yield BadRow(line.number, reason, ["row"], [line.shown()])
        except ValueError as error:
            yield BadRow(line.number, error_text(error), ["row"], [line.shown()])
        else:
            if (row := row_of_object(line.number, values, columns)) is not None:
                yield row


def row_of_object(number: int, values: Any, columns: Columns) -> Row | BadRow | None:
    """Return the row of an object: its keys are the columns.

    :return: None: the object has a type, and nothing of a user.
    """
    if not isinstance(values, dict):
        return BadRow(number, NO_OBJECT, ["row"], [values])
    came = (tuple(values), tuple(values.values()))
    if any(isinstance(value, dict | list) for value in values.values()):
        values = dict(flattened(values))
    try:
        plan = columns.plan(tuple(values))
    except Invalid as error:
        field = error.errors[0].field
        return BadRow(number, Message("%(field)s: Is there more than once.", field=field), *came)
    if not plan.fields and isinstance(values.get("type"), str):
        return None
    return Row(number, plan.read(tuple(values.values())), *came)


def flattened(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
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
    data: io.BufferedReader, limits: Limits, columns: Columns
) -> Iterator[Row | BadRow]:
    """Read a JSON array of users, or an object that holds one; a row's line is its number.

    An object may also hold the users themselves, by their names.
    """
    file = _Counted(data, limits)
    keys: list[str] = []  # the last key of each object, and nothing for an array, that is open
    has_users, users_depth, user, values = False, -1, None, 0
    named, user_depth = False, 0  # an object that has a name may be no user, as its keys tell
    try:
        for event, value in ijson.basic_parse(file, use_float=True):
            file.note_event()
            depth = len(keys)
            if event == "map_key":
                keys[-1] = value
            elif event.startswith("start_"):
                keys.append("")
                if depth == MAX_DEPTH:
                    raise Invalid(
                        Message("The JSON is nested more than %(limit)s deep.", limit=MAX_DEPTH)
                    )
            elif event.startswith("end_"):
                keys.pop()
            if user is not None:
                values += 1
                if values <= MAX_EVENTS:
                    user.event(event, value)
                is_whole = len(keys) == user_depth
                if is_whole and named and columns.gives(tuple(user.value), "username", "email"):
                    has_users, named = True, False
                    file.items += 1
                if values > MAX_EVENTS and not named:
                    raise Invalid(
                        Message(
                            "User %(number)s has more than %(limit)s values.",
                            number=f"{file.items:,}",
                            limit=f"{MAX_EVENTS:,}",
                        )
                    )
                if not is_whole:
                    continue
                made, user = user.value, None
                if named:
                    continue
                if file.items == 1 and made.get("type") == "header":
                    file.items, users_depth = 0, -1
                    continue
                if (row := row_of_object(file.items, made, columns)) is not None:
                    yield row
            elif depth == users_depth and event != "end_array":
                file.items += 1
                if event == "start_map":
                    user, values, named, user_depth = ijson.ObjectBuilder(), 0, False, depth
                    user.event(event, value)
                else:
                    yield BadRow(file.items, NO_OBJECT, ["row"], [value])
            elif event == "start_map" and depth == 1 and keys[0] not in _NO_NAMES:
                user, values, named, user_depth = ijson.ObjectBuilder(), 0, True, depth
                user.event(event, value)
            elif users_depth < 0 and event == "start_array" and ".".join(keys[:-1]) in _HOLDERS:
                has_users, users_depth = True, depth + 1
            elif len(keys) < users_depth:
                users_depth = -1
    except (ijson.JSONError, ValueError) as error:
        whole = file.items - (user is not None)
        message = Message(
            "The JSON is incomplete or corrupt, after %(count)s users.", count=f"{whole:,}"
        )
        raise Invalid(message) from error
    if not has_users:
        raise Invalid(
            Message("The JSON holds no users: it must be an array, or an object with `users`.")
        )


class _Counted:
    """A file for ijson, which ends when one text takes too much of it.

    :ivar items: how many users were begun so far.
    """

    def __init__(self, data: io.BufferedReader, limits: Limits) -> None:
        self._data, self._limits = data, limits
        self.items = self._bytes = self._bytes_at_event = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raises Invalid: a single text goes on for too long (400).
        """
        if self._bytes - self._bytes_at_event > 4 * MAX_ROW_BYTES:
            raise Invalid(
                Message(
                    "A value of the JSON is longer than %(limit)s bytes.",
                    limit=f"{MAX_ROW_BYTES:,}",
                )
            )
        with decompression_errors():
            data = self._data.read1(min(size, MAX_ROW_BYTES)) if size else b""
        self._bytes += len(data)
        self._limits.count(len(data), self.items)
        return data

    def note_event(self) -> None:
        """Remember that the reading goes on."""
        self._bytes_at_event = self._bytes

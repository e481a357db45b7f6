"""The one file of a multipart/form-data body (RFC 7578), read while it arrives."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio import multipart

from project.errors import Invalid, Message

READ_BYTES = 65_536
MAX_PARTS = 20


class Form(NamedTuple):
    """A form, read up to its file.

    :param fields: those before the file.
    :param file_name: as the client says; empty: no file was chosen.
    :param read: returns at most the given number of bytes of the file, and none at the end.
    """

    fields: dict[str, str]
    file_name: str
    read: Callable[[int], bytes]


def read_form(read: Callable[[int], bytes], boundary: str) -> Form:
    """Return a form whose file has not been read; later fields are passed over.

    :raises Invalid: the body is no such form, is incomplete, or has not just one file; also raised
        while the file is read (400).
    """
    fields: dict[str, bytes] = {}
    pieces = _pieces(read, boundary, fields)
    file_name = next(pieces).decode()
    texts = {name: data.decode("utf-8", "replace") for name, data in fields.items()}
    return Form(texts, file_name, _reader(pieces))


def read_file(read: Callable[[int], bytes], boundary: str) -> Callable[[int], bytes]:
    """Return a function that reads the file; other fields are passed over.

    It returns at most the given number of bytes, and none at the end.

    :raises Invalid: the body is no such form, is incomplete, or has not just one file; raised while
        reading (400).
    """
    return _reader(islice(_pieces(read, boundary), 1, None))


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    rest = b""

    def read_piece(size: int) -> bytes:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return b""
            rest = piece
        part, rest = rest[:size], rest[size:]
        return part

    return read_piece


def _pieces(
    read: Callable[[int], bytes], boundary: str, fields: dict[str, bytes] | None = None
) -> Iterator[bytes]:
    """Yield the name of the file, and then its data.

    :param fields: gets the fields before the file; None: they are passed over.
    """
    if not boundary:
        raise Invalid("The Content-Type of the form has no boundary.")
    # The limit is on what is held at once: of a file, that is a piece.
    decoder = multipart.MultipartDecoder(
        boundary.encode("latin-1", "replace"), 4 * READ_BYTES, max_parts=MAX_PARTS
    )
    files, is_file, field = 0, False, ""
    try:
        while not isinstance(event := decoder.next_event(), multipart.Epilogue):
            if isinstance(event, multipart.NeedData):
                decoder.receive_data(read(READ_BYTES) or None)
            elif isinstance(event, multipart.File):
                files, is_file = files + 1, True
                if files > 1:
                    raise Invalid("The form has several files; send one.")
                yield event.filename.encode("utf-8", "replace")
            elif isinstance(event, multipart.Field):
                is_file, field = False, event.name
            elif isinstance(event, multipart.Data) and is_file:
                yield event.data
            elif isinstance(event, multipart.Data) and fields is not None and not files:
                fields[field] = fields.get(field, b"") + event.data
                if sum(map(len, fields.values())) > READ_BYTES:
                    raise Invalid(
                        Message(
                            "The fields of the form are larger than %(limit)s bytes.",
                            limit=f"{READ_BYTES:,}",
                        )
                    )
    except (ValueError, RequestEntityTooLarge) as error:
        raise Invalid("The multipart data is incomplete or corrupt.") from error
    if not files:
        raise Invalid("The form has no file.")

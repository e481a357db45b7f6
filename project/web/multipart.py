"""The one file of a multipart/form-data body (RFC 7578), read while it arrives."""

from collections.abc import Callable, Iterator

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio import multipart

from project.errors import Invalid

READ_BYTES = 65_536
MAX_PARTS = 20


def read_file(read: Callable[[int], bytes], boundary: str) -> Callable[[int], bytes]:
    """Return a function that reads the file; other fields are passed over.

    It returns at most the given number of bytes, and none at the end.

    :raises Invalid: the body is no such form, is incomplete, or has not just one file; raised while
        reading (400).
    """
    pieces, rest = _pieces(read, boundary), b""

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


def _pieces(read: Callable[[int], bytes], boundary: str) -> Iterator[bytes]:
    if not boundary:
        raise Invalid("The Content-Type of the form has no boundary.")
    # The limit is on what is held at once: of a file, that is a piece.
    decoder = multipart.MultipartDecoder(
        boundary.encode("latin-1", "replace"), 4 * READ_BYTES, max_parts=MAX_PARTS
    )
    files, is_file = 0, False
    try:
        while not isinstance(event := decoder.next_event(), multipart.Epilogue):
            if isinstance(event, multipart.NeedData):
                decoder.receive_data(read(READ_BYTES) or None)
            elif isinstance(event, multipart.File):
                files, is_file = files + 1, True
                if files > 1:
                    raise Invalid("The form has several files; send one.")
            elif isinstance(event, multipart.Field):
                is_file = False
            elif isinstance(event, multipart.Data) and is_file:
                yield event.data
    except (ValueError, RequestEntityTooLarge) as error:
        raise Invalid("The multipart data is incomplete or corrupt.") from error
    if not files:
        raise Invalid("The form has no file.")

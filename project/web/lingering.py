"""Lingering close: closes connections whose clients may still be sending.

A server that closes a connection with unread bytes resets it, and the client may lose the response
(RFC 9112 section 9.6). So only the sending half is closed at first, and what still arrives is
discarded. gunicorn does this too, for 2 s, but in the thread that accepts connections: forty
clients that keep their end open would block all others for seconds.
"""

import socket
from contextlib import suppress
from threading import BoundedSemaphore, Thread
from time import monotonic

SECONDS = 2  # how long a client may continue to send
MAX_BYTES = 64 * 1024 * 1024  # how much is discarded per client
MAX_CONNECTIONS = 100  # at the same time, per process, each in a thread
CHUNK_BYTES = 65_536

_places = BoundedSemaphore(MAX_CONNECTIONS)


def close(connection: socket.socket) -> None:
    """Close a connection without blocking; immediately if there are already too many.

    A process that ends waits for the connections that linger, at most 2 s.
    """
    try:
        connection.shutdown(socket.SHUT_WR)
        # Other holders of the old object find it closed.
        leaving = socket.socket(fileno=connection.detach())
    except OSError:  # the client is gone
        connection.close()
        return
    if not _places.acquire(blocking=False):
        leaving.close()
        return
    try:
        Thread(target=_discard, args=[leaving], name="lingering").start()
    except RuntimeError:  # no thread can be started
        _places.release()
        leaving.close()


def _discard(connection: socket.socket) -> None:
    """Discard what arrives until the client closes the connection; then close it."""
    until, left = monotonic() + SECONDS, MAX_BYTES
    with suppress(OSError), connection:
        while left > 0 and (seconds := until - monotonic()) > 0:
            connection.settimeout(seconds)
            if not (data := connection.recv(CHUNK_BYTES)):
                break
            left -= len(data)
    _places.release()

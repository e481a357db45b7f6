"""Lingering close: closes connections whose clients may still be sending.

A server that closes a connection with unread bytes resets it, and the client may lose the response
(RFC 9112 section 9.6). So only the sending half is closed at first, and what still arrives is
discarded. gunicorn does this too, for 2 s, but in the thread that accepts connections: forty
clients that keep their end open would block all others for seconds.
"""

import selectors
import socket
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic

SECONDS = 2  # how long a client may continue to send
MAX_BYTES = 64 * 1024 * 1024  # how much is discarded per client
MAX_CONNECTIONS = 100  # at the same time, per process
ROUND_SECONDS = 0.05  # the longest time until a new connection is noticed
CHUNK_BYTES = 65_536


class _Leaving:
    """A connection that is read until the client closes it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.until = monotonic() + SECONDS
        self._left = MAX_BYTES

    def has_ended(self) -> bool:
        """Discard what has arrived; return whether to close the connection now."""
        try:
            data = self.connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._left -= len(data)
        return not data or self._left <= 0


class Lingering:
    """Closes connections in a thread that runs while there are any.

    It is not a daemon thread: a process that ends waits for it, at most 2 s.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._new: deque[_Leaving] = deque()
        self._count = 0

    def close(self, connection: socket.socket) -> None:
        """Close a connection without blocking; immediately if there are already too many."""
        try:
            connection.shutdown(socket.SHUT_WR)
            # Other holders of the old object find it closed.
            leaving = _Leaving(socket.socket(fileno=connection.detach()))
        except OSError:  # the client is gone
            connection.close()
            return
        if leaving.has_ended() or not self._take(leaving):
            leaving.connection.close()

    def _take(self, leaving: _Leaving) -> bool:
        with self._lock:
            if self._count >= MAX_CONNECTIONS:
                return False
            if self._count == 0:
                try:
                    Thread(target=self._run, name="lingering").start()
                except RuntimeError:  # no thread can be started
                    return False
            self._count += 1
            self._new.append(leaving)
            return True

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            while True:
                while self._new:
                    leaving = self._new.popleft()
                    selector.register(leaving.connection, selectors.EVENT_READ, leaving)
                for key, _events in selector.select(ROUND_SECONDS):
                    if key.data.has_ended():
                        key.data.until = 0
                overdue = [
                    key.data for key in selector.get_map().values() if key.data.until <= monotonic()
                ]
                for leaving in overdue:
                    selector.unregister(leaving.connection)
                    with suppress(OSError):
                        leaving.connection.close()
                with self._lock:
                    self._count -= len(overdue)
                    if self._count == 0:
                        return


close = Lingering().close

"""Connections that the server has done with, and whose clients may still send.

A server that closes a connection with bytes unread resets it, and the answer may be lost with it
(RFC 9112 section 9.6). So only the sending half is closed at first, and what still comes is thrown
away. gunicorn does this too, for 2 s, but in the thread that accepts its connections: forty clients
that keep their end open would hold up all others for seconds.
"""

import selectors
import socket
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic

SECONDS = 2  # for which a client may go on sending
MAX_BYTES = 64 * 1024 * 1024  # that are thrown away for one client
MAX_CONNECTIONS = 100  # at once, in a process
ROUND_SECONDS = 0.05  # after which a connection that is new here is noticed
CHUNK_BYTES = 65_536


class _Leaving:
    """A connection that is read until its end."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.until = monotonic() + SECONDS
        self._left = MAX_BYTES

    def has_ended(self) -> bool:
        """Throw away what has arrived; say whether nothing more is to be expected."""
        try:
            data = self.connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._left -= len(data)
        return not data or self._left <= 0


class Lingering:
    """Closes connections, in a thread that is there while there are any.

    The thread is no daemon: a process that ends waits for it, 2 s at most.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._new: deque[_Leaving] = deque()
        self._count = 0

    def close(self, connection: socket.socket) -> None:
        """Close a connection without waiting: at once where there are too many already."""
        try:
            connection.shutdown(socket.SHUT_WR)
            # Whoever still holds the old object finds it closed.
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
                except RuntimeError:  # no thread is to be had
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

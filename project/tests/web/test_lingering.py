"""How connections are closed; e2e/test_server.py tries it on whole servers."""

import socket
import threading
from unittest import TestCase, mock

from project.web import lingering


class LingeringTests(TestCase):
    """What the client of a connection finds that was closed here."""

    def setUp(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname(), 5)
            self.server, _address = listener.accept()
        self.addCleanup(self.server.close)
        self.addCleanup(self.client.close)

    def close(self) -> None:
        """Write an answer, and close the connection."""
        self.server.sendall(b"answer")
        lingering.close(self.server)

    def join(self) -> None:
        """Wait until nothing lingers."""
        for thread in threading.enumerate():
            if thread.name == "lingering":
                thread.join(10)
                self.assertFalse(thread.is_alive())

    def test_client_that_still_sends_gets_the_answer(self):
        self.client.sendall(b"x" * 100_000)
        self.close()
        self.client.sendall(b"x" * 5_000_000)

        self.assertEqual(self.client.recv(100), b"answer")
        self.assertEqual(self.client.recv(100), b"")
        self.client.close()
        self.join()

    def test_client_that_sends_on_is_cut_off(self):
        for limit, value in [("SECONDS", 0.01), ("MAX_BYTES", 1)]:
            with self.subTest(limit), mock.patch.object(lingering, limit, value):
                self.setUp()
                self.client.sendall(b"x" * 100)
                self.close()
                self.join()

                with self.assertRaises(ConnectionError):
                    for _ in range(100):
                        self.client.sendall(b"x" * 1_000_000)

    def test_connection_beyond_the_bound_is_closed_at_once(self):
        with mock.patch.object(lingering, "_places", threading.BoundedSemaphore(0)):
            self.close()

        self.join()
        self.assertEqual(self.server.fileno(), -1)
        self.assertEqual(self.client.recv(100), b"answer")
        self.assertEqual(self.client.recv(100), b"")

    def test_connection_is_closed_where_no_thread_is_to_be_had(self):
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError):
            self.close()

        self.assertEqual(self.client.recv(100), b"answer")
        self.assertEqual(self.client.recv(100), b"")

    def test_place_is_free_again_when_a_connection_is_closed(self):
        with mock.patch.object(lingering, "_places", threading.BoundedSemaphore(1)):
            for _ in range(2):
                self.client.sendall(b"x" * 100_000)
                self.close()
                self.client.sendall(b"x" * 5_000_000)
                self.assertEqual(self.client.recv(100), b"answer")
                self.client.close()
                self.join()
                self.setUp()

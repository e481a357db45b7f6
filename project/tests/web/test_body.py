"""A request's body, as gunicorn reads it from a socket; e2e/test_server.py tries whole servers."""

import socket
from typing import Any
from unittest import mock

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from project.tests.base import BaseTestCase
from project.web import body

CSV = b"username,email\nada,ada@example.com\n"


class BodyTests(BaseTestCase):
    """What a client that stops, or that never comes to an end, gets for an answer."""

    def setUp(self) -> None:
        super().setUp()
        self.client_end, self.server_end = socket.socketpair()
        self.addCleanup(self.client_end.close)
        self.addCleanup(self.server_end.close)

    def send(self, sent: bytes, length: int, path: str = "/users/import") -> Any:
        """Send a part of a body to the app, and leave the connection open."""
        self.client_end.sendall(sent)
        self.stream = Body(LengthReader(SocketUnreader(self.server_end), length))
        environ = {
            "wsgi.input": self.stream,
            "wsgi.input_terminated": True,
            "gunicorn.socket": self.server_end,
            "CONTENT_LENGTH": str(length),
        }
        return self.client.post(path, content_type="text/csv", environ_overrides=environ)

    def test_body_that_stops_coming_is_refused(self):
        with mock.patch.object(body, "SILENCE_SECONDS", 0.1):
            response = self.send(CSV, length=1000)

        self.assertEqual(response.status_code, 400)
        self.assertIn("The body is incomplete", response.json["message"])
        self.assertTrue(self.stream.failed)
        self.assertIsNone(self.server_end.gettimeout())

    def test_body_that_nobody_wants_is_not_waited_for(self):
        with mock.patch.object(body, "SILENCE_SECONDS", None):  # waiting would never end
            response = self.send(CSV, length=1000, path="/users/import?no=parameter")

        self.assertEqual(response.status_code, 400)
        self.assertIn("no", response.json["message"])
        self.assertTrue(self.stream.failed)

    def test_connection_of_a_body_that_was_read_goes_on(self):
        for path in ["/users/import", "/users/import?no=parameter"]:
            self.send(CSV, len(CSV), path)

            self.assertFalse(self.stream.failed)
            self.client_end.sendall(b"next")
            self.assertEqual(self.server_end.recv(4), b"next")

    def test_large_body_that_nobody_wants_is_not_read(self):
        response = self.send(CSV, length=1_000_000, path="/users/import?no=parameter")

        self.assertEqual(response.status_code, 400)
        self.assertTrue(self.stream.failed)
        self.assertEqual(self.server_end.recv(1000), CSV)

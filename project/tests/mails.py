"""A mail server for tests, which may refuse or be slow. It stands on the standard library alone."""

from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Self


class MailServer(ThreadingTCPServer):
    """Accepts mails on a free port of 127.0.0.1; a context manager.

    :ivar replies: the answer to a command, such as ``{"RCPT": "550 Unknown"}``; by default, it
        agrees.
    :ivar mails: what it has accepted.
    :ivar before_data: called before a mail is accepted.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        self.replies: dict[str, str] = {}
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.before_data: Callable[[], Any] = lambda: None
        super().__init__(("127.0.0.1", port), _Handler)
        self.port: int = self.server_address[1]

    def __enter__(self) -> Self:
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.say("220 ready")
        for line in self.rfile:
            word = line.split()[0].decode().upper()
            if word == "RCPT":
                self.server.recipients.append(line.split(b"<")[1].split(b">")[0].decode())
            if reply := self.server.replies.get(word):
                self.say(reply)
            elif word == "DATA":
                self.say("354 go on")
                content = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.before_data()
                message = message_from_bytes(content, policy=policy.default)
                self.server.mails.append(message)
                self.say("250 accepted")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 yes")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

"""The mail server in ``SMTP_URL`` and the sender in ``MAIL_FROM``. Knows no settings."""

from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

PORTS = {"smtp": 25, "smtps": 465}
STARTTLS_PORT = 587
FORMS = "smtp://HOST, smtp://USER:PASSWORD@HOST?starttls or smtps://USER:PASSWORD@HOST"


@dataclass(frozen=True)
class MailServer:
    """A server that takes mails.

    :param tls: whether the connection begins with TLS.
    :param starttls: whether it changes to TLS before anything is sent.
    """

    host: str
    port: int
    user: str
    password: str
    tls: bool
    starttls: bool


def parse_server(text: str) -> MailServer:
    """Parse the URL of a mail server.

    :raises ValueError: it is none, or would send a password without TLS to another host; the
        message does not repeat the URL, which may hold a password.
    """
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError(f"it must have the form {FORMS}.")
    if parts.query not in {"", "starttls"} or parts.fragment:
        raise ValueError("starttls is the only option.")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("it must have both a user and a password, or neither.")
    tls, starttls = parts.scheme == "smtps", parts.query == "starttls"
    if tls and starttls:
        raise ValueError("smtps:// begins with TLS; remove starttls.")
    if parts.username and not (tls or starttls or is_loopback(parts.hostname)):
        raise ValueError("the password would be sent without TLS; add ?starttls or use smtps://.")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("ports are 1 to 65535.")
    return MailServer(
        parts.hostname,
        port or (STARTTLS_PORT if starttls else PORTS[parts.scheme]),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        tls,
        starttls,
    )


def check_sender(text: str) -> None:
    """Check the sender of mails, such as ``Directory <directory@example.com>``.

    :raises ValueError: it is none.
    """
    _name, address = parseaddr(text)
    local, separator, domain = address.rpartition("@")
    if not (text.isprintable() and local and separator and domain and address.isascii()):
        raise ValueError("it must have the form NAME <ADDRESS>, or be an address.")


def is_loopback(host: str) -> bool:
    """Return whether a host is this one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The origins of pages, in the form in which browsers send them (RFC 6454 section 6.2)."""

import re
from ipaddress import IPv4Address, IPv6Address

DEFAULT_PORTS = {"http": "80", "https": "443"}
HOST_LENGTH = 253
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_IPV6 = re.compile(r"\[([0-9a-f:.]+)\]")


def check(origin: str) -> None:
    """Check that browsers may send exactly this origin; another would never match.

    :raises ValueError: it is none, or one of many pages; the message says what to write.
    """
    if "@" in origin:  # not repeated, since it may hold a password
        raise ValueError("an origin must not have a user or a password.")
    if problem := _problem(origin):
        raise ValueError(f"{origin!r}: {problem}")


def _problem(origin: str) -> str | None:
    if "*" in origin:
        return "* would allow pages of others; write each origin."
    if origin == "null":
        return "it would allow local files and sandboxed pages of anybody."
    if "," in origin:
        return "separate origins by spaces; no commas."
    if not origin.isascii():
        return "it has characters outside ASCII; write the host's name as xn--…"
    if origin != origin.lower():
        return f"browsers send lower case: {origin.lower()}"
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in DEFAULT_PORTS:
        return "an origin must begin with http:// or https://."
    authority = re.split(r"[/?#\\]", rest)[0]
    if authority != rest:
        return f"an origin ends after host and port: {scheme}://{authority}"
    host, port = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(.*))?", authority).groups()  # type: ignore[union-attr]
    return _host_problem(host) or (_port_problem(scheme, host, port) if port is not None else None)


def _port_problem(scheme: str, host: str, port: str) -> str | None:
    if port == DEFAULT_PORTS[scheme]:
        return f"browsers leave out the default port: {scheme}://{host}"
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65_535:
        return f"{port!r} is not a port."
    return None


def _host_problem(host: str) -> str | None:
    try:
        if address := _IPV6.fullmatch(host):
            browsers = f"[{IPv6Address(address[1])}]"
            return None if host == browsers else f"browsers shorten it; write {browsers}"
        if not _NAME.fullmatch(host) or len(host) > HOST_LENGTH:
            raise ValueError(host)
        if host.rpartition(".")[2].isdigit():  # browsers take such a host as an address
            IPv4Address(host)
    except ValueError:
        return f"{host!r} is not a host."
    return None

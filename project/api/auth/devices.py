"""Names the program and the system of a client by its ``User-Agent``.

A few rules are enough: people recognise their own devices by them, and nothing is decided by them.
A library would bring thousands of patterns, which change every month.
"""

import re
from typing import NamedTuple

from project.web.languages import gettext

# The first that matches counts: most browsers also call themselves Chrome or Safari.
_BROWSERS = (
    (r"\bEdg(e|A|iOS)?/", "Edge"),
    (r"\bOPR/|\bOpera\b", "Opera"),
    (r"\bSamsungBrowser/", "Samsung Internet"),
    (r"\bVivaldi/", "Vivaldi"),
    (r"\bMicroMessenger/", "WeChat"),
    (r"\b(Firefox|FxiOS)/", "Firefox"),
    (r"\b(Chrome|CriOS|HeadlessChrome|Chromium)/", "Chrome"),
    (r"\bSafari/", "Safari"),
)
_SYSTEMS = (
    (r"\biPhone\b", "iPhone"),
    (r"\biPad\b", "iPad"),
    (r"\bAndroid\b", "Android"),
    (r"\bWindows\b", "Windows"),
    (r"\bCrOS\b", "ChromeOS"),
    (r"\bMac OS X\b|\bMacintosh\b", "macOS"),
    (r"\bLinux\b", "Linux"),
)
_PRODUCT = re.compile(r"(?!Mozilla/)[\w.+-]{1,40}(?=/|$|\s)", re.ASCII)


class Device(NamedTuple):
    """What is known of a client; an empty text: it is not known."""

    program: str
    system: str


def read_device(user_agent: str | None) -> Device:
    """Return the program and the system that a ``User-Agent`` names."""
    text = user_agent or ""
    program = _first(_BROWSERS, text)
    if not program and (product := _PRODUCT.match(text)):
        program = product[0]  # curl/8.5.0, or a client of one's own
    return Device(program, _first(_SYSTEMS, text))


def _first(rules: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in rules if re.search(pattern, text)), "")


def device_words(user_agent: str | None) -> str:
    """Return the device that a ``User-Agent`` names, in the person's language."""
    program, system = read_device(user_agent)
    if program and system:
        return str(gettext("%(program)s on %(system)s", program=program, system=system))
    return program or system or str(gettext("Unknown device"))

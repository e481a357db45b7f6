"""Puts what was measured into docs/performance.md, between its markers."""

import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from project.clock import utcnow

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def conditions(*packages: str) -> str:
    """Return when and on what this was measured."""
    database = subprocess.run(["mariadbd", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"Ver ([\d.]+)", database)
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Measured {utcnow():%Y-%m-%d} with Python {platform.python_version()},"
        f" MariaDB {found[1] if found else '?'}, {names}."
    )


def publish(name: str, text: str) -> None:
    """Print a part of the page, and put it where the page has its markers.

    :param name: of the markers, ``<!-- name -->`` and ``<!-- /name -->``.
    """
    print(text, flush=True)
    page = PAGE.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    head, _, rest = page.partition(start)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{start}\n{text}\n\n{end}{tail}", encoding="utf-8")

"""Say where the time of `GET /users/<id>` goes, by what the threads of the shipped service do.

Usage: python -m bench.hot_path [--seconds N]

py-spy looks at the workers a thousand times a second while 16 clients ask; each look that finds a
thread at work, in Python or in the kernel on its behalf, counts for the layer whose code is on top.
"""

import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from bench import load, report
from bench.contest import SERVICE
from bench.workloads import READS, learn
from e2e.processes import GUNICORN, MariaDB, manage, served_process
from e2e.round_trip import write_rows

USERS = 10_000
LOOKS_A_SECOND = 1000
# The first that the file of the topmost frame, or of one that called it, has in its path.
LAYERS = {
    "PyMySQL": "driver (PyMySQL, sockets)",
    "pymysql": "driver (PyMySQL, sockets)",
    "sqlalchemy": "SQLAlchemy",
    "prometheus_client": "metrics (prometheus-client)",
    "structlog": "log (structlog)",
    "orjson": "JSON",
    "json_provider": "JSON",
    "project/": "our code",
    "flask": "Flask and Werkzeug",
    "werkzeug": "Flask and Werkzeug",
    "blinker": "Flask and Werkzeug",
    "gunicorn": "gunicorn",
    "concurrent/futures": "gunicorn",
    "selectors": "gunicorn",
}


def layer_of(stack: str) -> str:
    """Return the layer of a stack of frames, ``name (file:line)`` each, the topmost last."""
    for frame in reversed(stack.split(";")):
        for part, layer in LAYERS.items():
            if part in frame:
                return layer
    return "Python itself"


def look(seconds: int) -> Counter[str]:
    """Return how many looks found each layer at work."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="users-hot-path-")))
        database = stack.enter_context(MariaDB())
        rows = folder / "users.csv"
        write_rows(rows, USERS)
        manage("db", "upgrade", DATABASE_URL=database.url)
        manage("import_users", str(rows), DATABASE_URL=database.url)
        environment = {**SERVICE, "ACCESS": "open", "DATABASE_URL": database.url}
        url, process = stack.enter_context(served_process(GUNICORN, **environment))
        stacks = folder / "stacks"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--subprocesses"]
        command += ["--pid", str(process.pid), "--format", "raw", "--output", str(stacks)]
        command += ["--rate", str(LOOKS_A_SECOND), "--duration", str(seconds), "--gil"]
        watcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        requests = READS["one user"](learn(url, {}), Random(1))
        pids = process.pid, database.pid
        load.drive(url, requests, folder / "requests", pids, seconds + 2, {})
        watcher.wait()
        found: Counter[str] = Counter()
        for line in stacks.read_text().splitlines():
            frames, _, count = line.rpartition(" ")
            found[layer_of(frames)] += int(count)
        return found


def main() -> None:
    """Look, and publish."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="default: 20")
    found = look(parser.parse_args().seconds)
    rows = [(layer, f"{100 * count / found.total():.0f} %") for layer, count in found.most_common()]
    conditions = report.conditions("Flask", "SQLAlchemy", "PyMySQL", "gunicorn", "py-spy")
    text = f"{conditions} {found.total():,} looks, {load.CLIENTS} clients."
    report.publish("hot path", f"{text}\n\n{report.table(['layer', 'share'], rows)}")


if __name__ == "__main__":
    main()

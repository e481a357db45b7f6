"""Say where the time of a request goes, by what the threads of the shipped service do.

Usage: python -m bench.hot_path [--seconds N]

py-spy looks at the workers a thousand times a second while 16 clients ask; each look that finds a
thread that holds the interpreter counts for the layer whose code is on top.
"""

import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tqdm import tqdm

from bench import load, report
from bench.contest import SERVICE
from bench.workloads import WORKLOADS, headers_of, learn
from e2e.processes import GUNICORN, MariaDB, manage, served_process
from e2e.round_trip import write_rows

USERS = 10_000
LOOKS_A_SECOND = 1000
LOOKED_AT = ["one user", "deep page of 20", "the page /", "create", "update"]
# The first that the file of the topmost frame, or of one that called it, has in its path.
LAYERS = {
    "PyMySQL": "driver (PyMySQL, sockets)",
    "pymysql": "driver (PyMySQL, sockets)",
    "sqlalchemy": "SQLAlchemy",
    "prometheus_client": "metrics (prometheus-client)",
    "structlog": "log (structlog)",
    "orjson": "JSON",
    "json_provider": "JSON",
    "pydantic": "validation (Pydantic, email-validator)",
    "email_validator": "validation (Pydantic, email-validator)",
    "jinja2": "template (Jinja, WTForms)",
    "markupsafe": "template (Jinja, WTForms)",
    "wtf": "template (Jinja, WTForms)",
    "templates/": "template (Jinja, WTForms)",
    "itsdangerous": "signatures (itsdangerous)",
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


def look(seconds: int) -> dict[str, Counter[str]]:
    """Return how many looks found each layer at work, by workload."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="users-hot-path-")))
        database = stack.enter_context(MariaDB())
        rows = folder / "users.csv"
        write_rows(rows, USERS)
        manage("db", "upgrade", DATABASE_URL=database.url)
        manage("import_users", str(rows), DATABASE_URL=database.url)
        environment = {**SERVICE, "ACCESS": "open", "DATABASE_URL": database.url}
        url, process = stack.enter_context(served_process(GUNICORN, **environment))
        facts = learn(url, {})
        stacks = folder / "stacks"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--subprocesses"]
        command += ["--pid", str(process.pid), "--format", "raw", "--output", str(stacks)]
        command += ["--rate", str(LOOKS_A_SECOND), "--duration", str(seconds), "--gil"]
        found: dict[str, Counter[str]] = {}
        for workload in tqdm(LOOKED_AT, unit=" workloads"):
            requests = list(WORKLOADS[workload](facts, Random(1)))
            headers = headers_of(workload, facts)
            watcher = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            pids = process.pid, database.pid
            load.drive(url, requests, folder / "requests", pids, seconds + 2, headers)
            watcher.wait()
            found[workload] = Counter()
            for line in stacks.read_text().splitlines():
                frames, _, count = line.rpartition(" ")
                found[workload][layer_of(frames)] += int(count)
        return found


def main() -> None:
    """Look, and publish."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="for each workload; default: 20")
    found = look(parser.parse_args().seconds)
    layers = sum(found.values(), Counter[str]())
    rows = [
        (layer, *(f"{100 * each[layer] / each.total():.0f} %" for each in found.values()))
        for layer, _ in layers.most_common()
    ]
    conditions = report.conditions("Flask", "SQLAlchemy", "PyMySQL", "gunicorn", "py-spy")
    fewest = min(each.total() for each in found.values())
    text = f"{conditions} At least {fewest:,} samples each, {load.CLIENTS} clients."
    report.publish("hot path", f"{text}\n\n{report.table(['layer', *found], rows)}")


if __name__ == "__main__":
    main()

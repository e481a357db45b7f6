"""Measure the service beside what people would use instead, on one MariaDB, in alternate rounds.

Usage: python -m bench.contest [--check] [--only WORKLOAD] [--rounds N] [--seconds N] [--users N]
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tqdm import tqdm

from bench import load, plots, report
from bench.load import Round
from bench.workloads import WORKLOADS, Facts, answers, headers_of, learn
from e2e.processes import GUNICORN, ROOT, MariaDB, manage, served_process
from e2e.round_trip import write_rows

CONTENDERS = ROOT / "bench" / "contenders"
BIN = Path(sys.executable).parent
ADMIN, PASSWORD = "admin@example.com", "for the benchmark alone"
OURS, DOOR = "users-service", "… protected"
GRANIAN = "… under granian"
SERVICE = {
    "APP_SETTINGS": "project.config.ProductionConfig",
    "SECRET_KEY": "of-the-benchmark-" * 3,
    "WEB_CONCURRENCY": "2",
}
JSON_API = [name for name in WORKLOADS if name != "the page /"]
ROLES = """
    UPDATE users_test.users SET role = 'viewer', last_sign_in_at = created_at WHERE id % 3 = 0"""
READ_PATHS = ["one user", "first page of 20", "deep page of 20"]


@dataclass(frozen=True)
class Contender:
    """A server to measure.

    :param command: in which ``{port}`` becomes its port.
    :param workloads: what it is measured by.
    :param folder: in which it is started: gunicorn reads the gunicorn.conf.py that is there.
    :param has_key: whether its requests are sent with an administrator's API key.
    """

    command: list[str]
    workloads: list[str] = field(default_factory=lambda: list(WORKLOADS))
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    has_key: bool = False


def _program(name: str, *arguments: str) -> list[str]:
    return [str(BIN / name), *arguments]


CONTEST = {
    OURS: Contender(GUNICORN, environment={**SERVICE, "ACCESS": "open"}),
    DOOR: Contender(GUNICORN, JSON_API, {**SERVICE, "ACCESS": "protected"}, has_key=True),
    GRANIAN: Contender(
        _program(
            *("granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4"),
            *("--no-ws", "--port", "{port}", "manage:app"),
        ),
        environment={**SERVICE, "ACCESS": "open"},
    ),
    "naive": Contender(
        _program("gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "naive:app"),
        folder=CONTENDERS,
    ),
    "bare": Contender(
        _program("gunicorn", "--bind", "127.0.0.1:{port}", "bench.contenders.bare:app"),
        ["ping", "one user"],
        SERVICE,
    ),
    "fastapi": Contender(
        _program("uvicorn", "--workers", "2", "--port", "{port}", "fastapi_orm:app"),
        JSON_API,
        folder=CONTENDERS,
    ),
    "async-core": Contender(
        _program(
            *("uvicorn", "--workers", "2", "--no-access-log", "--port", "{port}"),
            "async_core:app",
        ),
        JSON_API,
        folder=CONTENDERS,
    ),
}

TARGETS: list[tuple[list[str], str, str, str, float]] = [
    # workloads, against whom, which figure, at least or at most, how many times
    (READ_PATHS, "fastapi", "rate", "≥", 1.8),
    (READ_PATHS, "fastapi", "server", "≤", 0.5),
    (READ_PATHS, "async-core", "rate", "≥", 1.0),
    (READ_PATHS, "async-core", "server", "≤", 0.9),
    (["create"], "fastapi", "rate", "≥", 1.3),
    (["create"], "async-core", "rate", "≥", 1.0),
    (["ping"], "fastapi", "rate", "≥", 0.9),
    (["one user"], "bare", "server", "≤", 2.0),
    ([name for name in WORKLOADS if name != "ping"], "naive", "rate", "≥", 2.3),
    (["one user"], "fastapi", "p99", "≤", 0.5),
]
PACKAGES = (
    "Flask",
    "SQLAlchemy",
    "PyMySQL",
    "gunicorn",
    "granian",
    "FastAPI",
    "uvicorn",
    "asyncmy",
)
FIGURES = {"rate": "requests/s", "server": "server CPU a request", "p99": "p99"}


@dataclass(frozen=True)
class Started:
    """A contender that runs, and what it holds."""

    contender: Contender
    url: str
    pid: int
    headers: dict[str, str]
    facts: Facts


class Contest:
    """All contenders, each with the same users in a database of its own."""

    def __init__(self, stack: ExitStack, users: int) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="users-bench-")))
        self._server = stack.enter_context(MariaDB())
        rows = self._folder / "users.csv"
        write_rows(rows, users)
        manage("db", "upgrade", DATABASE_URL=self._server.url)
        manage("import_users", str(rows), DATABASE_URL=self._server.url)
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(ROLES)
            connection.commit()
        account = ["--username", "Admin", "--email", ADMIN, "--password-stdin"]
        manage("create_admin", *account, input=PASSWORD, DATABASE_URL=self._server.url)
        self.started: dict[str, Started] = {}
        for name, contender in CONTEST.items():
            print(f"Starting {name}", file=sys.stderr)
            self.started[name] = self._start(contender)

    def _start(self, contender: Contender) -> Started:
        name = f"contender_{len(self.started)}"
        database = self._server.create_database(name)
        manage("db", "upgrade", DATABASE_URL=database)
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {name}.users SELECT * FROM users_test.users")
            connection.commit()
        headers = {"Authorization": f"Bearer {make_key(database)}"} if contender.has_key else {}
        metrics = self._folder / name
        metrics.mkdir()
        environment = {"DATABASE_URL": database, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        url, process = self._stack.enter_context(
            served_process(
                contender.command,
                self._folder / f"{name}.log",
                contender.folder,
                **environment,
                **contender.environment,
            )
        )
        lists = "first page of 20" in contender.workloads
        facts = learn(url, headers) if lists else self.started[OURS].facts
        return Started(contender, url, process.pid, headers, facts)

    def check(self) -> None:
        """Let each answer a request of each kind.

        :raises SystemExit: one answers otherwise than the service.
        """
        wanted: dict[str, object] = {}
        for name, each in self.started.items():
            told = answers(each.url, each.headers, each.facts, each.contender.workloads)
            wanted = wanted or told
            for request, answer in told.items():
                if answer != wanted[request]:
                    sys.exit(f"{name}, {request}:\n{answer}\nis not\n{wanted[request]}")
            print(f"{name} answers alike: {', '.join(told)}", flush=True)

    def measure(
        self, workloads: list[str], rounds: int, seconds: float
    ) -> dict[str, dict[str, Round]]:
        """Return the medians of each contender, by workload; a first round does not count."""
        turns = {
            workload: {
                name: partial(self._turn, name, workload, seconds)
                for name, started in self.started.items()
                if workload in started.contender.workloads
            }
            for workload in workloads
        }
        total = sum(map(len, turns.values())) * (rounds + 1)
        with tqdm(total=total, unit=" turns") as progress:
            return {
                workload: load.alternate(rounds, each, progress.update)
                for workload, each in turns.items()
            }

    def _turn(self, name: str, workload: str, seconds: float, number: int) -> Round:
        started = self.started[name]
        requests = WORKLOADS[workload](started.facts, Random(number))
        headers = started.headers | headers_of(workload, started.facts)
        pids = started.pid, self._server.pid
        return load.drive(started.url, requests, self._folder / "requests", pids, seconds, headers)


def make_key(database: str) -> str:
    """Return a new API key of the administrator."""
    scopes = ["--scope", "users:read", "--scope", "users:write"]
    return subprocess.run(
        [sys.executable, "manage.py", "create_key", ADMIN, "--name", "bench", *scopes],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def targets(results: dict[str, dict[str, Round]]) -> str:
    """Return the table of what the service was to reach, and has reached."""
    rows = []
    for workloads, other, name, sign, wanted in TARGETS:
        for workload in workloads:
            ours, theirs = (getattr(results[workload][each], name) for each in (OURS, other))
            times = ours / theirs
            met = times >= wanted if sign == "≥" else times <= wanted
            goal = f"{sign} {wanted}"
            rows.append(
                (workload, other, FIGURES[name], goal, f"{times:.2f}", "yes" if met else "**no**")
            )
    return report.table(["workload", "against", "figure", "target", "measured", "met"], rows)


def tables(results: dict[str, dict[str, Round]]) -> str:
    """Return a table for each workload."""
    head = ["", "requests/s", "× ours", "p50, ms", "p99, ms", "errors"]
    head += ["server CPU, µs", "× ours", "database CPU, µs", "memory, MiB"]
    parts = []
    for workload, each in results.items():
        ours = each[OURS]
        rows = [
            (
                name,
                report.figure(one.rate),
                times(one.rate, ours.rate),
                report.figure(one.p50),
                report.figure(one.p99),
                f"{one.errors:.0f}",
                report.figure(one.server),
                times(one.server, ours.server),
                report.figure(one.database),
                report.figure(one.memory),
            )
            for name, one in each.items()
        ]
        parts.append(f"**{workload}**\n\n{report.table(head, rows)}")
    return "\n\n".join(parts)


def times(one: float, other: float) -> str:
    """Return how many times the other one is."""
    return f"{one / other:.2f}" if other else "-"


def main() -> None:
    """Check that all answer alike; then measure, and publish."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check that all answer alike")
    parser.add_argument(
        "--only", action="append", choices=WORKLOADS, help="print this alone; repeat for more"
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count; default: 9")
    parser.add_argument("--seconds", type=float, default=2, help="of each turn; default: 2")
    parser.add_argument("--users", type=int, default=10_000, help="default: 10,000")
    options = parser.parse_args()
    with ExitStack() as stack:
        contest = Contest(stack, options.users)
        contest.check()
        if options.check:
            return
        results = contest.measure(options.only or list(WORKLOADS), options.rounds, options.seconds)
    if options.only:
        print(tables(results))
        return
    what = (
        f"{options.rounds} rounds of {options.seconds:g} s for each, in turn;"
        f" {options.users:,} users, {load.CLIENTS} clients, {os.cpu_count()} CPUs."
    )
    conditions = report.conditions(*PACKAGES)
    report.publish("targets", targets(results))
    report.publish("contest", f"{conditions} {what}\n\n{tables(results)}")
    plots.contest(results)


if __name__ == "__main__":
    main()

"""Measure the service beside what people would use instead, on one MariaDB, in alternate rounds.

Usage: python -m bench.contest [--check] [--only WORKLOAD] [--rounds N] [--seconds N] [--users N]
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import jwt
from tqdm import tqdm

from bench import load, plots, report
from bench.load import Round
from bench.workloads import WORKLOADS, Facts, answers, ask, headers_of, learn, without_label
from e2e.nginx import own_nginx
from e2e.processes import GUNICORN, ROOT, MariaDB, manage, served_process
from e2e.round_trip import write_rows

CONTENDERS = ROOT / "bench" / "contenders"
BIN = Path(sys.executable).parent
ADMIN, PASSWORD = "admin@example.com", "for the benchmark alone"
ACTIVE_USER = 2
SERVICE = {
    "APP_SETTINGS": "project.config.ProductionConfig",
    "SECRET_KEY": "of-the-benchmark-" * 3,
    "WEB_CONCURRENCY": "2",
}
OPEN, PROTECTED = {**SERVICE, "ACCESS": "open"}, {**SERVICE, "ACCESS": "protected"}
ROLES = """
    UPDATE users_test.users SET role = 'viewer', last_sign_in_at = created_at WHERE id % 3 = 0"""
LAST_CREATED = """
    SELECT after, address IS NULL, user_id = (SELECT MAX(id) FROM {0}.users)
    FROM {0}.audit_events WHERE action = 'user.created' ORDER BY id DESC LIMIT 1"""
READ_PATHS = ["one user", "first page of 20", "deep page of 20"]
TARGETED = [*READ_PATHS, "create"]
JSON_API = [name for name in WORKLOADS if name != "the page /"]


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


def sign_in(url: str) -> str:
    """Return a token of the administrator."""
    account = json.dumps({"email": ADMIN, "password": PASSWORD})
    body: Any = ask(url, f"POST /auth/login {account}", {"Content-Type": "application/json"})[2]
    return str(body["auth_token"])


def own_credentials(database: str, url: str) -> dict[str, str]:
    """Return what our protected service lets its clients in with."""
    return {"key": make_key(database), "token": sign_in(url)}


def their_credentials(_database: str, _url: str) -> dict[str, str]:
    """Return what the other protected servers let their clients in with."""
    return {"token": jwt.encode({"sub": str(ACTIVE_USER)}, SERVICE["SECRET_KEY"], "HS256")}


@dataclass(frozen=True)
class Server:
    """A server to measure.

    :param command: in which ``{port}`` becomes its port.
    :param folder: in which it is started: gunicorn reads the gunicorn.conf.py that is there.
    :param credentials: makes those of its clients, by kind, from the URLs of its database and of
        itself; None: it is open.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    credentials: Callable[[str, str], dict[str, str]] | None = None


def _program(name: str, *arguments: str) -> list[str]:
    return [str(BIN / name), *arguments]


_GRANIAN = _program(
    *("granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4"),
    *("--no-ws", "--port", "{port}", "manage:app"),
)
_UVICORN = _program("uvicorn", "--workers", "2", "--no-access-log", "--port", "{port}")
_CHECKED = {"SECRET_KEY": SERVICE["SECRET_KEY"]}
SERVERS = {
    "gunicorn": Server(GUNICORN, OPEN),
    "gunicorn, protected": Server(GUNICORN, PROTECTED, credentials=own_credentials),
    "granian": Server(_GRANIAN, OPEN),
    "granian, protected": Server(_GRANIAN, PROTECTED, credentials=own_credentials),
    "naive": Server(
        _program("gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "naive:app"),
        folder=CONTENDERS,
    ),
    "bare": Server(
        _program("gunicorn", "--bind", "127.0.0.1:{port}", "bench.contenders.bare:app"), SERVICE
    ),
    "fastapi": Server([*_UVICORN, "fastapi_orm:app"], folder=CONTENDERS),
    "fastapi, protected": Server(
        [*_UVICORN, "fastapi_orm:app"], _CHECKED, CONTENDERS, their_credentials
    ),
    "async-core": Server([*_UVICORN, "async_core:app"], folder=CONTENDERS),
    "async-core, protected": Server(
        [*_UVICORN, "async_core:app"], _CHECKED, CONTENDERS, their_credentials
    ),
}


@dataclass(frozen=True)
class Contender:
    """A server, and how it is asked.

    :param server: its name in ``SERVERS``.
    :param workloads: what it is measured by.
    :param credentials: the kind of those that are sent; empty: none.
    :param has_nginx: whether it is asked through our nginx, which keeps its connections.
    """

    server: str
    workloads: list[str] = field(default_factory=lambda: list(WORKLOADS))
    credentials: str = ""
    has_nginx: bool = False


def _ours(server: str) -> dict[str, Contender]:
    """Return our service under a server: open and protected, without nginx and with it."""
    protected = f"{server}, protected"
    return {
        server: Contender(server),
        f"{server}, key": Contender(protected, READ_PATHS, "key"),
        f"{server}, token": Contender(protected, READ_PATHS, "token"),
        f"{server}, nginx": Contender(server, TARGETED, has_nginx=True),
        f"{server}, key, nginx": Contender(protected, READ_PATHS, "key", has_nginx=True),
        f"{server}, token, nginx": Contender(protected, READ_PATHS, "token", has_nginx=True),
    }


FASTAPI, FASTAPI_TOKEN = "fastapi without access log", "fastapi without access log, token"
CONTEST = {
    **_ours("gunicorn"),
    **_ours("granian"),
    "naive": Contender("naive"),
    "bare": Contender("bare", ["ping", "one user"]),
    FASTAPI: Contender("fastapi", JSON_API),
    FASTAPI_TOKEN: Contender("fastapi, protected", READ_PATHS, "token"),
    "async-core": Contender("async-core", JSON_API),
    "async-core, token": Contender("async-core, protected", READ_PATHS, "token"),
}


@dataclass(frozen=True)
class Target:
    """How one contender must compare with another.

    :param figure: an attribute of ``Round``, as in ``FIGURES``.
    :param sign: ``≥`` or ``≤``.
    :param times: so many times the other's figure.
    """

    name: str
    other: str
    figure: str
    sign: str
    times: float
    workloads: list[str]


_KINDS = ("key", "token")
TARGETS = [
    Target("gunicorn", FASTAPI, "rate", "≥", 1.6, READ_PATHS),
    Target("gunicorn", FASTAPI, "server", "≤", 0.6, READ_PATHS),
    Target("gunicorn", FASTAPI, "p99", "≤", 0.3, ["one user"]),
    Target("granian", "async-core", "rate", "≥", 1.2, ["one user"]),
    Target("granian", "async-core", "rate", "≥", 1.0, READ_PATHS[1:]),
    *(Target(f"gunicorn, {kind}", FASTAPI_TOKEN, "rate", "≥", 2, READ_PATHS) for kind in _KINDS),
    *(
        Target(f"granian, {kind}", "async-core, token", "rate", "≥", 1.0, READ_PATHS)
        for kind in _KINDS
    ),
    *(
        Target(f"{server}, {kind}", server, "server", "≤", 1.2, ["one user"])
        for server in ("gunicorn", "granian")
        for kind in _KINDS
    ),
    Target("gunicorn", FASTAPI, "rate", "≥", 1.3, ["create"]),
    Target("granian", FASTAPI, "rate", "≥", 1.7, ["create"]),
    *(
        Target(name, name.removesuffix(", nginx"), "rate", "≥", 0.85, each.workloads)
        for name, each in CONTEST.items()
        if each.has_nginx
    ),
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
FIGURES = {"rate": "requests/s", "server": "server CPU", "p99": "p99"}


@dataclass(frozen=True)
class Running:
    """A server that runs, and what its clients send.

    :param fronts: where it is reached, and the processes there, directly and through nginx.
    :param credentials: the header with each kind; with the empty kind, none.
    """

    database: str
    fronts: dict[bool, tuple[str, list[int]]]
    credentials: dict[str, dict[str, str]]
    facts: Facts


class Contest:
    """All servers, each with the same users in a database of its own."""

    def __init__(self, stack: ExitStack, users: int) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="users-bench-")))
        # All servers together have more connections than the 151 of the default.
        self._server = stack.enter_context(MariaDB(["--max-connections=500"]))
        rows = self._folder / "users.csv"
        write_rows(rows, users)
        manage("db", "upgrade", DATABASE_URL=self._server.url)
        manage("import_users", str(rows), DATABASE_URL=self._server.url)
        self._execute(ROLES)
        account = ["--username", "Admin", "--email", ADMIN, "--password-stdin"]
        manage("create_admin", *account, input=PASSWORD, DATABASE_URL=self._server.url)
        self._running: dict[str, Running] = {}
        for name, server in SERVERS.items():
            print(f"Starting {name}", file=sys.stderr)
            self._running[name] = self._start(name, server)

    def _execute(self, statement: str) -> Any:
        """Execute a statement; return its first row."""
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()
            return cursor.fetchone()

    def _start(self, name: str, server: Server) -> Running:
        database = f"contender_{len(self._running)}"
        database_url = self._server.create_database(database)
        manage("db", "upgrade", DATABASE_URL=database_url)
        for table in ("users", "user_words"):
            self._execute(f"INSERT INTO {database}.{table} SELECT * FROM users_test.{table}")
        metrics = self._folder / database
        metrics.mkdir()
        environment = {"DATABASE_URL": database_url, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        url, process = self._stack.enter_context(
            served_process(
                server.command,
                self._folder / f"{database}.log",
                server.folder,
                **environment,
                **server.environment,
            )
        )
        fronts = {False: (url, [process.pid])}
        contenders = [each for each in CONTEST.values() if each.server == name]
        if any(each.has_nginx for each in contenders):
            front, nginx = self._stack.enter_context(own_nginx(url))
            fronts[True] = (front, [process.pid, nginx.pid])
        made = server.credentials(database_url, url) if server.credentials else {}
        credentials = {kind: {"Authorization": f"Bearer {text}"} for kind, text in made.items()}
        if any("first page of 20" in each.workloads for each in contenders):
            facts = learn(url, credentials.get("token", {}))
        else:
            facts = next(iter(self._running.values())).facts
        return Running(database, fronts, {"": {}, **credentials}, facts)

    def check(self) -> None:
        """Let each answer a request of each kind, and see that it records the new user.

        :raises SystemExit: one answers or records otherwise than the service.
        """
        wanted: dict[str, object] = {}
        for name, contender in CONTEST.items():
            running = self._running[contender.server]
            url, _pids = running.fronts[contender.has_nginx]
            credentials = running.credentials[contender.credentials]
            told = answers(url, credentials, running.facts, contender.workloads)
            if "create" in told:
                event = self._execute(LAST_CREATED.format(running.database))
                told["the event of create"] = event and (
                    json.loads(without_label(event[0])),
                    *event[1:],
                )
            for request, answer in told.items():
                if answer != wanted.setdefault(request, answer):
                    sys.exit(f"{name}, {request}:\n{answer}\nis not\n{wanted[request]}")
            print(f"{name} answers alike: {'; '.join(told)}", flush=True)

    def measure(
        self, workloads: list[str], rounds: int, seconds: float
    ) -> dict[str, dict[str, list[Round]]]:
        """Return the rounds of each contender, by workload; a first one does not count."""
        turns = {
            workload: {
                name: partial(self._turn, contender, workload, seconds)
                for name, contender in CONTEST.items()
                if workload in contender.workloads
            }
            for workload in workloads
        }
        total = sum(map(len, turns.values())) * (rounds + 1)
        with tqdm(total=total, unit=" turns") as progress:
            return {
                workload: load.alternate(rounds, each, progress.update)
                for workload, each in turns.items()
            }

    def _turn(self, contender: Contender, workload: str, seconds: float, number: int) -> Round:
        running = self._running[contender.server]
        requests = WORKLOADS[workload](running.facts, Random(number))
        url, pids = running.fronts[contender.has_nginx]
        headers = running.credentials[contender.credentials] | headers_of(workload, running.facts)
        if contender.has_nginx:
            headers |= {"X-Forwarded-For": "10.0.0.1"}
        pids = [*pids, self._server.pid]
        return load.drive(url, requests, self._folder / "requests", pids, seconds, headers)


def targets(results: dict[str, dict[str, list[Round]]]) -> str:
    """Return the table of what was to be reached, and has been; what has not is bold."""
    rows = []
    for target in TARGETS:
        cells = dict.fromkeys(TARGETED, "")
        for workload in target.workloads:
            one, other = (results[workload][name] for name in (target.name, target.other))
            ratio = round(load.times(one, other, target.figure), 2)
            met = ratio >= target.times if target.sign == "≥" else ratio <= target.times
            cells[workload] = f"{ratio:.2f}" if met else f"**{ratio:.2f}**"
        goal = f"{FIGURES[target.figure]} {target.sign} {target.times:g} ×"
        rows.append((target.name, goal, target.other, *cells.values()))
    return report.table(["", "target", "of", *TARGETED], rows)


def tables(results: dict[str, dict[str, Round]]) -> str:
    """Return a table of the requests/s and one of the CPU, and what failed."""

    def cell(name: str, workload: str, figure: str) -> str:
        one = results.get(workload, {}).get(name)
        return report.figure(getattr(one, figure)) if one else ""

    def table(columns: dict[str, tuple[str, str]]) -> str:
        rows = [(name, *(cell(name, *column) for column in columns.values())) for name in CONTEST]
        return report.table(["", *columns], rows)

    rates = {workload: (workload, "rate") for workload in results}
    failed = [
        f"{name}, {workload}: {one.errors:.0f}"
        for workload, each in results.items()
        for name, one in each.items()
        if one.errors
    ]
    return "\n\n".join(
        [
            "Requests a second:",
            table({**rates, "p99 of one user, ms": ("one user", "p99")}),
            "CPU of the server, and of nginx, in µs a request:",
            table({workload: (workload, "server") for workload in results}),
            f"Requests that failed: {'; '.join(failed) or 'none'}.",
        ]
    )


def main() -> None:
    """Check that all answer alike; then measure, and publish."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check that all answer alike")
    parser.add_argument(
        "--only", action="append", choices=WORKLOADS, help="print this alone; repeat for more"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count; default: 7")
    parser.add_argument("--seconds", type=float, default=1, help="of each turn; default: 1")
    parser.add_argument("--users", type=int, default=10_000, help="default: 10,000")
    options = parser.parse_args()
    with ExitStack() as stack:
        contest = Contest(stack, options.users)
        contest.check()
        if options.check:
            return
        measured = contest.measure(options.only or list(WORKLOADS), options.rounds, options.seconds)
    results = {
        workload: {name: load.medians(rounds) for name, rounds in each.items()}
        for workload, each in measured.items()
    }
    if options.only:
        print(tables(results))
        return
    what = (
        f"{options.rounds} rounds of {options.seconds:g} s for each, in turn;"
        f" {options.users:,} users, {load.CLIENTS} clients, {os.cpu_count()} CPUs."
    )
    conditions = report.conditions(*PACKAGES)
    report.publish("targets", targets(measured))
    report.publish("contest", f"{conditions} {what}\n\n{tables(results)}")
    plots.contest(
        {
            workload: {
                name: one
                for name, one in results[workload].items()
                if not CONTEST[name].has_nginx and CONTEST[name].credentials != "key"
            }
            for workload in TARGETED
        }
    )


if __name__ == "__main__":
    main()

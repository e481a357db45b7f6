"""Drives a server with wrk, and counts what that costs it and its database."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from random import Random
from statistics import median

ROOT = Path(__file__).parent
CLIENTS = 16
WRK_THREADS = 2
# The server's own default, 128 MB, does not hold a million users with their indexes.
DATABASE_OPTIONS = ["--innodb-buffer-pool-size=2G"]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What came of one round.

    :param rate: requests a second.
    :param p99: 99 of 100 answers came within so many milliseconds.
    :param errors: answers that were no success, and connections that broke.
    :param server: CPU time of all processes of the server, and of what is in front of it, in
        microseconds a request.
    :param database: that of the database.
    """

    rate: float
    p99: float
    errors: float
    server: float
    database: float


def drive(
    url: str,
    requests: Iterable[str],
    file: Path,
    pids: Sequence[int],
    seconds: float,
    headers: Mapping[str, str],
) -> Round:
    """Send requests from 16 clients that keep their connections.

    :param requests: lines of ``METHOD PATH [BODY]``, sent over and over.
    :param file: where they are written for wrk.
    :param pids: the first process of the server, of what is in front of it, and, last, of the
        database.
    :param seconds: for how long, in whole seconds, at least 1.
    :param headers: of all requests. With ``X-Forwarded-For``, they come from a hundred addresses.
    """
    file.write_text("".join(f"{request}\n" for request in requests), encoding="utf-8")
    command = ["wrk", f"-c{CLIENTS}", f"-t{WRK_THREADS}", f"-d{max(1, round(seconds))}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command += ["-s", str(ROOT / "requests.lua"), url, "--", str(file), str(WRK_THREADS)]
    before = [cpu_seconds(pid) for pid in pids]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    told = json.loads(result.stdout.splitlines()[-1])
    *server, database = (1e6 * each / max(1, told["requests"]) for each in spent)
    return Round(
        rate=told["requests"] / told["seconds"],
        p99=told["p99"],
        errors=told["refused"] + told["broken"],
        server=sum(server),
        database=database,
    )


def medians(rounds: list[Round]) -> Round:
    """Return the median of each figure; of errors, all."""
    values = {
        each.name: median(getattr(one, each.name) for one in rounds) for each in fields(Round)
    }
    return Round(**values | {"errors": sum(one.errors for one in rounds)})


def alternate(
    rounds: int, turns: Mapping[str, Callable[[int], Round]], tell: Callable[[], object]
) -> dict[str, list[Round]]:
    """Let each take its turn in each round, A B C C A B; return the rounds of each.

    The order differs from round to round, so that what disturbs the machine for a while, or comes
    back, meets all alike. One more round goes before, to fill caches and pools, and does not count.

    :param turns: by name, what runs the round with this number.
    :param tell: called after each turn, such as for a progress bar.
    """
    results: dict[str, list[Round]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in Random(number).sample(list(turns), len(turns)):
            results[name].append(turns[name](number))
            tell()
    return {name: each[1:] for name, each in results.items()}


def times(rounds: list[Round], others: list[Round], figure: str) -> float:
    """Return how many times another's figure one has: the median of what it is in each round.

    So a machine that is slower for some rounds is slower for both.

    :param figure: an attribute of ``Round``.
    """
    figures = attrgetter(figure)
    ratios: list[float] = [
        figures(one) / figures(other) for one, other in zip(rounds, others, strict=True)
    ]
    return median(ratios)


def family(pid: int) -> list[int]:
    """Return a process and all its children's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and all below it have taken, user and system."""
    ticks = 0
    for each in family(pid):
        fields_after_name = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields_after_name[11]) + int(fields_after_name[12])
    return ticks / TICKS_PER_SECOND

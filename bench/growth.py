"""Measure what each read costs by how many users there are.

Usage: python -m bench.growth [--rounds N] [--seconds N]
"""

import os
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tqdm import tqdm

from bench import load, plots, report
from bench.contest import SERVICE
from bench.load import DATABASE_OPTIONS, Round
from bench.workloads import READS, SEARCHES, Facts, headers_of, learn
from e2e.processes import GUNICORN, MariaDB, manage, served_process
from e2e.round_trip import write_rows

SIZES = [1_000, 100_000, 1_000_000]
MOST = 1.3
MEASURED = READS | SEARCHES


def measure(rounds: int, seconds: float) -> dict[str, dict[str, Round]]:
    """Return the medians of each read by the number of users, the sizes in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="users-growth-")))
        database = stack.enter_context(MariaDB(DATABASE_OPTIONS))
        started: dict[str, tuple[str, int, Facts]] = {}
        for size in SIZES:
            print(f"Making {size:,} users", file=sys.stderr)
            url = database.create_database(f"users_{size}")
            rows = folder / "users.csv"
            write_rows(rows, size)
            manage("db", "upgrade", DATABASE_URL=url)
            manage("import_users", str(rows), DATABASE_URL=url)
            environment = {**SERVICE, "ACCESS": "open", "DATABASE_URL": url}
            place, process = stack.enter_context(served_process(GUNICORN, **environment))
            started[f"{size:,}"] = place, process.pid, learn(place, {})

        def turn(workload: str, size: str, number: int) -> Round:
            place, pid, facts = started[size]
            requests = MEASURED[workload](facts, Random(number))
            headers = headers_of(workload, facts)
            pids = pid, database.pid
            return load.drive(place, requests, folder / "requests", pids, seconds, headers)

        results: dict[str, dict[str, Round]] = {}
        with tqdm(total=len(MEASURED) * len(SIZES) * (rounds + 1), unit=" turns") as progress:
            for workload in MEASURED:
                turns = {size: partial(turn, workload, size) for size in started}
                measured = load.alternate(rounds, turns, progress.update)
                results[workload] = {size: load.medians(each) for size, each in measured.items()}
        return results


def cost(one: Round) -> float:
    """Return the CPU time of a request, the server's and the database's."""
    return one.server + one.database


def main() -> None:
    """Measure, and publish."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="rounds that count; default: 4")
    parser.add_argument("--seconds", type=float, default=2, help="of each turn; default: 2")
    options = parser.parse_args()
    results = measure(options.rounds, options.seconds)
    head = ["CPU a request, µs", *(f"{size:,} users" for size in SIZES), "last ÷ first", "≤ 1.3"]
    rows = []
    for workload, by_size in results.items():
        costs = [cost(one) for one in by_size.values()]
        grown = costs[-1] / costs[0]
        met = "yes" if grown <= MOST else "**no**"
        rows.append((workload, *map(report.figure, costs), f"{grown:.2f}", met))
    what = (
        f"{options.rounds} rounds of {options.seconds:g} s for each, in turn, {load.CLIENTS}"
        f" clients, {os.cpu_count()} CPUs, {' '.join(DATABASE_OPTIONS)}."
    )
    conditions = report.conditions("Flask", "SQLAlchemy", "PyMySQL", "gunicorn")
    report.publish("growth", f"{conditions} {what}\n\n{report.table(head, rows)}")
    plots.growth(
        SIZES,
        {name: [cost(one) for one in by_size.values()] for name, by_size in results.items()},
    )


if __name__ == "__main__":
    main()

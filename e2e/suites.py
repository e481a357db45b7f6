"""Run suites, each a make target, and count their tests: `make test` and `make test-all`.

Each line of a suite begins with its name, and the last line counts the tests of all. A suite fails
as its tests do; one that ends badly without a failed test, such as a linter, counts as one failure,
and one without tests as one test.
"""

import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from e2e.processes import ROOT, find_chromium, find_program

# The longest first, so that none is left alone at the end.
TARGETS = [
    "test-page",
    "test-mariadb",
    "test-mysqlclient",
    "test-faults",
    "test-app",
    "test-server",
    "test-transfer",
    "test-openapi",
    "test-prefix",
    "test-newcomer",
    "test-nginx",
]


REPORT = re.compile(
    r"^={70}\n((?:FAIL|ERROR): .+?)\n-{70}\n(.+?)\s+(?=^={70}$|^-{70}\nRan )", re.M | re.S
)
"""unittest's report on a failed test: its name, and the traceback."""


class Outcome(NamedTuple):
    """What became of a suite; ``reports`` are the names and tracebacks of what failed."""

    passed: int
    failed: int
    seconds: int
    target: str
    reports: list[tuple[str, str]]


def available() -> list[str]:
    """Return the targets whose programs are on this machine; say what is left out.

    :raises SystemExit: something is left out, with CI=true.
    """
    needs = {
        "test-mariadb": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-mysqlclient": (
            all(map(find_program, ("mariadbd", "mariadb_config", "gcc"))),
            "compiler and headers for mysqlclient",
            "default-libmysqlclient-dev gcc mariadb-server pkg-config python3-dev",
        ),
        "test-faults": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-transfer": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-nginx": (find_program("nginx"), "nginx", "nginx-light"),
        "test-page": (find_chromium(), "Chromium", "chromium"),
        "test-prefix": (
            find_chromium() and find_program("nginx"),
            "Chromium or nginx",
            "chromium nginx-light",
        ),
    }
    missing = {target: words for target, (found, *words) in needs.items() if not found}
    if missing:
        names = ", ".join(f"{target} (no {name})" for target, (name, _) in missing.items())
        packages = " ".join(sorted({each for _, many in missing.values() for each in many.split()}))
        print(f"Left out: {names}. To have them: apt-get install {packages}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            sys.exit("With CI=true nothing may be left out.")
    return [target for target in TARGETS if target not in missing]


def run(target: str, jobs: int, prefix: str = "") -> Outcome:
    """Run a suite, and print its lines as they come.

    :param jobs: how many processes its tests may use.
    :param prefix: what each line begins with.
    """
    started, lines = time.monotonic(), []
    with subprocess.Popen(
        ["make", "--no-print-directory", f"JOBS={jobs}", target],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(f"{prefix}{line}", end="", flush=True)
            lines.append(line)
    output = "".join(lines)
    ran = sum(map(int, re.findall(r"^Ran (\d+) tests? in ", output, re.M)))
    ends = " ".join(re.findall(r"^FAILED \((.*)\)", output, re.M))
    failed = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", ends)))
    if process.returncode:
        failed = failed or 1
    ran = max(ran, failed, 1)
    seconds = round(time.monotonic() - started)
    return Outcome(ran - failed, failed, seconds, target, REPORT.findall(output))


def run_all(targets: Sequence[str]) -> list[Outcome]:
    """Run one suite in a process for each core, or as many suites at a time as there are cores."""
    cores = os.cpu_count() or 1
    if len(targets) == 1:
        return [run(targets[0], cores)]
    print(f"{len(targets)} suites, {cores} at a time: {' '.join(targets)}", flush=True)
    with ThreadPoolExecutor(cores) as pool:
        outcomes = list(pool.map(lambda target: run(target, 1, f"{target} | "), targets))
    for passed, failed, seconds, target, _ in outcomes:
        print(f"{target}: {passed} passed, {failed} failed in {seconds} s")
    return outcomes


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--all", action="store_true", help="and those whose programs are here")
    parser.add_argument("--without", metavar="TARGET", help="but not this one")
    parser.add_argument(
        "--results",
        metavar="FILE",
        help="add a line for each suite to this file, and what failed to FILE.failed",
    )
    options = parser.parse_args()
    chosen = [*options.targets, *(available() if options.all else [])]
    started = time.monotonic()
    outcomes = run_all([target for target in chosen if target != options.without])
    if options.results:
        with open(options.results, "a", encoding="utf-8") as results:
            results.writelines(f"{' '.join(map(str, outcome[:4]))}\n" for outcome in outcomes)
        with open(f"{options.results}.failed", "a", encoding="utf-8") as failures:
            for outcome in outcomes:
                for name, traceback in outcome.reports:
                    print(outcome.target, name, traceback[-600:], sep="\n", file=failures)
    passed, seconds = sum(each.passed for each in outcomes), time.monotonic() - started
    if failed := sum(each.failed for each in outcomes):
        names = " ".join(each.target for each in outcomes if each.failed)
        sys.exit(f"{failed} failed and {passed:,} passed in {seconds:,.0f} s: {names}")
    print(f"{passed:,} tests passed in {seconds:,.0f} s.")

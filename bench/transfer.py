"""Measure import and export side by side with what MariaDB does alone, and go the whole way.

Usage: python -m bench.transfer [USERS]; 1,000,000 by default. Prints a table in Markdown.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
import unittest
from importlib.metadata import version
from pathlib import Path

from e2e.processes import GUNICORN, MariaDB, find_program, manage, served_process
from e2e.round_trip import Client, make_round_trip, write_rows
from project.clock import utcnow

LOAD = """
    LOAD DATA LOCAL INFILE '{file}' INTO TABLE users CHARACTER SET utf8mb4
    FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\\r\\n'
    IGNORE 1 LINES (username, email, @active)
    SET active = @active = 'true', username_folded = LOWER(username), email_folded = LOWER(email),
        created_at = UTC_TIMESTAMP(), updated_at = UTC_TIMESTAMP()"""
SELECT = "SELECT id, username, email, active, created_at, updated_at FROM users ORDER BY id"


class Bench:
    """Measures on one MariaDB server; prints each figure when it is there."""

    def __init__(self, server: MariaDB, folder: Path, count: int) -> None:
        self.server, self.folder, self.count = server, folder, count
        self.rows, self.out = folder / "users.csv", folder / "out.csv"
        port = server.url.rpartition(":")[2].partition("/")[0]
        self.client = [find_program("mariadb") or "mariadb", "-h127.0.0.1", f"-P{port}", "-uroot"]
        self.client += ["--local-infile=1", "users_test", "-e"]

    def run(self) -> None:
        """Measure each way, on an empty table and then on a full one."""
        write_rows(self.rows, self.count)
        print("| what | seconds | users/s | times MariaDB's own | peak memory, MiB |")
        print("|---|---|---|---|---|", flush=True)
        self.empty()
        load = self.time([*self.client, LOAD.format(file=self.rows)], "`LOAD DATA`")
        self.empty()
        self.time(self.command("import_users", self.rows, "--dry-run"), "dry run", load)
        self.time(self.command("import_users", self.rows), "`import_users`", load)
        self.time(self.command("import_users", self.rows), "… of the same again", load)
        select = self.time([*self.client, SELECT], "`mariadb -e 'SELECT …'`")
        self.time(self.command("export_users", self.out, "--force"), "`export_users`, CSV", select)
        ndjson = self.folder / "out.ndjson"
        self.time(self.command("export_users", ndjson, "--force"), "`export_users`, NDJSON", select)
        self.empty()
        with served_process(GUNICORN, DATABASE_URL=self.server.url, WEB_CONCURRENCY="1") as (
            url,
            process,
        ):
            client = Client(url)
            started = time.monotonic()
            report = client.send(self.rows)
            self.tell("`POST /users/import`", time.monotonic() - started, load, peak(process.pid))
            assert report["created"] == self.count, report
            started = time.monotonic()
            client.fetch(self.out)
            self.tell("`GET /users/export`", time.monotonic() - started, select, peak(process.pid))

    def empty(self) -> None:
        """Make the tables anew."""
        manage("recreate_db", "--yes", DATABASE_URL=self.server.url)

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the words of a command of manage.py."""
        return [sys.executable, "manage.py", *map(str, arguments)]

    def time(self, command: list[str], name: str, base: float | None = None) -> float:
        """Run a program with its output in a file; tell and return the seconds."""
        environment = {**os.environ, "DATABASE_URL": self.server.url}
        with open(self.folder / "printed", "wb") as printed, open(os.devnull, "wb") as nowhere:
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=printed, stderr=nowhere, env=environment)
            _pid, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        self.tell(name, seconds, base, usage.ru_maxrss / 1024)
        return seconds

    def tell(self, name: str, seconds: float, base: float | None, memory: float) -> None:
        """Print a line of the table."""
        own = f"{seconds / base:.1f} | {memory:.0f}" if base else "1 | "
        print(f"| {name} | {seconds:.1f} | {self.count / seconds:,.0f} | {own} |", flush=True)


def peak(pid: int) -> float:
    """Return the largest memory of a server's worker so far, in MiB."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True)
    worker = int(children.stdout.split()[0])
    status = Path(f"/proc/{worker}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main(count: int) -> None:
    """Measure, then go the whole way."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("SQLAlchemy", "PyMySQL"))
    print(f"{utcnow():%Y-%m-%d}, {count:,} users, Python {platform.python_version()}, {versions},")
    print(subprocess.run(["mariadbd", "--version"], capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory(prefix="users-bench-") as name, MariaDB() as server:
        folder = Path(name)
        Bench(server, folder, count).run()
        second = server.create_database("users_2")
        started = time.monotonic()
        make_round_trip(unittest.TestCase(), count, (server.url, second), folder)
        seconds = time.monotonic() - started
        print(
            f"\nImported, listed, searched, exported, imported again: the same, in {seconds:.0f} s."
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)

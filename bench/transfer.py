"""Measure import and export side by side with what MariaDB does alone, on its default settings.

Usage: python -m bench.transfer [--round-trip] [USERS]; 1,000,000 by default. Fails when something
takes more memory or, beside MariaDB, more time than it may.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
import unittest
from argparse import ArgumentParser
from pathlib import Path

from bench import report
from e2e.processes import (
    GUNICORN,
    MariaDB,
    find_program,
    manage,
    peak_memory,
    served_process,
)
from e2e.round_trip import MAX_MEMORY_MIB, Client, make_round_trip, write_rows
from project.api.users.folding import fold_email
from project.api.users.words import words_of

LOAD = """
    LOAD DATA LOCAL INFILE '{file}' INTO TABLE users CHARACTER SET utf8mb4
    FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\\r\\n'
    IGNORE 1 LINES (username, email, @active)
    SET active = @active = 'true', username_folded = LOWER(username), email_folded = LOWER(email),
        created_at = UTC_TIMESTAMP(), updated_at = UTC_TIMESTAMP()"""
LOAD_WORDS = """
    LOAD DATA LOCAL INFILE '{file}' INTO TABLE user_words CHARACTER SET utf8mb4
    FIELDS TERMINATED BY ',' ESCAPED BY '' (word, user_id)"""
MAX_IMPORT_TIMES = 3
MAX_EXPORT_TIMES = 4
HEAD = ["what", "seconds", "users/s", "times MariaDB's own", "peak memory, MiB"]
SELECT = """
    SELECT id, username, email, active, created_at, updated_at, role, last_sign_in_at
    FROM users ORDER BY id"""


def write_words(rows: Path, words: Path) -> None:
    """Write the words of the search for the users of a file, whose ids are the numbers of rows."""
    with rows.open(encoding="utf-8", newline="") as source, words.open("w", encoding="utf-8") as to:
        for user_id, row in enumerate(csv.DictReader(source), 1):
            email = row["email"]
            for word in words_of(row["username"], email, fold_email(email)):
                to.write(f"{word},{user_id}\n")


class Bench:
    """Measures on one MariaDB server; says each figure when it is there."""

    def __init__(self, server: MariaDB, folder: Path, count: int) -> None:
        self.server, self.folder, self.count = server, folder, count
        self.lines: list[tuple[str, ...]] = []
        self.problems: list[str] = []
        self.most = MAX_IMPORT_TIMES  # times as long as MariaDB's own, of what is measured now
        self.rows, self.out = folder / "users.csv", folder / "out.csv"
        port = server.url.rpartition(":")[2].partition("/")[0]
        self.client = [find_program("mariadb") or "mariadb", "-h127.0.0.1", f"-P{port}", "-uroot"]
        self.client += ["--local-infile=1", "users_test", "-e"]

    def run(self) -> None:
        """Measure each way, on an empty table and then on a full one."""
        write_rows(self.rows, self.count)
        self.empty()
        words = self.folder / "words.csv"
        write_words(self.rows, words)
        load = self.time([*self.client, LOAD.format(file=self.rows)], "`LOAD DATA`")
        load += self.time([*self.client, LOAD_WORDS.format(file=words)], "… of their words")
        self.empty()
        self.time(self.command("import_users", self.rows, "--dry-run"), "dry run", load)
        self.time(self.command("import_users", self.rows), "`import_users`", load)
        self.time(self.command("import_users", self.rows), "… of the same again", load)
        select = self.time([*self.client, SELECT], "`mariadb -e 'SELECT …'`")
        self.most = MAX_EXPORT_TIMES
        self.time(self.command("export_users", self.out, "--force"), "`export_users`, CSV", select)
        ndjson = self.folder / "out.ndjson"
        self.time(self.command("export_users", ndjson, "--force"), "`export_users`, NDJSON", select)
        self.empty()
        with served_process(GUNICORN, DATABASE_URL=self.server.url, WEB_CONCURRENCY="1") as (
            url,
            process,
        ):
            client = Client(url)
            self.most, started = MAX_IMPORT_TIMES, time.monotonic()
            told = client.send(self.rows)
            seconds, memory = time.monotonic() - started, peak_memory(process.pid)
            self.tell("`POST /users/import`", seconds, load, memory)
            assert told["created"] == self.count, told
            self.most, started = MAX_EXPORT_TIMES, time.monotonic()
            client.fetch(self.out)
            seconds, memory = time.monotonic() - started, peak_memory(process.pid)
            self.tell("`GET /users/export`", seconds, select, memory)

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
        """Say how long it took, for the table as well, and note what is over its limit."""
        print(f"{name}: {seconds:.1f} s", file=sys.stderr)
        own = (f"{seconds / base:.1f}", f"{memory:.0f}") if base else ("1", "")
        self.lines.append((name, f"{seconds:.1f}", f"{self.count / seconds:,.0f}", *own))
        if base and seconds > self.most * base:
            self.problems.append(f"{name} takes over {self.most} times as long as MariaDB's own.")
        if base and memory > MAX_MEMORY_MIB:
            self.problems.append(f"{name} takes over {MAX_MEMORY_MIB} MiB of memory.")


def main(count: int, round_trip: bool) -> None:
    """Measure, and publish; go the whole way, if that is asked for."""
    with tempfile.TemporaryDirectory(prefix="users-bench-") as name, MariaDB() as server:
        folder = Path(name)
        bench = Bench(server, folder, count)
        bench.run()
        if round_trip:
            second = server.create_database("users_2")
            make_round_trip(unittest.TestCase(), count, (server.url, second), folder)
    what = f"{count:,} users, MariaDB's default settings."
    conditions = f"{report.conditions('SQLAlchemy', 'PyMySQL')} {what}"
    report.publish("transfer", f"{conditions}\n\n{report.table(HEAD, bench.lines)}")
    if bench.problems:
        sys.exit("\n".join(bench.problems))


if __name__ == "__main__":
    parser = ArgumentParser(description="Measure import and export beside MariaDB's own.")
    parser.add_argument("users", type=int, nargs="?", default=1_000_000, help="default: 1,000,000")
    parser.add_argument("--round-trip", action="store_true", help="then check the whole way")
    options = parser.parse_args()
    main(options.users, options.round_trip)

"""Starts and ends the servers that the suites talk to, all on free loopback ports."""

import getpass
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pymysql

from project.config import refuse_served_database

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
END_SECONDS = 20


def find_program(*names: str) -> str | None:
    """Return the path of the first of these programs that is installed; servers' folders too."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def find_chromium() -> str | None:
    """Return the path of Chromium, or of Chrome."""
    return find_program("chromium", "chromium-browser", "google-chrome")


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    log: Path,
    seconds: float = START_SECONDS,
) -> None:
    """Wait for a server to answer.

    :raises RuntimeError: it ended, or the seconds passed; the text ends with its log.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-5000:]}")
        time.sleep(0.05)


@contextmanager
def running(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own, and end the whole group afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(END_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


class MariaDB:
    """A MariaDB server on a data folder and a port of its own; a context manager.

    :param options: for the server's command line.
    :raises RuntimeError: MariaDB is not installed, or does not start.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options

    def __enter__(self) -> "MariaDB":
        self._stack = ExitStack()
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="users-mariadb-"))
        self._folder, self._port = Path(name), free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{self._port}/users_test"
        install, server = find_program("mariadb-install-db"), find_program("mariadbd")
        if not install or not server:
            raise RuntimeError("MariaDB is not installed: apt-get install mariadb-server")
        places = [f"--datadir={self._folder / 'data'}", f"--user={getpass.getuser()}"]
        accounts = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            [install, "--no-defaults", *places, *accounts], check=True, capture_output=True
        )
        self._command = [server, "--no-defaults", *places, f"--socket={self._folder / 'socket'}"]
        self._command += [f"--port={self._port}", "--bind-address=127.0.0.1"]
        self._command += [f"--tmpdir={self._folder}", *self._options]
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = self._folder / "log"
        self._process = self._stack.enter_context(running(self._command, log))
        wait_until(self._create_database, self._process, log)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop the server from running, while its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server run again."""
        self._process.send_signal(signal.SIGCONT)

    def connect(self) -> pymysql.Connection:
        """Return a connection of the server's administrator."""
        return pymysql.connect(host="127.0.0.1", port=self._port, user="root")

    def create_database(self, name: str) -> str:
        """Make one more database; return its URL."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return self.url.replace("users_test", name)

    def _create_database(self) -> bool:
        try:
            connection = self.connect()
        except pymysql.err.OperationalError:
            return False
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS users_test")
        return True


@contextmanager
def mariadb() -> Iterator[str]:
    """Run a MariaDB server whose data need not outlive a crash; give the URL of its database."""
    with MariaDB(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF"]) as server:
        yield server.url


@contextmanager
def test_database() -> Iterator[str]:
    """Give the URL of a migrated, empty database: DATABASE_TEST_URL's, or a SQLite file's.

    :raises RuntimeError: DATABASE_TEST_URL names the database that is served.
    """
    if not (url := os.environ.get("DATABASE_TEST_URL")):
        with tempfile.TemporaryDirectory(prefix="users-sqlite-") as folder:
            file = Path(folder, "users.db")
            file.write_bytes(_migrated_file())
            yield f"sqlite:///{file}"
        return
    refuse_served_database(url)
    manage("recreate_db", "--yes", DATABASE_URL=url)
    try:
        yield url
    finally:
        manage("db", "downgrade", "base", DATABASE_URL=url)


@cache
def _migrated_file() -> bytes:
    """Return a migrated, empty SQLite file: to migrate one for each test takes seconds."""
    with tempfile.TemporaryDirectory(prefix="users-sqlite-") as folder:
        file = Path(folder, "users.db")
        manage("recreate_db", "--yes", DATABASE_URL=f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes()


def manage(*arguments: str, input: str | None = None, **environment: str) -> None:
    """Run a command of manage.py.

    :param input: what it reads from its standard input.
    :raises CalledProcessError: it failed.
    """
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=input,
        text=True,
        stdout=subprocess.DEVNULL,
        check=True,
    )


GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "manage:app"]
RUNSERVER = [sys.executable, "manage.py", "runserver", "-p", "{port}", "--no-reload"]


@contextmanager
def served(command: list[str], log: Path | None = None, /, **environment: str) -> Iterator[str]:
    """Serve the application; give its URL, as served_process does."""
    with served_process(command, log, **environment) as (url, _process):
        yield url


@contextmanager
def served_process(
    command: list[str], log: Path | None = None, cwd: Path = ROOT, /, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the application; give its URL and the server's process.

    :param command: the server's, in which ``{port}`` becomes a free port, as in the environment.
    :param log: where its output goes; None: to a file that is removed afterwards.
    :param cwd: the folder in which it is started.
    """
    port = free_port()
    environment = {name: text.replace("{port}", str(port)) for name, text in environment.items()}
    with tempfile.TemporaryDirectory(prefix="users-server-") as name:
        log = log or Path(name, "log")
        with running(
            [word.format(port=port) for word in command], log, environment, cwd
        ) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{url}/ping"), process, log)
            yield url, process


def peak_memory(pid: int) -> float:
    """Return the largest memory that any of a server's workers has had so far, in MiB."""
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    ).stdout
    texts = [Path(f"/proc/{child}/status").read_text() for child in children.split()]
    return max(int(text.split("VmHWM:")[1].split()[0]) for text in texts) / 1024


def answers(url: str) -> bool:
    """Return whether a server answers 200 there."""
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False

"""Starts and ends the servers that the suites talk to, all on free loopback ports."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pymysql

from project.tests.base import refuse_served_database

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
            raise RuntimeError(f"{process.args} did not start:\n{log.read_text()[-5000:]}")
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


@contextmanager
def mariadb() -> Iterator[str]:
    """Run a MariaDB server on a data folder of its own; give the URL of its empty database.

    :raises RuntimeError: MariaDB is not installed, or does not start.
    """
    install, server = find_program("mariadb-install-db"), find_program("mariadbd")
    if not install or not server:
        raise RuntimeError("MariaDB is not installed: apt-get install mariadb-server")
    with tempfile.TemporaryDirectory(prefix="users-mariadb-") as name:
        folder, port = Path(name), free_port()
        places = [f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"]
        subprocess.run(
            [
                install,
                "--no-defaults",
                *places,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )
        command = [server, "--no-defaults", *places, f"--socket={folder / 'socket'}"]
        command += [f"--port={port}", "--bind-address=127.0.0.1", f"--tmpdir={folder}"]
        with running(command, folder / "log") as process:
            wait_until(lambda: _create_database(port), process, folder / "log")
            yield f"mysql+pymysql://root@127.0.0.1:{port}/users_test"


def _create_database(port: int) -> bool:
    try:
        connection = pymysql.connect(host="127.0.0.1", port=port, user="root")
    except pymysql.err.OperationalError:
        return False
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE users_test")
    return True


@contextmanager
def test_database() -> Iterator[str]:
    """Give the URL of a migrated, empty database: DATABASE_TEST_URL's, or a SQLite file's.

    :raises RuntimeError: DATABASE_TEST_URL names the database that is served.
    """
    with tempfile.TemporaryDirectory(prefix="users-sqlite-") as folder:
        url = os.environ.get("DATABASE_TEST_URL") or f"sqlite:///{folder}/users.db"
        refuse_served_database(url)
        manage("recreate_db", "--yes", DATABASE_URL=url)
        try:
            yield url
        finally:
            manage("db", "downgrade", "base", DATABASE_URL=url)


def manage(*arguments: str, **environment: str) -> None:
    """Run a command of manage.py.

    :raises CalledProcessError: it failed.
    """
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )


GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "manage:app"]
RUNSERVER = [sys.executable, "manage.py", "runserver", "-p", "{port}", "--no-reload"]


@contextmanager
def served(command: list[str], **environment: str) -> Iterator[str]:
    """Serve the application; give its URL.

    :param command: the server's, in which ``{port}`` becomes a free port.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="users-server-") as name:
        log = Path(name, "log")
        with running([word.format(port=port) for word in command], log, environment) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{url}/ping"), process, log)
            yield url


def answers(url: str) -> bool:
    """Say whether a server answers 200 there."""
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False

"""Runs the Compose stacks on a copy of the tracked files, and speaks HTTP with them."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from textwrap import dedent
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urlencode

from e2e.processes import ROOT

T = TypeVar("T")

# Who owns the copy when root runs the tests: any user but root shows what is left as root's.
OWNER = 1234
COMMAND_SECONDS = 2400  # all of the tests in a container, beside another suite
PASSED_ON = ("WEB_CONCURRENCY", "LOG_LEVEL", "ACCESS", "REGISTRATION", "TOKEN_HOURS", "AUDIT_DAYS")


def until(condition: Callable[[], T], seconds: float = 30, pause: float = 0.1) -> T:
    """Ask again and again; return the first answer that is true.

    :raises AssertionError: none was within these seconds.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds} s: {condition}")
        time.sleep(pause)
    return answer


def run(*command: str, **options: Any) -> str:
    """Run a command; return what it prints on both outputs.

    :raises AssertionError: it failed; the text ends with its output.
    """
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    result: subprocess.CompletedProcess[str] = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=COMMAND_SECONDS,
        **options,
    )
    if result.returncode:
        printed = result.stdout
        failed = "\n".join(re.findall(r"^(?:FAIL|ERROR): .+", printed, re.M))
        ended = f"{command} ended with {result.returncode}"
        raise AssertionError(f"{ended}:\n{printed[-5000:]}\n{failed}")
    return result.stdout


def copy_tracked_files(folder: Path) -> None:
    """Copy what git knows of the working copy, so that nothing else takes part."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, OWNER, OWNER)


def documented(words: str, page: str = "operations") -> str:
    """Return the blocks of shell commands in a page of docs/ that contain these words."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    blocks = [dedent(each) for each in found if words in each]
    if not blocks:
        raise AssertionError(f"docs/{page}.md has no commands with {words}")
    return "".join(blocks)


@dataclass
class Answer:
    """What came back for one request."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


class Site:
    """A server on a port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self, method: str, path: str, body: Any = None, timeout: float = 60, /, **headers: str
    ) -> Answer:
        """Send one request on a connection of its own.

        :param body: an object is sent as JSON, text and bytes as they are.
        :param headers: with an underscore for each hyphen.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body, sent = json.dumps(body), {"Content-Type": "application/json", **sent}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.request("GET", path, **headers)

    def add(self, username: str, email: str, **options: Any) -> Answer:
        """Add a user over the API."""
        user = {"username": username, "email": email}
        return self.request("POST", "/users", user, **options)

    def submit(self, username: str, email: str) -> Answer:
        """Add a user by the page's form, with its token, as a browser does; follow the redirect."""
        page = self.get("/")
        cookie = (page.headers["Set-Cookie"] or "").partition(";")[0]
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page.body.decode())
        form = {"username": username, "email": email, "csrf_token": token[1] if token else ""}
        sent = {"Cookie": cookie, "Content_Type": "application/x-www-form-urlencoded"}
        answer = self.request("POST", "/", urlencode(form), **sent)
        if answer.status != 303:
            return answer
        cookie = (answer.headers["Set-Cookie"] or cookie).partition(";")[0]
        return self.get(answer.headers["Location"], Cookie=cookie)

    def emails(self) -> list[str]:
        """Return the email of every user, page by page."""
        found, path = [], "/users"
        while path:
            data = self.get(path).json["data"]
            found += [user["email"] for user in data["users"]]
            path = data["next"] and "/users?" + urlencode({"cursor": data["next"]})
        return found


class Stack(Site):
    """A Compose stack, run from a folder; everything of it goes when it is taken down.

    :param project: a name that only tests have, so that nobody's data is in it.
    """

    def __init__(self, folder: Path, project: str, file: str, port: int, **variables: str) -> None:
        super().__init__(port)
        self.folder, self.project, self.files = folder, project, ["-f", file]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COMPOSE_", *PASSED_ON))
        }
        self.environment = {**kept, "COMPOSE_PROJECT_NAME": project, **variables}

    def compose(self, *arguments: str, program: tuple[str, ...] = ("docker", "compose")) -> str:
        """Run a Compose command; return what it prints."""
        command = [*program, *self.files, *arguments]
        return run(*command, cwd=self.folder, env=self.environment)

    def up(self, *arguments: str) -> None:
        """Start what is not running, and wait until it is healthy."""
        self.compose("up", "-d", "--wait", *arguments)

    def shell(self, script: str) -> str:
        """Run commands of docs/ as they stand there; return what they print.

        Root, who may have no sudo, needs none.
        """
        aliases = [documented("alias prod"), documented("alias cluster", "cluster")]
        lines = ["shopt -s expand_aliases", *(each.splitlines()[0] for each in aliases)]
        lines += ['sudo() { "$@"; }'] if os.geteuid() == 0 else []
        whole = "\n".join([*lines, script])
        return run("bash", "-euc", whole, cwd=self.folder, env=self.environment)

    def manage(self, *arguments: str, **options: Any) -> str:
        """Run a command of manage.py in a container that is there only for it."""
        words = ["run", "--rm", "-T", "users-service", "python", "manage.py", *arguments]
        return self.compose(*words, **options)

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of the stack's containers, or of one service's; ended ones too."""
        printed = self.compose("ps", "-aq", *filter(None, [service]))
        return re.findall(r"^[0-9a-f]{12,}$", printed, re.MULTILINE)

    def inspect(self) -> dict[str, Any]:
        """Return what the engine knows of each service's first container."""
        found = json.loads(run("docker", "inspect", *self.containers()))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """Return what a service with one container has logged as JSON."""
        printed = run("docker", "logs", *self.containers(service))
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]

    def volumes(self) -> list[str]:
        """Return the names of the stack's volumes."""
        label = f"label=com.docker.compose.project={self.project}"
        return run("docker", "volume", "ls", "-q", "--filter", label).split()

    def take_down(self) -> None:
        """Remove the stack with its data and images, if there is one."""
        self.compose("down", "-v", "--rmi", "local", "--remove-orphans")

    @contextmanager
    def running(self) -> Iterator["Stack"]:
        """Build and start the stack, without what a test that was killed has left of it.

        It is taken down with its data and images.
        """
        self.take_down()
        try:
            self.up("--build")
            yield self
        except AssertionError:
            print(self.compose("logs", "--tail", "50"))
            raise
        finally:
            self.take_down()


@contextmanager
def repeated(
    call: Callable[[int], object], threads: int = 4, pause: float = 0.05
) -> Iterator[list[Any]]:
    """Call this with 0, 1, 2 … from several threads until the block ends; give the results.

    What the network refuses is a result too.
    """
    results: list[Any] = []
    numbers, over = count(), Event()

    def work() -> None:
        while not over.wait(pause):
            try:
                results.append(call(next(numbers)))
            except (OSError, HTTPException) as error:
                results.append(error)

    with ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(work) for _ in range(threads)]
        try:
            yield results
        finally:
            over.set()
    for worker in workers:
        worker.result()

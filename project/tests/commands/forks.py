"""Runs manage.py in real processes that are forked after the imports.

To start Python and to import the service takes a second; most tests that call manage.py would do
little else. One process, the server, imports it once and forks a child for each call. A child has
its own arguments, environment and standard streams, and ends with its own exit code.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from functools import cache

SECONDS = 120


def start() -> tuple[list[str], list[int]]:
    """Return what to start in place of manage.py, and the descriptors to pass to it.

    What is started is this file, without site-packages, which takes milliseconds: it hands its
    streams to the server and ends as the child did.
    """
    descriptor = _server().fileno()
    return [sys.executable, "-IS", __file__, "call", str(descriptor)], [descriptor]


@cache
def _server() -> socket.socket:
    """Start the server; it ends when the socket that is returned is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, "serve", str(theirs.fileno())],
            env={**os.environ, "APP_SETTINGS": "project.config.TestingConfig"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _call(server: socket.socket, arguments: list[str]) -> None:
    call = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    socket.send_fds(server, [b"\n"], [0, 1, 2])
    server.sendall(json.dumps(call).encode() + b"\n")
    sys.exit(int(server.makefile().readline()))


def _serve(client: socket.socket) -> None:
    import manage  # noqa: F401

    gc.freeze()  # else a child, at its end, would visit and so copy every object
    calls = client.makefile()
    while streams := socket.recv_fds(client, 1, 3)[1]:
        call = json.loads(calls.readline())
        child = os.fork()
        if not child:
            client.close()
            calls.close()
            _run(streams, **call)
            return
        for stream in streams:
            os.close(stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        client.sendall(f"{code}\n".encode())


def _run(
    streams: list[int], arguments: list[str], environment: dict[str, str], folder: str
) -> None:
    """Run manage.py as the main program of this process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0), open(1, "w")
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["manage.py", *arguments]
    signal.alarm(SECONDS)
    runpy.run_path("manage.py", run_name="__main__")


if __name__ == "__main__":
    role, descriptor, *arguments = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as peer:
        if role == "serve":
            _serve(peer)
        else:
            _call(peer, arguments)

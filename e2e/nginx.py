"""Runs nginx with the files in nginx/, on loopback and without root."""

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from e2e.processes import ROOT, find_program, free_port, running, wait_until

SCRIPT = ROOT / "nginx" / "trusted-proxies.sh"
ORIGINS_SCRIPT = ROOT / "nginx" / "cors-origins.sh"


def write_trusted_proxies(file: Path, proxies: str) -> subprocess.CompletedProcess[str]:
    """Run the script that the container runs before nginx."""
    environment = {**os.environ, "TRUSTED_PROXIES": proxies}
    return subprocess.run([SCRIPT, file], env=environment, capture_output=True, text=True)


def write_cors_origins(file: Path, origins: str) -> subprocess.CompletedProcess[str]:
    """Run the other script that the container runs before nginx."""
    environment = {**os.environ, "CORS_ORIGINS": origins}
    return subprocess.run([ORIGINS_SCRIPT, file], env=environment, capture_output=True, text=True)


def site(folder: Path, port: int, service: int, *, few_writes: bool = True) -> str:
    """Write nginx's files for this machine; return the path of the first.

    The names of containers, their folders and ports become those of here; Debian's nginx is older
    than the image's, and knows neither `resolve` nor `max_headers`.

    :param few_writes: whether it takes of one address one write a minute and one ahead of that.
    """
    changes = {
        r"/tmp/": f"{folder}/",
        r"/etc/nginx/conf\.d/\*\.conf": f"{folder}/flask.conf",
        r"/dev/std(out|err)": f"{folder}/log",
        r"/etc/nginx/(tls|client)/\*\.conf": rf"{folder}/\1/*.conf",
        r"root /usr/share/nginx;": f"root {folder};",
        r"(?m)^resolver.*$": "",
        r"server users-service:5000 resolve": f"server 127.0.0.1:{service}",
        r"max_headers 80;": "",
        r"listen 8080": f"listen 127.0.0.1:{port}",
        r"listen 127\.0\.0\.1:8081": f"listen 127.0.0.1:{free_port()}",
    }
    if few_writes:
        changes |= {r"rate=100r/s": "rate=1r/m", r"burst=500": "burst=1"}
    for name in ["nginx.conf", "flask.conf", "client.conf"]:
        text = (ROOT / "nginx" / name).read_text(encoding="utf-8")
        for pattern, here in changes.items():
            text = re.sub(pattern, here, text)
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / "nginx.conf")


def listens(port: int) -> bool:
    """Return whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@contextmanager
def nginx(folder: Path, configuration: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with a configuration, by which it listens on a port; give its process."""
    command = [find_program("nginx") or "nginx", "-p", str(folder), "-c", str(configuration)]
    with running([*command, "-g", "daemon off;"], folder / "output") as process:
        wait_until(lambda: listens(port), process, folder / "output")
        yield process


@contextmanager
def own_nginx(service: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run our own nginx in front of a service, as Compose does; give its address and its process.

    It believes this machine about who calls.
    """
    with tempfile.TemporaryDirectory(prefix="users-nginx-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        write_trusted_proxies(folder / "trusted_proxies.conf", "127.0.0.1")
        write_cors_origins(folder / "cors_origins.conf", "")
        configuration = site(folder, port, urlsplit(service).port or 0, few_writes=False)
        with nginx(folder, Path(configuration), port) as process:
            yield f"http://127.0.0.1:{port}", process

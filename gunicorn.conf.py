"""How gunicorn serves ``manage:app``, with the reason for each setting.

Flags on the command line or in GUNICORN_CMD_ARGS go before what stands here.
"""

import gc
import os
import select
import shutil
import tempfile
from contextlib import suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from math import ceil
from pathlib import Path
from typing import Any
from weakref import ref

from gunicorn import util
from gunicorn.glogging import Logger


def available_cpus(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many CPUs this process may use: a container often has fewer than its host."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
        return min(cpus, max(1, ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or the word "max": no quota
        return cpus


# Loopback unless told otherwise: gunicorn is meant to stand behind nginx. The image sets BIND.
bind = os.environ.get("BIND", "127.0.0.1:5000")

# A process a CPU, since Python runs one thread at a time in each; two at least, so that one may
# die. No more than six unless asked for: three such hosts, with two connections to the database for
# each thread, stay below the 151 that MySQL takes by default.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(6, max(2, available_cpus())))

# Threads wait for the database side by side, and keep clients' connections open between requests.
worker_class = "gthread"
threads = 4

# Longer than nginx keeps its idle connections (60 s), so that nginx never sends a request down one
# that is just being closed here.
keepalive = 75

# The longest path that the API answers, and what nginx lets through (8 KB).
limit_request_line = 8190

# Nobody: it is the application that believes as many proxies as PROXIES says. By itself, gunicorn
# would take SCRIPT_NAME from any client on this machine, and answer 500 when the path has it not.
forwarded_allow_ips = ""

# The longest request under way waits 15 s, for the answer of a frozen database.
graceful_timeout = 30
timeout = 60

# The heartbeat is a file; on a disk that is busy it would be late and the worker would be killed.
worker_tmp_dir = "/dev/shm"  # nosec

# It would be a socket in the home folder, which containers mount read-only; signals do the same.
control_socket_disable = True

# Each worker loads the code itself, so that `kill -HUP` loads new code without ending the service.
preload_app = False

# What the code imports of others is loaded before the workers are, which share its memory: a
# reload keeps it. Nothing of ours may be among it, nor import it.
LIBRARIES = (
    "alembic.migration",
    "argon2",
    "bcrypt",
    "email_validator",
    "flask",
    "flask_bootstrap",
    "flask_migrate.cli",
    "flask_script_ng",
    "flask_sqlalchemy.cli",
    "flask_wtf.csrf",
    "jinja2.ext",
    "jwt",
    "logging.config",
    "orjson",
    "prometheus_client.multiprocess",
    "pydantic.fields",
    "pydantic.json_schema",
    "pydantic.plugin._loader",
    "pydantic.type_adapter",
    "pydantic.types",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "structlog",
    "tqdm",
    "unittest",
    "werkzeug.middleware.proxy_fix",
    "wtforms",
    "zxcvbn",
)

# The application writes a line for each request (project/logs.py).
accesslog = None


class NoAccessLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """With logconfig_dict, gunicorn would still make the fields of each line: 20 µs a request."""

    def access(self, *_: object) -> None:
        """Leave it to the application."""


logger_class = NoAccessLog


def _run(name: str) -> Any:
    """Return a file of ours that stands alone, as a module.

    No package of ours is imported: a master that had imported the application would hand old code
    to new workers.
    """
    spec: Any = spec_from_file_location(
        f"users_{name}", Path(__file__).parent / "project" / f"{name}.py"
    )
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_version = _run("version").VERSION

# The master's own lines have the form of the workers'.
_logs = _run("logs")
_is_production = os.environ.get("APP_SETTINGS", "").endswith("ProductionConfig")
logconfig_dict = _logs.library_logging(json=_is_production, level="INFO")


# The workers add up their metrics in this folder. It is named before anything imports
# prometheus_client, which looks only once; a reload keeps it. Without one, each worker counts for
# itself.
_OURS = "users-metrics-"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    try:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OURS)
    except OSError:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.devnull


def on_starting(_server: Any) -> None:
    """Forget the metrics of an earlier run, and load the libraries.

    What is there now is left alone by the garbage collector, whose marks would copy its pages.
    """
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        with suppress(OSError):
            file.unlink()
    for name in LIBRARIES:
        import_module(name)
    gc.collect()
    gc.freeze()


def when_ready(server: Any) -> None:
    """Log which version is served."""
    server.log.info("started", extra={"version": _version})


def on_reload(server: Any) -> None:
    """Log which version is served from now on: the files of ours were read anew."""
    server.log.info("reloaded", extra={"version": _version})


def post_fork(_server: Any, worker: Any) -> None:
    """Keep the worker's settings as plain attributes.

    gunicorn looks up twenty of them for each request, by two calls each.
    """
    vars(worker.cfg).update({name: one.get() for name, one in worker.cfg.settings.items()})


def post_worker_init(worker: Any) -> None:
    """Prepare a worker for the application, and let it end as close_at_the_end does."""
    close_at_the_end(worker)
    # The benchmark serves other applications with these settings.
    if getattr(worker.wsgi, "import_name", None) == "project":
        start_service(worker)


def start_service(worker: Any) -> None:
    """Warn of open access, let old data go by itself, and close connections without waiting."""
    settings = worker.wsgi.config
    # The first worker does it for all.
    if worker.age == 1 and not settings["DEBUG"] and settings["ACCESS"] == "open":
        worker.log.warning(
            "ACCESS=open: anybody who reaches this service may read, change and remove every user"
        )
    from project.web import lingering, pruning

    util.close_graceful = lingering.close
    pruning.start(worker.wsgi)


def pre_request(_worker: Any, request: Any) -> None:
    """Let the application end the connection after its answer (project/web/body.py).

    gunicorn drops the header by which it would say so.
    """
    request.body.request = ref(request)


def close_at_the_end(worker: Any) -> None:
    """Let a worker that is told to end refuse new connections at once.

    By itself, gunicorn only takes no more of them off the queue of its socket: they would wait
    there, their requests sent, and be cut off when the worker ends. Refused, nginx sends a request
    of any method to another replica.
    """
    set_accept_enabled = worker.set_accept_enabled

    def close_if_ending(enabled: bool) -> None:
        if not enabled and not worker.alive:
            for listener in worker.sockets:
                for _ in range(100):  # those that are in the queue already
                    if not select.select([listener], [], [], 0)[0]:
                        break
                    worker.accept(listener)
        set_accept_enabled(enabled)
        if not enabled and not worker.alive:
            for listener in worker.sockets:
                listener.close()

    worker.set_accept_enabled = close_if_ending


def child_exit(_server: Any, worker: Any) -> None:
    """Take what a worker that has ended had in use out of the metrics."""
    from prometheus_client import multiprocess

    with suppress(OSError):
        multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Remove the folder of the metrics, when it was made here."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_OURS):
        shutil.rmtree(folder, ignore_errors=True)

"""gunicorn's settings for ``manage:app``, with the reason for each.

Flags on the command line and in GUNICORN_CMD_ARGS override these settings.
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
    """Return the number of CPUs that this process may use: a container may have a quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
        return min(cpus, max(1, ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is no control group, or its quota is "max"
        return cpus


# Loopback by default, since gunicorn should run behind nginx. The image sets BIND.
bind = os.environ.get("BIND", "127.0.0.1:5000")

# One process per CPU, since Python runs one thread at a time in each; at least two, so that one may
# die. By default at most six: three such hosts, with two database connections per thread, stay
# below the 151 connections that MySQL accepts by default.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(6, max(2, available_cpus())))

# Threads wait for the database concurrently, and allow keep-alive connections.
worker_class = "gthread"
threads = 4

# Longer than nginx keeps idle connections (60 s), so that nginx never sends a request on one that
# gunicorn is closing.
keepalive = 75

# Room for the longest path of the API, and for all that nginx lets through (8 KB).
limit_request_line = 8190

# None: the application itself trusts as many proxies as PROXIES says. By default gunicorn would
# accept SCRIPT_NAME from any client on this machine, and respond with 500 if the path lacks it.
forwarded_allow_ips = ""

# The longest wait of a running request is 15 s, for a frozen database.
graceful_timeout = 30
timeout = 60

# The heartbeat is a file; on a busy disk it would be late, and the worker would be killed.
worker_tmp_dir = "/dev/shm"  # nosec

# It would be a socket in the home folder, which containers mount read-only; signals suffice.
control_socket_disable = True

# Each worker loads the code itself, so that `kill -HUP` loads new code without downtime.
preload_app = False

# These third-party modules are loaded before the workers start, which then share their memory; a
# reload keeps them. None of them may belong to the project or import it.
LIBRARIES = (
    "_strptime",
    "alembic.migration",
    "argon2",
    "babel.messages.mofile",
    "babel.messages.pofile",
    "bcrypt",
    "concurrent.futures.thread",
    "email.policy",
    "email_validator",
    "flask",
    "flask_babel",
    "flask_bootstrap",
    "flask_cors",
    "flask_migrate.cli",
    "flask_script_ng",
    "flask_sqlalchemy.cli",
    "flask_wtf.csrf",
    "ijson",
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
    "scim2_models",
    "sqlalchemy.dialects.mysql.pymysql",
    "smtplib",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "structlog",
    "tqdm",
    "unittest",
    "werkzeug.middleware.proxy_fix",
    "wtforms",
    "zxcvbn",
)

# The application logs each request (project/logs.py).
accesslog = None


class NoAccessLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """With logconfig_dict, gunicorn would still format each access line: 20 µs per request."""

    def access(self, *_: object) -> None:
        """Do nothing: the application logs each request."""


logger_class = NoAccessLog


def _load(name: str) -> Any:
    """Load a standalone file of the project as a module.

    The package itself is not imported: a master that had imported the application would pass old
    code to new workers.
    """
    spec: Any = spec_from_file_location(
        f"users_{name}", Path(__file__).parent / "project" / f"{name}.py"
    )
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_version = _load("version").VERSION

# The master logs in the same form as the workers.
_logs = _load("logs")
_is_production = os.environ.get("APP_SETTINGS", "").endswith("ProductionConfig")
logconfig_dict = _logs.library_logging(json=_is_production, level="INFO")


# The workers share their metrics in this folder. The variable is set before anything imports
# prometheus_client, which reads it once; a reload keeps it. Without a folder, each worker has
# separate metrics.
_METRICS_PREFIX = "users-metrics-"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    try:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_METRICS_PREFIX)
    except OSError:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.devnull


def on_starting(_server: Any) -> None:
    """Delete the metrics of an earlier run, and load the libraries.

    Their objects are exempted from garbage collection, which would write to shared pages and so
    copy them.
    """
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        with suppress(OSError):
            file.unlink()
    for name in LIBRARIES:
        import_module(name)
    gc.collect()
    gc.freeze()


def when_ready(server: Any) -> None:
    """Log the version."""
    server.log.info("started", extra={"version": _version})


def on_reload(server: Any) -> None:
    """Log the new version; this file and what it loads were read again."""
    server.log.info("reloaded", extra={"version": _version})


def post_fork(_server: Any, worker: Any) -> None:
    """Store the worker's settings as simple attributes.

    gunicorn looks up twenty of them for each request, with two calls each.
    """
    vars(worker.cfg).update({name: one.get() for name, one in worker.cfg.settings.items()})


def post_worker_init(worker: Any) -> None:
    """Prepare a worker for the application, and change how it shuts down."""
    close_listeners_on_shutdown(worker)
    # The application has read it. gunicorn would answer 500 to a path without it, such as that of a
    # health check.
    os.environ.pop("SCRIPT_NAME", None)
    # The benchmark serves other applications with these settings.
    if getattr(worker.wsgi, "import_name", None) == "project":
        start_service(worker)


def start_service(worker: Any) -> None:
    """Warn about open access, start threads, and close connections without blocking."""
    settings = worker.wsgi.config
    # Only the first worker warns.
    if worker.age == 1 and not settings["DEBUG"] and settings["ACCESS"] == "open":
        worker.log.warning(
            "ACCESS=open: anybody who reaches this service may read, change and remove every user"
        )
    from project.api import auth, provisioning
    from project.web import lingering, pruning

    util.close_graceful = lingering.close
    pruning.start(worker.wsgi)
    auth.start(worker.wsgi, announce=worker.age == 1)
    provisioning.start(worker.wsgi)


def pre_request(_worker: Any, request: Any) -> None:
    """Allow the application to end the connection after its response (project/web/body.py).

    gunicorn drops an application's ``Connection`` header.
    """
    request.body.request = ref(request)


def close_listeners_on_shutdown(worker: Any) -> None:
    """Make a worker that shuts down refuse new connections immediately.

    By default gunicorn only stops accepting them: they would wait in the socket's queue, with their
    requests sent, and be reset when the worker ends. If a connection is refused, nginx sends the
    request, of any method, to another replica.
    """
    set_accept_enabled = worker.set_accept_enabled

    def close_if_ending(enabled: bool) -> None:
        if not enabled and not worker.alive:
            for listener in worker.sockets:
                for _ in range(100):  # accept those that are already in the queue
                    if not select.select([listener], [], [], 0)[0]:
                        break
                    worker.accept(listener)
        set_accept_enabled(enabled)
        if not enabled and not worker.alive:
            for listener in worker.sockets:
                listener.close()

    worker.set_accept_enabled = close_if_ending


def child_exit(_server: Any, worker: Any) -> None:
    """Remove the live gauges of a worker that has ended from the metrics."""
    from prometheus_client import multiprocess

    with suppress(OSError):
        multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Remove the folder of the metrics if it was created here."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_METRICS_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)

"""Structured logs on standard output: JSON in production, columns in development.

``project.api.ops.requests`` logs a line per request; lines of libraries that use Python's
``logging`` have the same form. No line contains an email, a password or a token: requests are
logged by route and never by path, and SQL parameters are hidden.

A line that cannot be written, as to a full disk or a closed pipe, is dropped and counted; the
request continues. gunicorn.conf.py loads this file in the master process, so it imports no other
file of the project.
"""

import logging.config
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


class Output:
    """A stream for log lines: each is written immediately or dropped.

    :param stream: the stream whose file descriptor is used. Its buffer is bypassed: lines that
        cannot be written would stay in it and make the process fail at exit.
    """

    on_failure: Callable[[], object] = staticmethod(lambda: None)
    """Called for each dropped line."""

    def __init__(self, stream: TextIO | None) -> None:
        try:
            self._descriptor = stream.fileno() if stream else None
        except (OSError, ValueError):  # it is not a file, or is closed
            self._descriptor = None
        self._is_in_line = False

    def write(self, line: str | bytes) -> None:
        """Write a line; it includes its line end."""
        data = line.encode(errors="backslashreplace") if isinstance(line, str) else line
        if self._is_in_line:
            data = b"\n" + data
        try:
            if self._descriptor is None:
                raise OSError("the stream is closed")
            while data := data[os.write(self._descriptor, data) :]:
                self._is_in_line = True
            self._is_in_line = False
        except OSError:
            Output.on_failure()

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)


def configure(json: bool, level: str) -> None:
    """Configure all logs of this process.

    :param json: whether each line is a JSON object; otherwise columns for people.
    :param level: the lowest level that is logged, such as ``INFO``.
    """
    output: Any = Output(sys.stdout)
    renderer = structlog.processors.JSONRenderer(orjson.dumps) if json else _columns(output)
    factory = structlog.BytesLoggerFactory if json else structlog.WriteLoggerFactory
    structlog.configure(
        processors=[*_shared_processors(), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory(output),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(library_logging(json, level))


def _shared_processors() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def printable(text: str) -> str:
    """Return the text with its control characters escaped, safe for a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _columns(output: Output) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=output.isatty())


def library_logging(json: bool, level: str) -> dict[str, Any]:
    """Return the configuration of libraries' logs, for ``logging.config.dictConfig``."""
    output = Output(sys.stdout)
    structured = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_shared_processors(), structlog.stdlib.ExtraAdder(["version"])],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _dumps if json else _columns(output),
        ],
    }
    handler = {"class": "logging.StreamHandler"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": structured},
        "filters": {"no_request_lines": {"()": _no_request_lines}},
        "handlers": {
            "structured": {
                **handler,
                "stream": output,
                "formatter": "structured",
                "filters": ["no_request_lines"],
            },
            "messages": {**handler, "stream": Output(sys.stderr)},
        },
        "root": {"handlers": ["structured"], "level": level},
        "loggers": {
            "gunicorn.error": {"handlers": ["structured"], "level": level, "propagate": False},
            # Says where the development server listens.
            "werkzeug": {"handlers": ["messages"], "level": "INFO", "propagate": False},
            # Their lines are the command's output.
            "alembic": {"handlers": ["messages"], "level": "WARNING", "propagate": False},
            "flask_migrate": {"handlers": ["messages"], "level": "WARNING", "propagate": False},
        },
    }


def _no_request_lines() -> Callable[[logging.LogRecord], bool]:
    """Return a filter for gunicorn's lines about malformed requests, which quote the request."""
    return lambda record: not record.getMessage().startswith("Invalid request from ip=")


def _dumps(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()

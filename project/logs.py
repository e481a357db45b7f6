"""Logs as structured lines on standard output: JSON in production, readable in development.

A line for each request comes from ``project.api.ops.requests``; what libraries log through Python's
``logging`` takes the same form. No line holds an email, a password or a token: requests are named
by their route and never by their path, and SQL parameters are hidden.

A line that cannot be written, such as to a full disk or a closed pipe, is lost and counted; what is
being done goes on. gunicorn.conf.py runs this file for its master process, so it imports no other
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
    """A stream for lines of a log: each is written at once or lost.

    :param stream: the one whose descriptor is written to. Its own buffer is passed by: there, lines
        that cannot be written would wait for the end of the process and make it fail.
    """

    on_failure: Callable[[], object] = staticmethod(lambda: None)
    """Called for each line that is lost."""

    def __init__(self, stream: TextIO | None) -> None:
        try:
            self._descriptor = stream.fileno() if stream else None
        except (OSError, ValueError):  # it is no file, or closed
            self._descriptor = None
        self._is_in_line = False

    def write(self, line: str | bytes) -> None:
        """Write a line, which ends with its line end."""
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
        """Do nothing: all is written."""

    def isatty(self) -> bool:
        """Say whether a person reads it."""
        return self._descriptor is not None and os.isatty(self._descriptor)


def configure(json: bool, level: str) -> None:
    """Set the form of all logs of this process.

    :param json: one JSON object a line; else columns for a person to read.
    :param level: the least urgent level that is written, such as ``INFO``.
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
    """Return a text that steers no terminal, whatever clients have sent."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _columns(output: Output) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=output.isatty())


def library_logging(json: bool, level: str) -> dict[str, Any]:
    """Return the form of what libraries log, as ``logging.config.dictConfig`` takes it.

    :param json: as for configure.
    :param level: as for configure.
    """
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
            "plain": {**handler, "stream": Output(sys.stderr)},
        },
        "root": {"handlers": ["structured"], "level": level},
        "loggers": {
            "gunicorn.error": {"handlers": ["structured"], "level": level, "propagate": False},
            # Tells where the development server listens, for a person.
            "werkzeug": {"handlers": ["plain"], "level": "INFO", "propagate": False},
            # What they say is the command's own answer.
            "alembic": {"handlers": ["plain"], "level": "WARNING", "propagate": False},
            "flask_migrate": {"handlers": ["plain"], "level": "WARNING", "propagate": False},
        },
    }


def _no_request_lines() -> Callable[[logging.LogRecord], bool]:
    """Return a filter for what gunicorn says of a request that it cannot read: it quotes it."""
    return lambda record: not record.getMessage().startswith("Invalid request from ip=")


def _dumps(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()

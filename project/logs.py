"""Logs as structured lines on standard output: JSON in production, readable in development.

A line for each request comes from ``project.api.ops.requests``; what libraries log through Python's
``logging`` takes the same form. No line holds an email, a password or a token: requests are named
by their route and never by their path, and SQL parameters are hidden.
"""

import logging.config
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure(json: bool, level: str) -> None:
    """Set the form of all logs of this process.

    :param json: one JSON object a line; else columns for a person to read.
    :param level: the least urgent level that is written, such as ``INFO``.
    """
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    console = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(orjson.dumps) if json else console],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory() if json else structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(_library_logging(shared, _dumps if json else console, level))


def printable(text: str) -> str:
    """Return a text that steers no terminal, whatever clients have sent."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _library_logging(shared: list[Processor], renderer: Processor, level: str) -> dict[str, Any]:
    structured = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    }
    stream = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": structured},
        "filters": {"no_request_lines": {"()": _no_request_lines}},
        "handlers": {
            "structured": {
                **stream,
                "formatter": "structured",
                "filters": ["no_request_lines"],
            },
            "plain": {**stream, "stream": "ext://sys.stderr"},
        },
        "root": {"handlers": ["structured"], "level": level},
        "loggers": {
            # Its master process, which does not load the application, has its own handler.
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


def printable(text: str) -> str:
    """Escape what might steer a terminal: what clients sent must not."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

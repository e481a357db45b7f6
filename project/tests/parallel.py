"""Runs test classes in several processes at once, each on a test database of its own."""

import os
import signal
import unittest
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from io import StringIO
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

FOUND = ("failures", "errors", "skipped", "expectedFailures")


class Outcome(NamedTuple):
    """What became of a class, in a form that can be sent to another process."""

    lines: str
    run: int
    found: dict[str, list[tuple["Named", str]]]
    unexpected: list["Named"]


class Named(str):
    """The description of a test, in the place of the test."""

    def shortDescription(self) -> None:
        """Add nothing: the name says all."""


class ParallelSuite(unittest.TestSuite):
    """Tests whose classes are run side by side; it reports to a result as every suite does.

    :param urls: the database of each process.
    """

    def __init__(self, tests: unittest.TestSuite, urls: list[URL]) -> None:
        super().__init__(_flat(tests))
        self._urls = urls

    def run(self, result: Any, debug: bool = False) -> Any:
        """Run the tests; what a class prints is passed on when the class is done."""
        context = get_context("spawn")
        urls = context.SimpleQueue()
        for url in self._urls:
            urls.put(url.render_as_string(hide_password=False))
        with ProcessPoolExecutor(len(self._urls), context, _use_database, (urls,)) as pool:
            runs = []
            for kind, tests in groupby(self, type):
                if kind.__module__ == "unittest.loader":  # a module that cannot be imported
                    unittest.TestSuite(tests).run(result)
                else:
                    runs.append(pool.submit(_run, unittest.TestSuite(tests)))
            for run in as_completed(runs):
                _add(run.result(), result)
        return result


def _flat(suite: Any) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _add(outcome: Outcome, result: Any) -> None:
    result.stream.write(outcome.lines)
    result.stream.flush()
    result.testsRun += outcome.run
    for name, tests in outcome.found.items():
        getattr(result, name).extend(tests)
    result.unexpectedSuccesses += outcome.unexpected


def databases(url: URL, count: int) -> list[URL]:
    """Return the test database and others beside it, which are created where they are missing.

    :return: the test database alone where its user may create no other.
    """
    names = [url.database or ""]
    for number in range(2, count + 1):
        path = Path(names[0])
        names.append(str(path.with_name(f"{path.stem}_{number}{path.suffix}")))
    if url.get_backend_name() != "sqlite":
        try:
            with create_engine(url, poolclass=NullPool).begin() as connection:
                for name in names[1:]:
                    connection.execute(text(f"CREATE DATABASE IF NOT EXISTS `{name}`"))
        except DBAPIError:
            return [url]
    return [url.set(database=name) for name in names]


def _use_database(urls: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who interrupts the tests ends this process too
    os.environ["DATABASE_TEST_URL"] = urls.get()
    os.environ.pop("DATABASE_TEST_URL_FILE", None)


def _run(tests: unittest.TestSuite) -> Outcome:
    lines = StringIO()
    result: Any = unittest.TextTestResult(unittest.TextTestRunner(lines).stream, True, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tests.run(result)

    def named(test: Any) -> Named:
        return Named(result.getDescription(test))

    return Outcome(
        lines.getvalue(),
        result.testsRun,
        {name: [(named(test), words) for test, words in getattr(result, name)] for name in FOUND},
        [named(test) for test in result.unexpectedSuccesses],
    )

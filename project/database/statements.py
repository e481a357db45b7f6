"""Statements that the driver executes directly: compiled once, values converted as by SQLAlchemy.

``read`` needs one round trip; ``write`` runs in the transaction of ``db.session``. SQLAlchemy
compiles the statements, connects and classifies errors. Its result objects are not used: they cost
a read as much as the driver does. See docs/decisions/database.md.
"""

import time
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from project.database.base import db
from project.database.connections import outage, thread_connection, wait_for_database
from project.database.failures import is_stale
from project.database.premises import PremiseFailed, current, settle
from project.database.replica import leave_replica, replica_connection

Row: TypeAlias = Any
"""A named tuple whose fields are the statement's columns."""

Convert = Callable[[Any], Any]


class Result(NamedTuple):
    """The rows of a SELECT, the id of an inserted row, and how many an UPDATE or DELETE matched."""

    rows: Sequence[Row]
    inserted_id: int
    row_count: int


class Statement:
    """A statement compiled for the driver, for parameters with these names.

    An INSERT or UPDATE sets the columns that are among the parameters.

    :raises TypeError: a column with a default in Python is not among them.
    """

    def __init__(self, executable: Executable, dialect: Dialect, names: tuple[str, ...]) -> None:
        compiled: Any = executable.compile(dialect=dialect, column_keys=names)  # type: ignore[attr-defined]
        if missing := compiled.insert_prefetch or compiled.update_prefetch:
            raise TypeError(f"The statement needs values for {', '.join(map(str, missing))}.")
        self._compiled = compiled
        self.sql: str = compiled.string
        binds = [(name, bind) for bind, name in compiled.bind_names.items()]
        self._constants = {name: bind.value for name, bind in binds if not bind.required}
        self._to_driver = _converters(
            ((name, bind.type) for name, bind in binds if not bind.expanding),
            lambda kind: kind.dialect_impl(dialect).bind_processor(dialect),
        )
        columns = compiled._result_columns
        row: Any = namedtuple("Row", [column.keyname for column in columns], rename=True)  # type: ignore[misc]
        self._returns_rows = bool(columns)
        # As row._make does, without its checks.
        self._as_row: Callable[[Sequence[Any]], Row] = partial(tuple.__new__, row)
        self._from_driver = _converters(
            ((place, column.type) for place, column in enumerate(columns)),
            lambda kind: kind.dialect_impl(dialect).result_processor(dialect, None),
        )

    def run(self, cursor: Any, parameters: dict[str, Any]) -> Result:
        """Execute the statement with these values."""
        sql, converters, order = self.sql, self._to_driver, self._compiled.positiontup
        if self._constants:
            parameters = self._constants | parameters
        if self._compiled.post_compile_params:
            state = self._compiled.construct_expanded_state(parameters)
            sql, parameters, order = state.statement, state.parameters, state.positiontup
            converters = [*converters, *state.processors.items()]
        if converters:
            parameters = {**parameters, **{name: to(parameters[name]) for name, to in converters}}
        # SQLite looks up a name among all others, so it gets a list: 5,000 names take 40 ms.
        cursor.execute(sql, parameters if order is None else [parameters[name] for name in order])
        rows = self._rows(cursor.fetchall()) if self._returns_rows else ()
        return Result(rows, cursor.lastrowid, cursor.rowcount)

    def _rows(self, found: Sequence[Sequence[Any]]) -> list[Row]:
        if not self._from_driver:
            return list(map(self._as_row, found))
        rows = []
        for values in map(list, found):
            for place, convert in self._from_driver:
                values[place] = convert(values[place])
            rows.append(self._as_row(values))
        return rows


def _converters(
    types: Iterable[tuple[Any, TypeEngine[Any]]],
    converter_of: Callable[[TypeEngine[Any]], Convert | None],
) -> list[tuple[Any, Convert]]:
    """Return the names or positions whose values need conversion, each with its converter."""
    found = ((key, converter_of(kind)) for key, kind in types)
    return [(key, convert) for key, convert in found if convert is not None]


@lru_cache(maxsize=1024)
def statement(executable: Executable, dialect: Dialect, names: tuple[str, ...]) -> Statement:
    """Return the compiled statement, from a cache by the identity of the executable.

    So build a statement once, with ``bindparam`` for its variable values.
    """
    return Statement(executable, dialect, names)


def of_database(sqlite: Executable, mysql: Executable) -> Executable:
    """Return the statement in the language of the database in use; MariaDB takes that of MySQL."""
    return sqlite if db.engine.dialect.name == "sqlite" else mysql


def read(executable: Executable, parameters: dict[str, Any]) -> Sequence[Row]:
    """Return all rows of a SELECT, executed on the read engine.

    If this thread's connection had been lost unnoticed, the SELECT is retried on a new one: once,
    and further times while ``wait_for_database`` says so. Within ``may_lag``, the replica is read.

    :raises PremiseFailed: the request's premise does not hold; it is checked first, by itself.
    """
    if current.unchecked is not None:
        settle()
    replica = replica_connection()
    if replica is not None:
        try:
            return _run(replica, executable, parameters).rows
        except DBAPIError as error:
            leave_replica(error)
    return _read(executable, parameters)


def read_presuming(select: Select[Any], parameters: dict[str, Any]) -> Sequence[Row]:
    """As ``read``, but the request's premise is a condition of the SELECT itself.

    Rows prove that it held. It is checked by itself only where there are none, or where the replica
    is read.

    :param select: gives no row if its condition is false, so it has no aggregate without groups.
    """
    premise = current.unchecked
    if premise is None or replica_connection() is not None:
        return read(select, parameters)
    current.unchecked = None
    values = {**parameters, **premise.parameters}
    found = _read(_with_condition(select, premise.condition), values)
    if not found and not premise.holds():
        raise PremiseFailed
    return found


@lru_cache(maxsize=1024)
def _with_condition(select: Select[Any], condition: ColumnElement[bool]) -> Select[Any]:
    return select.where(condition)


def _read(executable: Executable, parameters: dict[str, Any]) -> Sequence[Row]:
    engine = db.engines["read"]
    since: float | None = None
    while True:
        try:
            rows = _run(thread_connection(engine), executable, parameters).rows
        except DBAPIError as error:
            if not is_stale(error) or (since is not None and not wait_for_database(since)):
                raise
            since = time.monotonic() if since is None else since
        else:
            if outage.is_on:
                outage.is_on = False
            return rows


def write(
    executable: Executable, parameters: dict[str, Any], connection: Connection | None = None
) -> Result:
    """Execute a statement in the transaction of ``db.session``; a SELECT sees its writes.

    :param connection: one whose transaction is used instead.
    """
    return _run(connection or db.session.connection(), executable, parameters)


def _run(connection: Connection, executable: Executable, parameters: dict[str, Any]) -> Result:
    """Execute a statement; raise the driver's errors as SQLAlchemy would."""
    dialect = connection.dialect
    compiled = statement(executable, dialect, tuple(parameters))
    driver_connection: Any = connection.connection.driver_connection
    errors: Any = dialect.loaded_dbapi.Error
    try:
        # All rows are fetched, so the cursor need not be closed.
        return compiled.run(driver_connection.cursor(), parameters)
    except errors as error:
        lost = dialect.is_disconnect(error, driver_connection, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            compiled.sql, {}, error, errors, hide_parameters=True, connection_invalidated=lost
        ) from error

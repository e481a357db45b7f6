"""Statements that the driver runs itself: compiled once, values converted as SQLAlchemy would.

``read`` asks in one round trip; ``write`` works in the transaction of ``db.session``. SQLAlchemy
compiles, connects and says what an error means. Its results are left out: they cost a read as much
as the driver does. See docs/decisions/database.md.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from project.database.base import db
from project.database.connections import thread_connection
from project.database.failures import is_stale

Row: TypeAlias = Any
"""A named tuple, whose fields are the columns of the statement."""

Convert = Callable[[Any], Any]


class Result(NamedTuple):
    """What a statement has done.

    :param rows: of a SELECT.
    :param inserted_id: of the row that an INSERT has added.
    :param row_count: how many rows an UPDATE or DELETE has found.
    """

    rows: Sequence[Row]
    inserted_id: int
    row_count: int


class Statement:
    """A statement as a driver takes it, for parameters with these names.

    An INSERT or UPDATE sets the columns that are among the parameters.

    :raises TypeError: a column whose default is in Python is not among them.
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
        """Run the statement with these values."""
        sql, converters = self.sql, self._to_driver
        if self._constants:
            parameters = self._constants | parameters
        if self._compiled.post_compile_params:
            state = self._compiled.construct_expanded_state(parameters)
            sql, parameters = state.statement, state.parameters
            converters = [*converters, *state.processors.items()]
        if converters:
            parameters = {**parameters, **{name: to(parameters[name]) for name, to in converters}}
        cursor.execute(sql, parameters)
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
    """Return those names, or places, whose values need converting, and what converts them."""
    found = ((key, converter_of(kind)) for key, kind in types)
    return [(key, convert) for key, convert in found if convert is not None]


@lru_cache(maxsize=1024)
def statement(executable: Executable, dialect: Dialect, names: tuple[str, ...]) -> Statement:
    """Return a statement compiled; again only when it is another object.

    So whoever asks often makes the statement once, with ``bindparam`` for what differs.
    """
    return Statement(executable, dialect, names)


def read(executable: Executable, parameters: dict[str, Any]) -> Sequence[Row]:
    """Return all rows of a SELECT, run on the read engine.

    The connection of this thread may have died unnoticed: then the SELECT is asked once more, on a
    new one.
    """
    engine = db.engines["read"]
    try:
        return _run(thread_connection(engine), executable, parameters).rows
    except DBAPIError as error:
        if not is_stale(error):
            raise
    return _run(thread_connection(engine), executable, parameters).rows


def write(executable: Executable, parameters: dict[str, Any]) -> Result:
    """Run a statement in the transaction of ``db.session``; a SELECT sees its writes there."""
    return _run(db.session.connection(), executable, parameters)


def _run(connection: Connection, executable: Executable, parameters: dict[str, Any]) -> Result:
    """Run a statement; the driver's errors become what SQLAlchemy would raise."""
    dialect = connection.dialect
    compiled = statement(executable, dialect, tuple(parameters))
    driver_connection: Any = connection.connection.driver_connection
    errors: Any = dialect.loaded_dbapi.Error
    try:
        # All rows are fetched, so the cursor holds nothing that it would have to be closed for.
        return compiled.run(driver_connection.cursor(), parameters)
    except errors as error:
        lost = dialect.is_disconnect(error, driver_connection, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            compiled.sql, {}, error, errors, hide_parameters=True, connection_invalidated=lost
        ) from error

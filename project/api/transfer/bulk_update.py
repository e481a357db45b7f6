"""One UPDATE that sets different values for many users.

The values are one JSON parameter, so the statement is the same for any number of users.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Column, DateTime, String, TextClause, bindparam, text
from sqlalchemy.dialects import mysql

from project.api.users import fields
from project.database import db, write

COUNTS = ("id", "version", "changes", "deactivations")


def run(states: Sequence[dict[str, Any]], now: datetime) -> int:
    """Update users in the current transaction.

    :param states: for each user the ``id``, the current ``version``, the number of ``changes`` and
        ``deactivations``, and the new value of each column; the same columns for all users.
    :return: the number of users that had the given version.
    """
    dialect = db.engine.dialect
    names = tuple(name for name in states[0] if name not in COUNTS)
    impls = {name: fields.COLUMNS[name].type.dialect_impl(dialect) for name in names}
    converters = {name: impl.bind_processor(dialect) for name, impl in impls.items()}
    rows = [
        {
            name: convert(value) if (convert := converters.get(name)) else value
            for name, value in state.items()
            if value is not None  # a missing key becomes NULL
        }
        for state in states
    ]
    statement = _statement(names, dialect.name == "sqlite")
    parameters = {"states": orjson.dumps(rows).decode(), "now": now}
    return write(statement, parameters).row_count


@cache
def _statement(names: tuple[str, ...], sqlite: bool) -> TextClause:
    if sqlite:
        set_all = ", ".join(f"{name} = value ->> '{name}'" for name in names)
        sql = f"""
            UPDATE users
            SET {set_all}, updated_at = :now, version = version + (value ->> 'changes'),
                deactivations = deactivations + (value ->> 'deactivations')
            FROM json_each(:states)
            WHERE users.id = value ->> 'id' AND version = value ->> 'version'"""  # nosec B608
    else:
        set_all = ", ".join(f"users.{name} = state.{name}" for name in names)
        columns = ", ".join(
            [f"{name} INT PATH '$.{name}'" for name in COUNTS]
            + [f"{name} {_type(fields.COLUMNS[name])} PATH '$.{name}'" for name in names]
        )
        # STRAIGHT_JOIN goes from the states to the users, so no other row is read or locked.
        sql = f"""
            UPDATE JSON_TABLE(:states, '$[*]' COLUMNS ({columns})) AS state
                STRAIGHT_JOIN users ON users.id = state.id AND users.version = state.version
            SET {set_all}, users.updated_at = :now, users.version = users.version + state.changes,
                users.deactivations = users.deactivations + state.deactivations"""  # nosec B608
    return text(sql).bindparams(bindparam("now", type_=DateTime))


def _type(column: Column[Any]) -> str:
    if isinstance(column.type, String):
        return f"VARCHAR({column.type.length}) CHARACTER SET utf8mb4"
    return str(column.type.compile(mysql.dialect()))

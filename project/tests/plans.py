"""Reads what a database plans to do."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select

from project import db


def explain(statement: Select[Any], parameters: dict[str, Any]) -> Sequence[Row[Any]]:
    """Return the steps of the plan, as the database describes them."""
    filled = _fill(statement, parameters)
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            left = (parameters.get("role"),) * filled.count("?")
            return connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {filled}", left).all()
        mariadb = "MariaDB" in connection.exec_driver_sql("SELECT version()").scalar_one()
        form = "" if mariadb else "FORMAT=TRADITIONAL"
        return connection.exec_driver_sql(f"EXPLAIN {form} {filled.replace('%', '%%')}").all()


def faults(statement: Select[Any], parameters: dict[str, Any]) -> list[str]:
    """Return the steps of the plan that read or sort more than the page.

    A page without filters, from the beginning on, reads an index from its end: the limit ends that,
    so it is no scan of the table.
    """
    plan = explain(statement, parameters)
    from_the_beginning = " WHERE " not in _fill(statement, parameters).replace("\n", " ")
    if db.engine.dialect.name == "sqlite":
        return [
            row.detail
            for row in plan
            if "TEMP B-TREE" in row.detail
            or (row.detail.startswith("SCAN") and not from_the_beginning)
        ]
    return [
        str(row)
        for row in plan
        if "filesort" in (row.Extra or "")
        or "temporary" in (row.Extra or "")
        or row.type == "ALL"
        or (row.type == "index" and not from_the_beginning)
    ]


def _fill(statement: Select[Any], parameters: dict[str, Any]) -> str:
    filled = str(
        statement.params(parameters).compile(
            db.engine, compile_kwargs={"literal_binds": True, "render_postcompile": True}
        )
    )
    # SQLAlchemy leaves out what is compared by IS NOT DISTINCT FROM.
    for name, value in parameters.items():
        text = "NULL" if value is None else f"'{value}'"
        filled = filled.replace(f"%({name})s", text)
    return filled

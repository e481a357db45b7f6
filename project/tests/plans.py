"""Reads what a database plans to do."""

from typing import Any

from sqlalchemy import Select

from project import db


def faults(statement: Select[Any], parameters: dict[str, Any]) -> list[str]:
    """Return the steps of the plan that read or sort more than the page.

    A page without filters, from the beginning on, reads an index from its end: the limit ends that,
    so it is no scan of the table.
    """
    filled = str(
        statement.params(parameters).compile(
            db.engine, compile_kwargs={"literal_binds": True, "render_postcompile": True}
        )
    )
    from_the_beginning = " WHERE " not in filled.replace("\n", " ")
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {filled}").all()
            return [
                row.detail
                for row in plan
                if "TEMP B-TREE" in row.detail
                or (row.detail.startswith("SCAN") and not from_the_beginning)
            ]
        mariadb = "MariaDB" in connection.exec_driver_sql("SELECT version()").scalar_one()
        form = "" if mariadb else "FORMAT=TRADITIONAL"
        plan = connection.exec_driver_sql(f"EXPLAIN {form} {filled.replace('%', '%%')}").all()
        return [
            str(row)
            for row in plan
            if "filesort" in (row.Extra or "")
            or "temporary" in (row.Extra or "")
            or row.type == "ALL"
            or (row.type == "index" and not from_the_beginning)
        ]

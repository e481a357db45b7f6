"""SQL expressions with which the database renders rows: JSON, a CSV line, a sheet's row, one text.

One text column costs the driver, and Python, much less than the columns that it is made of. The
constant parts are literals in the SQL, since parameters would cost time again.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Double, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

SEPARATOR = "\x1f"
"""Between the values of ``joined``: the unit separator of ASCII."""

FORMULA_STARTS = "=+-@"
"""With these, spreadsheets take a cell for a formula (OWASP, CSV injection); control characters,
which do so too, are in no text that was validated."""

FIRST_SHEET_TIME = "1900-03-01"
"""Excel shows no dates before 1900, and those of its first two months wrongly."""


class sheet_time(FunctionElement[float]):  # noqa: N801  (as functions of SQL are)
    """The serial number of a time in Excel: days since 1899-12-30."""

    type = Double()
    inherit_cache = True


@compiles(sheet_time)
def _sheet_time(element: Any, compiler: Any, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"(to_days({time}) - 693959 + time_to_sec({time}) / 864e2)"


@compiles(sheet_time, "sqlite")
def _sheet_time_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"(julianday({compiler.process(element.clauses, **options)}) - 2415018.5)"


class all_lines(FunctionElement[str]):  # noqa: N801
    """The lines of all rows, one after the other, in the order of the second argument.

    One row of text costs the driver a tenth of the rows of which it is made. SQLite takes the rows
    as they come, which before 3.44 cannot be told an order.
    """

    type = String()
    inherit_cache = True


@compiles(all_lines)
def _all_lines(element: Any, compiler: Any, **options: Any) -> str:
    line, order = (compiler.process(each, **options) for each in element.clauses)
    return f"group_concat({line} ORDER BY {order} SEPARATOR '')"


@compiles(all_lines, "sqlite")
def _all_lines_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    line, _order = (compiler.process(each, **options) for each in element.clauses)
    return f"group_concat({line}, '')"


def json_object(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """Return the SQL expression of a JSON object with these columns (RFC 8259)."""
    parts = [part for each in columns for part in (_text(f',"{each.name}":'), _json_value(each))]
    return reduce(add, [_text(f'{{"{columns[0].name}":'), *parts[1:], _text("}")])


def joined(columns: Sequence[Column[Any]]) -> ColumnElement[str]:
    """Return the SQL expression of the values of these columns, with ``SEPARATOR`` between them.

    NULL is empty, and of a time the date is left. Only the last column may contain the separator.
    """
    parts = [part for each in columns for part in (_text(SEPARATOR), _joined_value(each))]
    return reduce(add, parts[1:])


def _joined_value(column: Column[Any]) -> ColumnElement[str]:
    value: ColumnElement[str] = column
    if isinstance(column.type, sa.DateTime):
        value = _start(sa.cast(column, String(19)), 10)
    elif not isinstance(column.type, String):
        value = _unquoted_value(column)
    return _or_if_null(value, "", column)


def csv_line(columns: Sequence[Column[Any]], safe: bool = False) -> ColumnElement[str]:
    """Return the SQL expression of a CSV line (RFC 4180): text is quoted, NULL is empty.

    :param safe: put an apostrophe before a text that a spreadsheet would run as a formula.
    """
    parts = [part for column in columns for part in (_text(","), _csv_value(column, safe))]
    return reduce(add, [*parts[1:], _text("\r\n")])


def sheet_row(columns: Sequence[Column[Any]], time_style: int) -> ColumnElement[str]:
    """Return the SQL expression of a row of a sheet (ECMA-376): no text is a formula.

    Characters that XML cannot represent are as they are: ``workbook`` writes them.

    :param time_style: the number of the style of times.
    """
    cells = [_sheet_cell(column, time_style) for column in columns]
    return reduce(add, [_text("<row>"), *cells, _text("</row>")])


def _sheet_cell(column: Column[Any], time_style: int) -> ColumnElement[str]:
    value = _unquoted_value(column)
    if isinstance(column.type, String):
        cell = _sheet_text(column)
    elif isinstance(column.type, sa.DateTime):
        serial = sa.cast(sheet_time(column), String(32))
        can_be_shown = column >= sa.literal_column(f"'{FIRST_SHEET_TIME}'")
        number = _text(f'<c s="{time_style}"><v>') + serial + _text("</v></c>")
        cell = sa.case((can_be_shown, number), else_=_sheet_text(value))
    elif isinstance(column.type, sa.Boolean):
        flag = sa.case((column, _text("1")), else_=_text("0"))
        cell = _text('<c t="b"><v>') + flag + _text("</v></c>")
    else:
        cell = _text("<c><v>") + value + _text("</v></c>")
    return _or_if_null(cell, "<c/>", column)


def _sheet_text(value: ColumnElement[str]) -> ColumnElement[str]:
    for character, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        value = sa.func.replace(value, _text(character), _text(reference), type_=String)
    start = _text('<c t="inlineStr"><is><t xml:space="preserve">')
    return start + value + _text("</t></is></c>")


def _json_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, String):
        value: ColumnElement[str] = sa.func.json_quote(column, type_=String)
    elif isinstance(column.type, sa.DateTime):
        value = _text('"') + _unquoted_value(column) + _text('"')
    else:
        value = _unquoted_value(column)
    return _or_if_null(value, "null", column)


def _csv_value(column: Column[Any], safe: bool) -> ColumnElement[str]:
    if not isinstance(column.type, String):
        return _or_if_null(_unquoted_value(column), "", column)
    quote, two_quotes = _text('"'), _text('""')
    value = sa.func.replace(column, quote, two_quotes, type_=String) + quote
    if safe and not isinstance(column.type, sa.Enum):
        starts = _start(column, 1).in_([_text(each) for each in FORMULA_STARTS])
        value = sa.case((starts, _text("''")), else_=_text("")) + value
    return _or_if_null(quote + value, "", column)


def _unquoted_value(column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, sa.DateTime):
        # SQLite stores a fraction of the second, always zero.
        seconds = _start(sa.cast(column, String(19)), 19)
        return sa.func.replace(seconds, _text(" "), _text("T"), type_=String) + _text("Z")
    if isinstance(column.type, sa.Boolean):
        return sa.case((column, _text("true")), else_=_text("false"))
    return sa.cast(column, String(11))


def _or_if_null(value: ColumnElement[str], text: str, column: Column[Any]) -> ColumnElement[str]:
    """Return a value, or a text instead of NULL: concatenation with NULL gives NULL."""
    if not column.nullable:
        return value
    return sa.case((column.is_(None), _text(text)), else_=value)


def _start(value: ColumnElement[str], length: int) -> ColumnElement[str]:
    first: ColumnElement[int] = sa.literal_column("1")
    count: ColumnElement[int] = sa.literal_column(str(length))
    return sa.func.substr(value, first, count, type_=String)


def _text(value: str) -> ColumnElement[str]:
    """Return the SQL literal of a text without apostrophes."""
    return sa.literal_column(f"'{value}'", String)

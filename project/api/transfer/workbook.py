"""Writes an Excel file (.xlsx, ECMA-376) while its rows come: constant memory, no temporary file.

A zip file whose members are compressed as they are written, and whose sizes follow them: what the
standard library does for an output that cannot seek. Text is in its cell (``inlineStr``) and not in
a table of all texts, which would have to be complete before the first row.
"""

import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

ROWS_PER_SHEET = 2**20
"""Excel's limit, with the header."""
COMPRESSION = 1
"""Level 6 takes three times as long for a fifth less."""
HEADER_STYLE, TIME_STYLE = 1, 2

_NAMESPACE = "http://schemas.openxmlformats.org"
_MAIN = f"{_NAMESPACE}/spreadsheetml/2006/main"
_RELATION = f"{_NAMESPACE}/officeDocument/2006/relationships"
_RELATIONS = f"{_NAMESPACE}/package/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

# Each .xml is a sheet unless an Override says otherwise: the number of sheets is not known yet.
_TYPES = f"""{_XML}<Types xmlns="{_NAMESPACE}/package/2006/content-types">\
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\
<Default Extension="xml" ContentType="{_TYPE}.worksheet+xml"/>\
<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>\
<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/></Types>"""

_ROOT = f"""{_XML}<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" \
Type="{_RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""

_CELL = '<xf numFmtId="{}" fontId="{}" fillId="0" borderId="0" xfId="0" {}/>'
_STYLES = f"""{_XML}<styleSheet xmlns="{_MAIN}">\
<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>\
<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>\
<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>\
<fills count="2"><fill><patternFill patternType="none"/></fill>\
<fill><patternFill patternType="gray125"/></fill></fills>\
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>\
<cellXfs count="3">{_CELL.format(0, 0, "")}{_CELL.format(0, 1, 'applyFont="1"')}\
{_CELL.format(164, 0, 'applyNumberFormat="1"')}</cellXfs>\
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"""

_SHEET_START = f"""{_XML}<worksheet xmlns="{_MAIN}">\
<sheetViews><sheetView workbookViewId="0">\
<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>\
</sheetView></sheetViews>"""

# Section 22.9.2.19: what XML has no character for is written _xHHHH_, and so is what looks like it.
_UNWRITABLE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class SheetColumn(NamedTuple):
    """A column's name in the header, and its width in characters."""

    name: str
    width: int


class Workbook:
    """An Excel file in the making. Each method returns the bytes that are ready."""

    def __init__(self, sheet_name: str, columns: Sequence[SheetColumn]) -> None:
        self._sheet_name, self._columns = sheet_name, columns
        self._output = _Output()
        self._zip = zipfile.ZipFile(
            self._output,  # type: ignore[call-overload]  # it has all that is needed
            "w",
            zipfile.ZIP_DEFLATED,
            compresslevel=COMPRESSION,
        )
        self._sheets = self._rows = 0
        for name, text in [
            ("[Content_Types].xml", _TYPES),
            ("_rels/.rels", _ROOT),
            ("xl/styles.xml", _STYLES),
        ]:
            self._zip.writestr(name, text)
        self._begin_sheet()

    def add(self, rows: Sequence[str]) -> bytes:
        """Add rows, each rendered by ``sheet_row``; a sheet that is full is followed by another."""
        while len(rows) > (room := ROWS_PER_SHEET - self._rows):
            self._write(rows[:room])
            self._end_sheet()
            self._begin_sheet()
            rows = rows[room:]
        self._write(rows)
        return self._output.take()

    def end(self) -> bytes:
        """End the file. One that was not ended cannot be opened."""
        self._end_sheet()
        numbers = range(1, self._sheets + 1)
        sheets = "".join(
            f'<sheet name="{self._sheet_name}{f" {number}" if number > 1 else ""}"'
            f' sheetId="{number}" r:id="rId{number}"/>'
            for number in numbers
        )
        relations = "".join(
            f'<Relationship Id="rId{number}" Type="{_RELATION}/worksheet"'
            f' Target="worksheets/sheet{number}.xml"/>'
            for number in numbers
        )
        self._zip.writestr(
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATION}"><sheets>{sheets}</sheets>'
            "</workbook>",
        )
        self._zip.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{_XML}<Relationships xmlns="{_RELATIONS}">{relations}<Relationship Id="rId0"'
            f' Type="{_RELATION}/styles" Target="styles.xml"/></Relationships>',
        )
        self._zip.close()
        return self._output.take()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._rows = 0
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w")
        widths = "".join(
            f'<col min="{place}" max="{place}" width="{column.width}" customWidth="1"/>'
            for place, column in enumerate(self._columns, 1)
        )
        self._sheet.write(f"{_SHEET_START}<cols>{widths}</cols><sheetData>".encode())
        header = "".join(
            f'<c s="{HEADER_STYLE}" t="inlineStr"><is><t>{column.name}</t></is></c>'
            for column in self._columns
        )
        self._write([f"<row>{header}</row>"])

    def _write(self, rows: Sequence[str]) -> None:
        text = "".join(rows)
        if "_x" in text or not text.isprintable():  # much faster than the expression
            text = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
        self._sheet.write(text.encode())
        self._rows += len(rows)

    def _end_sheet(self) -> None:
        self._sheet.write(b"</sheetData></worksheet>")
        self._sheet.close()


class _Output:
    """A file that cannot seek: what is written is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

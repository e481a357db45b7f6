"""Prints the rows of a file with sheets, from standard input: a program of its own.

A sheet of a few bytes may claim a cell far away, for which calamine would need more memory than
there is, and it would end the process. So it runs in one that has limits, and whose end hurts
nobody. Each line is a JSON array, a row; ``null`` is the start of a sheet.
"""

import io
import json
import resource
import sys
from datetime import date, datetime
from typing import Any

MEMORY_BYTES = 384 * 2**20
CPU_SECONDS = 30


def _cell(value: Any) -> Any:
    """Return a cell as it would be in CSV; yes or no stays what it is."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, bool | str) else str(value)


def main() -> None:
    """Read the file, and print its rows."""
    from python_calamine import CalamineWorkbook

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    book = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
    for name in book.sheet_names:
        sys.stdout.write("null\n")
        for row in book.get_sheet_by_name(name).iter_rows():
            sys.stdout.write(f"{json.dumps([_cell(value) for value in row])}\n")


if __name__ == "__main__":
    main()

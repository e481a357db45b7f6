"""The commands for import and export of users."""

import gzip
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, TextIO

from flask import current_app
from pydantic_core import PydanticCustomError
from tqdm import tqdm

from project.api.audit import service as audit
from project.api.transfer.archives import ZIP
from project.api.transfer.columns import Columns, chosen_columns
from project.api.transfer.exporting import Layout, read_columns
from project.api.transfer.exporting import export_users as export_chunks
from project.api.transfer.failures import write_failures
from project.api.transfer.importing import Report
from project.api.transfer.importing import import_users as import_batches
from project.api.transfer.missing import Met, commit_deactivations
from project.api.transfer.row_reader import read_rows
from project.api.transfer.row_rules import importable_fields
from project.api.transfer.stream import GZIP, OutOfProportion, Source
from project.api.users import service
from project.api.users.fields import SHOWN
from project.api.users.paging import role_and_activity
from project.errors import AppError, TooLarge
from project.logs import printable
from project.progress import progress_bar

FORMS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".xlsx": "xlsx"}
SHOWN_FAILURES = 10
GZIP_LEVEL = 6


@audit.by_command("import_users")
def import_users(
    file: str,
    dry_run: bool = False,
    report_file: str | None = None,
    match: str = "email",
    maps: Sequence[str] = (),
    missing: bool = False,
    max_deactivate: int | None = None,
) -> None:
    """Create and update users from the rows of a file, and print a summary.

    :param file: its path; ``-`` is the standard input.
    :param report_file: a file for the rows that failed, in the form they came in; None: no file.
    :param match: match rows to users by ``email``, or by ``id`` if the row has one.
    :param maps: from which column a field is read, each as ``FIELD:COLUMN``.
    :param missing: whether to deactivate active users who are not in the file.
    :param max_deactivate: how many users may be deactivated; None: a tenth of the active ones.
    :raises SystemExit: also if a row has failed; the others are imported.
    """
    path, started, report = Path(file), monotonic(), Report()
    if max_deactivate is not None and not missing:
        raise SystemExit("--max-deactivate is for --deactivate-missing only.")
    with _exit_on_error(), _opened(file) as data, _report_opened(report_file) as failures:
        size = path.stat().st_size if path.is_file() and file != "-" else None
        # A small compressed file may hold more than the database can store.
        is_compressed = data.peek(4).startswith((GZIP, ZIP))
        limit = current_app.config["IMPORT_MAX_BYTES"] if is_compressed else None
        source = Source(data.read, size, limit)
        fields = importable_fields(by_admin=True, with_id=match == "id")
        columns = Columns(fields, chosen_columns(maps))
        met = Met() if missing else None
        as_lines = {".ndjson", ".jsonl"}.intersection(map(str.lower, path.suffixes))
        rows = read_rows(source, False, columns, bool(as_lines))

        def before_batch() -> None:
            source.refuse_failures(report.failed)

        with progress_bar(size, "B", "Checking" if dry_run else "Importing") as progress:
            for batch in import_batches(rows, dry_run, before_batch, match == "id", columns):
                report.add(batch)
                if failures is not None:
                    write_failures(failures, batch.failures, columns.header_line is not None)
                if met is not None:
                    met.add(batch.user_ids)
                progress.update(source.position - progress.n)
        if met is not None:
            commit_deactivations(met, report, max_deactivate, dry_run)
    report.add_columns(columns)
    _print_summary(report, monotonic() - started)
    if dry_run:
        print("This was a dry run: nothing was changed.")
    if problems := [*_failures(report), *([report.refusal] if report.refusal else [])]:
        raise SystemExit("\n".join(problems))


def export_users(
    file: str,
    force: bool = False,
    columns: str | None = None,
    active: bool | None = None,
    role: str | None = None,
    bom: bool = False,
    safe: bool = False,
    words: str | None = None,
    form: str | None = None,
) -> None:
    """Write users to a file, which appears under its name only when it is complete.

    :param file: its path; ``-`` is the standard output.
    :param columns: the fields to write, comma-separated; None: all.
    :param active: only active, or only inactive users; None: both.
    :param role: only users with this role, or ``none``; None: with any.
    :param bom: begin a CSV with UTF-8's byte order mark, for Excel.
    :param safe: put an apostrophe before what a spreadsheet would run as a formula.
    :param words: only users whom a search for this finds; None: all.
    :param form: ``csv``, ``ndjson`` or ``xlsx``; None: as the file's name tells, or CSV.
    """
    path, started, rows = Path(file), monotonic(), 0
    gzipped = path.suffix.lower() == ".gz"
    form = form or ("csv" if file == "-" else _form(path))
    try:
        names = SHOWN if columns is None else read_columns(columns)
    except ValueError as error:
        raise SystemExit(f"--columns: {error}") from error
    filters = role_and_activity(role, active)
    chunks = export_chunks(Layout(form, names, bom, safe), filters=filters, words=words)
    if file == "-":
        with _exit_on_error():
            for chunk in chunks:
                sys.stdout.buffer.write(chunk.data)
            sys.stdout.flush()
        return
    if os.path.lexists(path) and not (force and path.is_file()):
        raise SystemExit(f"{path} already exists. To replace it, use --force.")
    with _exit_on_error(), TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder, "part")
        with (
            open(part, "xb", opener=partial(os.open, mode=0o600)) as raw,
            progress_bar(service.count_users(filters, words), " users", "Exporting") as progress,
        ):
            compressed = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if gzipped else None
            with compressed or nullcontext(raw) as data:
                for chunk in chunks:
                    data.write(chunk.data)
                    rows += chunk.rows
                    progress.update(chunk.rows)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(part, path)
    size = tqdm.format_sizeof(path.stat().st_size, "B")
    print(f"Wrote {rows:,} users to {path} ({size}) in {monotonic() - started:.1f} s.")


def _opened(file: str) -> AbstractContextManager[Any]:
    return nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb")


def _form(path: Path) -> str:
    """Return the format of a file by its name."""
    name = Path(path.name.lower())
    suffix = name.with_suffix("").suffix if name.suffix == ".gz" else name.suffix
    if suffix not in FORMS:
        names = ", ".join(FORMS)
        raise SystemExit(
            f"{path}: the name must end in {names}, optionally with .gz; or choose a --format."
        )
    return FORMS[suffix]


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """End the command with one line on an error of the import, the export or a file."""
    try:
        yield
    except OutOfProportion as error:
        raise SystemExit(error.message) from error
    except TooLarge as error:
        remedy = "The setting IMPORT_MAX_BYTES limits the size of decompressed gzip files."
        raise SystemExit(f"{error.message} {remedy}") from error
    except PydanticCustomError as error:
        raise SystemExit(f"--map: {error.message()}") from error
    except AppError as error:
        fields = [f"{problem.field}: {problem.message}" for problem in error.errors]
        raise SystemExit(" ".join([error.message, *fields])) from error
    except OSError as error:
        raise SystemExit(f"{error.filename or 'The file'}: {error.strerror}.") from error


def _report_opened(file: str | None) -> AbstractContextManager[TextIO | None]:
    if file is None:
        return nullcontext()
    opener = partial(os.open, mode=0o600)
    return open(file, "x", encoding="utf-8", errors="replace", newline="", opener=opener)


def _print_summary(report: Report, seconds: float) -> None:
    counts = report.counts()
    rows = sum(counts.values())
    for name, count in [*counts.items(), ("rows", rows)]:
        print(f"{name:8}{count:>15,}")
    if report.missing is not None:
        print(f"Active users who are not in the file: {report.missing:,}.")
        print(f"Deactivated: {report.deactivated:,}.")
    print(f"in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)")
    for name, columns in report.columns.items():
        if columns != [name]:
            print(f"{name} is from: {_names(columns)}.")
    if report.header_line not in (None, 1):
        print(f"The header is line {report.header_line}.")
    if report.ignored:
        print(f"Ignored columns: {_names(report.ignored)}.")


def _names(columns: Iterable[str]) -> str:
    return printable(", ".join(columns))


def _failures(report: Report) -> list[str]:
    if not report.failed:
        return []
    failed = [outcome for outcome in report.rows if outcome.result == "failed"]
    lines = [f"line {each.line:,}: {printable(each.reason)}" for each in failed[:SHOWN_FAILURES]]
    if report.failed > len(lines):
        lines.append("… Use --report FILE to get all, to mend them and send them again.")
    return ["These rows failed:", *lines]

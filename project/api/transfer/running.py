"""Runs an import of the pages: a dry run of its first rows, and the import itself."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import BinaryIO, NamedTuple

from flask import current_app

from project.api.transfer import imports, uploads
from project.api.transfer.archives import ZIP
from project.api.transfer.columns import MAX_IGNORED, Columns, Plan, shown_name
from project.api.transfer.failures import write_failures
from project.api.transfer.importing import Batch, Report, Written, import_users
from project.api.transfer.imports import Lease, Options
from project.api.transfer.json_rows import flattened
from project.api.transfer.missing import Met, commit_deactivations
from project.api.transfer.row_reader import read_rows
from project.api.transfer.row_rules import SECRET
from project.api.transfer.stream import BadRow, Source
from project.api.transfer.stream import Row as FileRow
from project.api.transfer.table_rows import HEADER_FIELDS
from project.database import Row
from project.errors import Invalid, Message
from project.web.guard import ADMIN, SESSION, is_admin, require_still

PREVIEWED_ROWS = 10_000
SAMPLED_ROWS = 200
SAMPLES = 3
LONGEST_SAMPLE = 60
HIDDEN = ["•••"]
_SECRET_NAME = re.compile(
    "pass|secret|hash|kennwort|contrase|senha|密码|密碼|パスワード", re.IGNORECASE
)
LINE_SUFFIXES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")


class Column(NamedTuple):
    """A column of a file.

    :param samples: the first values that are not empty.
    :param field: what it becomes; empty: it is not used.
    """

    name: str
    samples: list[str]
    field: str


class Preview(NamedTuple):
    """What an import would do.

    :param is_whole: whether all rows were read; else it is about the first 10,000.
    """

    report: Report
    is_whole: bool


class _AnyColumns(Columns):
    """Columns of which none is needed, so that a person can say what they are."""

    def check(self, plan: Plan) -> None:
        pass


class _AnyHeader(_AnyColumns):
    """Columns whose names tell nothing: the first line with two names is the header."""

    def score(self, names: Sequence[str]) -> int:
        return len([*filter(None, names)])


def _source(file: BinaryIO, size: int) -> Source:
    # The limit is on what it decompresses to, too.
    return Source(file.read, size, current_app.config["IMPORT_MAX_BYTES"])


def _rows(source: Source, file_name: str, columns: Columns) -> Iterator[FileRow | BadRow]:
    return read_rows(source, False, columns, file_name.lower().endswith(LINE_SUFFIXES))


def list_columns(found: Row, options: Options) -> list[Column]:
    """Return the columns of a file, at most 100, with samples from its first rows.

    :param found: the import.
    :raises FileGone: the file is not on this server (404).
    :raises Invalid: the file cannot be read (400).
    """
    used: dict[str, list[str]] = {}
    with suppress(Invalid):
        used, samples = _sample(found, options, _AnyColumns)
    if len(used) < HEADER_FIELDS:
        used, samples = _sample(found, options, _AnyHeader)
    if not samples:
        raise Invalid(Message("The file has no rows that can be read."))
    becomes = {name: field for field, names in used.items() for name in names}
    return [
        Column(name, HIDDEN if field in SECRET or _SECRET_NAME.search(name) else values, field)
        for name, values in samples.items()
        for field in [becomes.get(shown_name(name), "")]
    ]


def _sample(
    found: Row, options: Options, kind: type[Columns]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the columns of each field, and the first values of each column."""
    columns = options.reader(is_admin(), kind)
    with uploads.opened(found.id) as file:
        rows = _rows(_source(file, found.size), found.file_name, columns)
        samples = _samples(islice(rows, SAMPLED_ROWS))
    return columns.used, samples


def _samples(rows: Iterator[FileRow | BadRow]) -> dict[str, list[str]]:
    """Return the first values of each column."""
    samples: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row, BadRow):
            continue
        for name, cell in flattened(dict(zip(row.names, row.cells, strict=False))):
            if not name or (name not in samples and len(samples) == MAX_IGNORED):
                continue
            values = samples.setdefault(name, [])
            text = "" if cell is None else str(cell).strip()
            if text and len(values) < SAMPLES:
                shown = text if len(text) <= LONGEST_SAMPLE else f"{text[: LONGEST_SAMPLE - 1]}…"
                if shown not in values:
                    values.append(shown)
    return samples


def preview(found: Row, options: Options) -> Preview:
    """Return what an import would do, from a dry run of its first 10,000 rows.

    :param found: the import.
    :raises FileGone: the file is not on this server (404).
    :raises Invalid: the header is invalid, or the data incomplete or corrupt (400).
    :raises TooLarge: the data costs too much (413).
    """
    report, columns = Report(), options.reader(is_admin())
    with uploads.opened(found.id) as file:
        source = _source(file, found.size)
        rows = _rows(source, found.file_name, columns)
        met = Met() if options.deactivate_missing else None

        def before_batch() -> None:
            source.refuse_failures(report.failed)

        first = islice(rows, PREVIEWED_ROWS)
        for batch in import_users(first, True, before_batch, options.match == "id", columns):
            report.add(batch)
            if met is not None:
                met.add(batch.user_ids)
        report.add_columns(columns)
        is_whole = next(rows, None) is None
        if met is not None and is_whole:
            commit_deactivations(met, report, options.max_deactivate, dry_run=True)
    return Preview(report, is_whole)


class _Run:
    """One thread's work on an import, from the first row that was not saved."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._found = imports.get_import(lease.import_id)
        self._options = Options.model_validate_json(self._found.options)
        self._right = ADMIN if is_admin() else "users:write"  # an administrator's rows give roles
        self._report = imports.resumed(imports.report_of(self._found))
        self._columns = self._options.reader(is_admin())
        self._changes = imports.Changes(lease.import_id)
        self._rows_read: int | None = None

    def run(self) -> None:
        with uploads.opened(self._lease.import_id) as file:
            total = self._found.size
            if file.read(len(ZIP)) == ZIP:
                # It is read as a whole before its first row, so its rows are counted instead.
                file.seek(0)
                total = self._count_rows(file)
                self._rows_read = 0
            file.seek(0)
            imports.commit_progress(self._lease, total=total)
            self._source = _source(file, self._found.size)
            met = Met() if self._options.deactivate_missing else None
            self._save_rows(met)
        if met is not None:
            commit_deactivations(
                met,
                self._report,
                self._options.max_deactivate,
                before_batch=self._check_rights,
                deactivate=self._deactivate,
            )
        report = imports.shown(self._report)
        imports.commit_end(self._lease, "done", report=report, progress=total)
        uploads.remove(self._lease.import_id)

    def _count_rows(self, file: BinaryIO) -> int:
        count = 0
        columns = self._options.reader(is_admin())
        source = _source(file, self._found.size)
        for count, _row in enumerate(_rows(source, self._found.file_name, columns), 1):
            if count % PREVIEWED_ROWS == 0:
                imports.commit_progress(self._lease)
        return count

    def _save_rows(self, met: Met | None) -> None:
        match_id = self._options.match == "id"
        is_continued = self._found.line > 0
        rows = self._read_rows(is_continued and met is None)
        with uploads.open_failed(self._lease.import_id) as failed:
            for batch in import_users(
                rows, False, self._before_batch, match_id, self._columns, self._record
            ):
                batch = self._new_in(batch)
                self._report.add(batch)
                write_failures(failed, batch.failures, self._columns.header_line is not None)
                failed.flush()
                if met is not None:
                    met.add(batch.user_ids)
        self._report.add_columns(self._columns)

    def _read_rows(self, only_new: bool) -> Iterator[FileRow | BadRow]:
        """Yield the rows; of those that were saved before, only if all are needed."""
        for row in _rows(self._source, self._found.file_name, self._columns):
            if self._rows_read is not None:
                self._rows_read += 1
            if not only_new or row.line > self._found.line:
                yield row

    def _new_in(self, batch: Batch) -> Batch:
        """Return a batch without the rows that were counted before the import was continued."""
        old = [each for each in batch.outcomes if each.line <= self._found.line]
        if not old:
            return batch
        counts = batch.counts.copy()
        counts.subtract(each.result for each in old)
        return batch._replace(
            counts=counts,
            outcomes=batch.outcomes[len(old) :],
            failures=[each for each in batch.failures if each.row.line > self._found.line],
        )

    def _record(self, written: Written) -> None:
        self._changes.add(written)
        report = replace(
            self._report, rows=[*self._report.rows], header_line=self._columns.header_line
        )
        report.add(self._new_in(written.batch))
        imports.save(
            self._lease,
            line=max(written.line, self._found.line),
            progress=self._progress(),
            report=imports.shown(report),
        )

    def _progress(self) -> int:
        return self._source.position if self._rows_read is None else self._rows_read

    def _before_batch(self) -> None:
        self._check_rights()
        self._source.refuse_failures(self._report.failed)
        uploads.touch(self._lease.import_id)

    def _check_rights(self) -> None:
        require_still(self._right, SESSION)

    def _deactivate(self, user_ids: Sequence[int]) -> int:
        imports.save(self._lease)
        return self._changes.deactivate(user_ids)


def run(lease: Lease) -> None:
    """Import the file: each batch is saved with the progress and what it has changed.

    :raises LeaseLost: another thread goes on with the import.
    :raises Forbidden: the person may no longer import users, or gives roles and is no administrator
        any more (403).
    """
    _Run(lease).run()

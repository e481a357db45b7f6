"""The endpoints for import and export."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Annotated, Literal

import structlog
from flask import Response, current_app, request, stream_with_context
from flask.blueprints import BlueprintSetupState
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from project.api.transfer import bp, exporting, importing
from project.api.transfer.row_reader import MAX_IGNORED, Columns, Source, read_rows
from project.api.transfer.row_rules import REQUIRED, optional_columns
from project.errors import AppError, FieldError, UnsupportedInput
from project.web import envelope
from project.web.body import open_body
from project.web.contract import accepts_query, transfers_files
from project.web.fields import Flag
from project.web.guard import ADMIN, is_admin, require, require_still
from project.web.request_id import request_id

log = structlog.get_logger()

FORMS = {
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


class ImportQuery(BaseModel):
    """The parameters of an import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[
        Flag, Field(description="Whether to report the same results without saving anything.")
    ] = False
    match: Annotated[
        Literal["email", "id"],
        Field(
            description="How a row is matched to a user: by mailbox; or by `id`, so that the"
            " mailbox can change too, with the mailbox for rows without an id."
        ),
    ] = "email"


class ImportedRow(BaseModel):
    """The result of a row that did not create a user."""

    line: int
    result: Literal["updated", "skipped", "failed"]
    reason: str


class ImportReport(BaseModel):
    """The results of all rows; ``rows`` has the first 10,000 that did not create a user."""

    created: Annotated[int, Field(examples=[41])]
    updated: Annotated[int, Field(examples=[0])]
    skipped: Annotated[int, Field(examples=[0])]
    failed: Annotated[int, Field(examples=[1])]
    ignored: Annotated[
        list[str],
        Field(
            max_length=MAX_IGNORED,
            description="The names of the first 100 columns that were not used.",
            examples=[["department"]],
        ),
    ]
    rows: Annotated[
        list[ImportedRow],
        Field(examples=[[{"line": 3, "result": "failed", "reason": "email: Must not be blank."}]]),
    ]
    rows_omitted: Annotated[int, Field(examples=[0])]


class ExportQuery(BaseModel):
    """The parameters of an export."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[
        Literal["csv", "ndjson"], Field(description="The format of the file; csv by default.")
    ] = "csv"


@bp.post("/users/import", provide_automatic_options=False)
@require("users:write")
@accepts_query(ImportQuery)
@transfers_files(body_types=("text/csv", "application/x-ndjson"), data=ImportReport)
def import_users(query: ImportQuery) -> Response:
    """Add and change users from the rows of a CSV or NDJSON body, and report the results.

    :raises UnsupportedInput: the body has another media type or an encoding other than gzip (415).
    :raises TooLarge: the body is over ``IMPORT_MAX_BYTES``, packed or not, or costs too much (413).
    :raises Invalid: a parameter or the header is invalid, or the body incomplete or corrupt (400).
    :raises Unavailable: the database is unavailable; the whole file can be sent again (503).
    """
    form, gzipped = _content_type(), _is_gzipped()
    # Not from request.stream, which has the limit of the other endpoints.
    read = open_body(request.environ).read
    source = Source(read, request.content_length, current_app.config["IMPORT_MAX_BYTES"])
    right = ADMIN if is_admin() else "users:write"  # an administrator's rows may give roles
    columns = Columns(REQUIRED, optional_columns(right == ADMIN), query.match == "id")
    rows, report = read_rows(source, form, gzipped, columns), importing.Report()
    report.ignored = columns.ignored

    def before_batch() -> None:
        require_still(right)
        source.refuse_failures(report.failed)

    for batch in importing.import_users(rows, query.dry_run, before_batch, query.match == "id"):
        report.add(batch)
    return envelope.success(vars(report))


@bp.get("/users/export", provide_automatic_options=False)
@require("users:read")
@accepts_query(ExportQuery)
@transfers_files(answer_types=("text/csv", "application/x-ndjson"))
def export_users(query: ExportQuery) -> Response:
    """Send all users as a CSV or NDJSON file, in order of id.

    If the database fails during the export, or the caller loses permission, the connection is
    aborted: the file is then incomplete.

    :raises Invalid: a parameter is unknown, repeated or invalid (400).
    """
    chunks: Iterator[bytes] = iter(())
    if request.method != "HEAD":
        before_chunk = partial(require_still, "users:read")
        chunks = (chunk.data for chunk in exporting.export_users(query.format, before_chunk))
        # An error in the first chunk gets a normal error response.
        chunks = stream_with_context(_log_failure(chain([next(chunks)], chunks)))
    response = Response(chunks, content_type=CONTENT_TYPES[query.format])
    response.headers["Content-Disposition"] = f'attachment; filename="users.{query.format}"'
    return response


def _log_failure(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except (SQLAlchemyError, AppError) as error:
        reason = str(getattr(error, "orig", error))
        log.warning("export cut off", request_id=request_id(), reason=reason)
        raise


def _content_type() -> str:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype in FORMS and charset in {"utf-8", "utf8", "us-ascii"}:
        return FORMS[request.mimetype]
    reason = "Must be text/csv or application/x-ndjson, in UTF-8."
    raise _unsupported("Content-Type", reason)


def _is_gzipped() -> bool:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise _unsupported("Content-Encoding", "Must be gzip or identity.")
    return encoding != "identity"


def _unsupported(header: str, reason: str) -> UnsupportedInput:
    return UnsupportedInput("Unsupported media type.", [FieldError(header, reason)])


def _refuse_other_methods(path: str, *allowed: str) -> None:
    """Respond with 405 where ``/users/<user_id>`` would parse the last segment as an id."""

    def refuse() -> Response:
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        response = Response()
        response.allow.update(allowed)
        return response

    def add_rule(state: BlueprintSetupState) -> None:
        # A rule without methods matches all methods, even unknown ones, that no other rule has.
        endpoint = f"{state.name}.refuse {path}"
        state.app.url_map.add(Rule(path, endpoint=endpoint))
        state.app.view_functions[endpoint] = refuse

    bp.record(add_rule)


_refuse_other_methods("/users/import", "OPTIONS", "POST")
_refuse_other_methods("/users/export", "GET", "HEAD", "OPTIONS")

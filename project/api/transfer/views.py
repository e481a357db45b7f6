"""Import and export of users as files."""

from functools import partial
from typing import Annotated, Any, Literal, Self

from flask import Response, current_app, request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from project.api.transfer import bp, exporting, importing
from project.api.transfer.columns import MAX_IGNORED, Columns, chosen_columns
from project.api.transfer.failures import MAX_SHOWN
from project.api.transfer.missing import Met, commit_deactivations
from project.api.transfer.row_reader import read_rows
from project.api.transfer.row_rules import importable_fields
from project.api.transfer.stream import Source
from project.api.users import paging
from project.api.users.fields import SHOWN
from project.api.users.schemas import (
    ActiveFilter,
    Ids,
    RoleFilter,
    Search,
    UserImport,
    UserRead,
)
from project.errors import FieldError, Forbidden, UnsupportedInput, error_text
from project.web import envelope
from project.web.body import open_body
from project.web.contract import accepts_query, transfers_files
from project.web.cors import is_listed
from project.web.downloads import send_file
from project.web.fields import REPEATABLE, Count, Flag
from project.web.guard import ADMIN, BEARER, is_admin, require, require_still
from project.web.methods import refuse_other_methods
from project.web.multipart import read_file

FORM_TYPE = "multipart/form-data"
IMPORT_TYPES = (
    "text/csv",
    "application/x-ndjson",
    "application/json",
    "application/octet-stream",
    FORM_TYPE,
)
"""The types in the API's description. The content tells the form."""

OTHER_TYPES = (
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/ndjson",
    "application/jsonl",
    "application/vnd.ms-excel",
    "application/gzip",
    "application/x-gzip",
    "application/zip",
    "application/x-zip-compressed",
    "text/tab-separated-values",
    "text/ldif",
    "text/plain",
)
"""Other types under which clients send files; browsers on Windows send CSV as Excel's."""

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "xlsx": OTHER_TYPES[0],
}


LINE_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CHARSETS = {"utf-8", "utf8", "us-ascii", "utf-16", "utf-16le", "utf-16be"}


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

    map: Annotated[
        list[str],
        REPEATABLE,
        Field(
            max_length=20,
            description="`FIELD:COLUMN`: the column from which a field is read, whatever its name;"
            " may be repeated.",
            examples=[["email:Work Email", "username:Full Name"]],
        ),
    ] = []

    deactivate_missing: Annotated[
        Flag,
        Field(
            description="Whether active users who are not in the file are deactivated at the end."
            " Administrators are not, nor is anybody if a row has failed or more than a tenth"
            " of the active users are missing; then `refusal` says so."
        ),
    ] = False

    max_deactivate: Annotated[
        Count | None,
        Field(
            description="How many users `deactivate_missing` may deactivate, instead of a tenth."
        ),
    ] = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.max_deactivate is not None and not self.deactivate_missing:
            message = "Is for deactivate_missing=true only."
            raise PydanticCustomError("alone", message, {"field": "max_deactivate"})
        return self

    @field_validator("map")
    @classmethod
    def _check_map(cls, texts: list[str]) -> list[str]:
        chosen_columns(texts)
        return texts


class ImportedRow(BaseModel):
    """The result of a row that did not just create a user; ``created`` comes with a warning."""

    line: int
    result: Literal["created", "updated", "skipped", "failed"]
    reason: str


class ImportReport(BaseModel):
    """The results of all rows; ``rows`` has the first 10,000 that did not just create a user."""

    created: Annotated[int, Field(examples=[41])]
    updated: Annotated[int, Field(examples=[0])]
    skipped: Annotated[int, Field(examples=[0])]
    failed: Annotated[int, Field(examples=[1])]
    deactivated: Annotated[
        int, Field(description="How many users `deactivate_missing` deactivated.", examples=[0])
    ]
    missing: Annotated[
        int | None,
        Field(
            description="With `deactivate_missing`, how many active users are not in the file.",
            examples=[None],
        ),
    ]
    refusal: Annotated[
        str | None,
        Field(
            description="Why `deactivate_missing` deactivated nobody; null: it was not refused.",
            examples=[None],
        ),
    ]
    columns: Annotated[
        dict[str, list[str]],
        Field(
            description="The columns that each field was read from. Where several are, the first"
            " whose cell is not empty counts.",
            examples=[{"username": ["Display name"], "email": ["E-mail"]}],
        ),
    ]
    ignored: Annotated[
        list[str],
        Field(
            max_length=MAX_IGNORED,
            description="The names of the first 100 columns that were not used.",
            examples=[["department"]],
        ),
    ]
    header_line: Annotated[
        int | None,
        Field(description="The line that was taken as the header; null: none.", examples=[1]),
    ]
    rows: Annotated[
        list[ImportedRow],
        Field(examples=[[{"line": 3, "result": "failed", "reason": "email: Must not be blank."}]]),
    ]
    rows_omitted: Annotated[int, Field(examples=[0])]
    failed_rows: Annotated[
        list[dict[str, Any]],
        Field(
            max_length=MAX_SHOWN,
            description="The first 1,000 rows that failed, at most 1 MiB, as they came and with a"
            " key `error`, to be mended and sent again.",
            examples=[[{"username": "Ada", "email": "", "error": "email: Must not be blank."}]],
        ),
    ]


def _read_columns(texts: list[str]) -> tuple[str, ...]:
    try:
        return exporting.read_columns(",".join(texts))
    except ValueError as error:
        raise PydanticCustomError("columns", "{reason}", {"reason": error_text(error)}) from error


ExportColumns = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_read_columns),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": [*SHOWN]},
            "minItems": 1,
            "uniqueItems": True,
        }
    ),
    REPEATABLE,
]


class ExportQuery(BaseModel):
    """The parameters of an export."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[
        Literal["csv", "ndjson", "xlsx"],
        Field(description="The format of the file; csv by default."),
    ] = "csv"
    columns: ExportColumns = Field(None, description="The columns, in this order; all by default.")
    active: ActiveFilter = None
    role: RoleFilter = None
    ids: Ids = Field(None, description="Only users with these ids. Cannot be combined with `q`.")
    q: Search = Field(None, description="Only users whom this search finds, in its order.")
    bom: Flag = Field(
        False, description="Whether a CSV begins with UTF-8's byte order mark, as Excel needs."
    )
    safe: Flag = Field(
        False,
        description="Whether a CSV has an apostrophe before each text that a spreadsheet would run"
        " as a formula. An import of it would have the apostrophe, too.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.ids is not None and self.q is not None:
            raise PydanticCustomError("alone", "Cannot be combined with q.", {"field": "ids"})
        return self


@bp.post("/users/import", provide_automatic_options=False)
@require("users:write")
@accepts_query(ImportQuery)
@transfers_files(body_types=IMPORT_TYPES, row=UserImport, rows_name="users", data=ImportReport)
def import_users(query: ImportQuery) -> Response:
    """Add and change users from the rows of a file, and report the results.

    The content tells the form: CSV with any usual delimiter, NDJSON, JSON, LDIF, Excel or
    LibreOffice sheets; gzip or a zip of one file, too. Columns are recognised by their usual
    names. A row whose mailbox a user has changes this user. A row that fails does not stop the
    others.

    :raises UnsupportedInput: the body has another media type or an encoding other than gzip (415).
    :raises TooLarge: the body is over ``IMPORT_MAX_BYTES``, packed or not, or costs too much (413).
    :raises Invalid: a parameter or the header is invalid, or the body incomplete or corrupt (400).
    :raises Unavailable: the database became unavailable; the whole file can be sent again (503).
    """
    _check_content_type()
    gzipped = _is_gzipped()
    # Not from request.stream, which has the limit of the other endpoints.
    limit = current_app.config["IMPORT_MAX_BYTES"]
    source = Source(open_body(request.environ).read, request.content_length, limit)
    if request.mimetype == FORM_TYPE:
        boundary = request.mimetype_params.get("boundary", "")
        source = Source(read_file(source.read, boundary), max_bytes=limit)
    right = ADMIN if is_admin() else "users:write"  # an administrator's rows may give roles
    fields = importable_fields(right == ADMIN, query.match == "id")
    columns = Columns(fields, chosen_columns(query.map))
    as_lines = request.mimetype in LINE_TYPES
    rows, report = read_rows(source, gzipped, columns, as_lines), importing.Report()
    met = Met() if query.deactivate_missing else None

    def before_batch() -> None:
        require_still(right)
        source.refuse_failures(report.failed)

    match_id = query.match == "id"
    for batch in importing.import_users(rows, query.dry_run, before_batch, match_id, columns):
        report.add(batch)
        if met is not None:
            met.add(batch.user_ids)
    report.add_columns(columns)
    if met is not None:
        commit_deactivations(met, report, query.max_deactivate, query.dry_run, before_batch)
    return envelope.success({**vars(report), "failed_rows": report.failed_rows.shown})


@bp.get("/users/export", provide_automatic_options=False)
@require("users:read")
@accepts_query(ExportQuery)
@transfers_files(
    answer_types=("text/csv", "application/x-ndjson", CONTENT_TYPES["xlsx"]), row=UserRead
)
def export_users(query: ExportQuery) -> Response:
    """Send all users, or those that the filters find, as a CSV, NDJSON or Excel file.

    They are in order of id; with `q`, in the order of the search. If the database fails during the
    export, or the caller loses permission, the connection is aborted: the file is then incomplete.

    :raises Invalid: a parameter is unknown, repeated or invalid (400).
    """
    return send_users(query, f"users.{query.format}")


def send_users(query: ExportQuery, name: str, credentials: str = BEARER) -> Response:
    """Return the response with the users of a query as a file; the caller is checked meanwhile.

    :param name: the file's name.
    :param credentials: those by which the caller is identified.
    """
    layout = exporting.Layout(query.format, query.columns or SHOWN, query.bom, query.safe)
    found = exporting.export_users(
        layout,
        partial(require_still, "users:read", credentials),
        paging.role_and_activity(query.role, query.active),
        query.ids,
        query.q,
    )
    return send_file((chunk.data for chunk in found), CONTENT_TYPES[query.format], name)


def _check_content_type() -> None:
    """Check that the body claims to be a file that may have users.

    A browser sends some of these types for a form of any other site, too; such a request is
    refused, since nobody was asked. Pages of ``CORS_ORIGINS`` may import.
    """
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in (*IMPORT_TYPES, *OTHER_TYPES) or charset not in CHARSETS:
        reason = f"Must be {', '.join(IMPORT_TYPES[:3])} or that of a sheet, in UTF-8 or UTF-16."
        raise _unsupported("Content-Type", reason)
    is_foreign = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    if is_foreign and not is_listed(request.headers.get("Origin")):
        raise Forbidden("A page of another site cannot import users.")


def _is_gzipped() -> bool:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise _unsupported("Content-Encoding", "Must be gzip or identity.")
    return encoding != "identity"


def _unsupported(header: str, reason: str) -> UnsupportedInput:
    return UnsupportedInput("Unsupported media type.", [FieldError(header, reason)])


refuse_other_methods(bp, "/users/import", "OPTIONS", "POST")
refuse_other_methods(bp, "/users/export", "GET", "HEAD", "OPTIONS")

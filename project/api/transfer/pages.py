"""The pages to import users: a file is uploaded, looked at, imported, and undone if wanted."""

import re
from typing import Any

from flask import Response, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as N_
from flask_wtf.csrf import validate_csrf
from wtforms.validators import ValidationError

from project.api.transfer import bp, imports, jobs, running, undoing, uploads
from project.api.transfer.columns import CHOSEN
from project.api.transfer.forms import FIELDS, OptionsForm, UploadForm
from project.api.transfer.importing import original_error
from project.api.transfer.imports import InUse, Options, TooManyWaiting
from project.api.transfer.row_rules import importable_fields
from project.api.users import service
from project.database import Row
from project.errors import AppError, Forbidden, Invalid, Message, TooLarge, UnsupportedInput
from project.web.body import open_body
from project.web.forms import PageForm
from project.web.guard import SESSION, is_admin, known_principal, require
from project.web.languages import translated
from project.web.multipart import Form, read_form

FORM_TYPE = "multipart/form-data"
FORM_BYTES = 65_536  # of a form besides its file
REFRESH_SECONDS = 2
FAILED_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}

STATES = {
    "waiting": N_("Not started"),
    "running": N_("Running"),
    "stopped": N_("Stopped"),
    "done": N_("Done"),
    "failed": N_("Failed"),
    "undoing": N_("Being undone"),
    "undone": N_("Undone"),
}
KEPT = {
    "changed": N_("was changed since"),
    "admin": N_("is an administrator"),
    "role": N_("only an administrator may give the role or password back"),
    "self": N_("is you"),
    "taken": N_("another user has the former address"),
}
RESULTS = {
    "created": N_("created"),
    "updated": N_("changed"),
    "skipped": N_("unchanged"),
    "failed": N_("failed"),
}


class NotYours(Forbidden):
    """Somebody else has uploaded the file (403)."""

    message = "Only the person who uploaded this file, and administrators, may see it."


@bp.get("/import")
@require("users:write", credentials=SESSION)
def import_form() -> str:
    """Show the form for a file, and the newest imports."""
    return _render_form(UploadForm())


@bp.post("/import")
@require("users:write", credentials=SESSION)
def upload_file() -> ResponseReturnValue:
    """Store the form's file on the disk while it arrives, and lead to its preview.

    The form's token stands before the file, so it is checked before the file is read.

    :raises UnsupportedInput: the body is no form with a file (415).
    :raises StorageFull: the disk has no room (507).
    """
    form, limit = UploadForm(formdata=None), current_app.config["MAX_UPLOAD_BYTES"]
    if request.mimetype != FORM_TYPE:
        raise UnsupportedInput(Message("The form must have a file."))
    try:
        if (request.content_length or 0) > limit + FORM_BYTES:
            raise TooLarge
        # Not from request.stream, which has the limit of other forms.
        body = open_body(request.environ)
        sent = read_form(body.read, request.mimetype_params.get("boundary", ""))
        if current_app.config.get("WTF_CSRF_ENABLED", True):
            validate_csrf(sent.fields.get("csrf_token"))
        if not sent.file_name:
            return _render_form(form, _("Choose a file.")), 400
        upload_id = _store(sent, limit)
    except ValidationError:
        return _render_form(form, _("The form has expired. Choose the file again.")), 400
    except TooLarge:
        problem = _("The file is larger than %(size)s MB.", size=f"{limit / 1_048_576:,.0f}")
        return _render_form(form, problem), 413
    except Invalid as error:
        return _render_form(form, translated(error.message)), 400
    except TooManyWaiting as error:
        return _render_form(form, translated(error.message)), 409
    return _to_import(upload_id)


def _store(sent: Form, limit: int) -> str:
    """Store a form's file with its import; return its id."""
    imports.refuse_too_many()
    upload_id, size = uploads.save(sent.read, limit)
    try:
        if not size:
            raise Invalid(Message("The file is empty."))
        imports.commit_import(upload_id, sent.file_name, size)
    except BaseException:
        uploads.remove_all(upload_id)
        raise
    return upload_id


@bp.get("/import/<import_id>")
@require("users:write", credentials=SESSION)
def show_import(import_id: str) -> ResponseReturnValue:
    """Show what an import would do, how far it is, or what it has done.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    """
    found = _get(import_id)
    if found.state == "waiting":
        return _render_preview(found, Options.model_validate_json(found.options))
    if found.state in imports.WORKING and not imports.is_stopped(found):
        page = _render("transfer/progress.html", found, share=_share(found))
        return page, 200, [("Cache-Control", "no-store")]
    return _render(
        "transfer/result.html",
        found,
        changes=imports.count_changes(import_id),
        kept=_kept(import_id),
    )


@bp.post("/import/<import_id>")
@require("users:write", credentials=SESSION)
def change_import(import_id: str) -> ResponseReturnValue:
    """Save what was chosen; start or continue the import, or discard the file.

    The import starts only if its preview was about what the form says.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    :raises InUse: it has been started or continued meanwhile (409).
    """
    found, action = _get(import_id), request.form.get("do")
    if not PageForm().validate_on_submit():
        flash(_("The form has expired. Submit it again."), "warning")
        return _to_import(import_id)
    if action == "continue":
        _start(import_id)
        return _to_import(import_id)
    if found.state != "waiting":
        raise InUse
    if action == "discard":
        imports.commit_removal(import_id)
        uploads.remove_all(import_id)
        flash(_("The file was removed. Nothing was imported."))
        return redirect(url_for("transfer.import_form"), 303)
    form, before = OptionsForm(), Options.model_validate_json(found.options)
    try:
        options = form.options(running.list_columns(found, before), before)
    except Invalid as error:
        return _render_preview(found, before, form, error)
    if options != before:
        imports.commit_options(import_id, options)
        if action == "start":
            flash(_("You have changed something. Check what will happen, then start."), "warning")
    elif action == "start":
        _start(import_id)
    return _to_import(import_id)


@bp.get("/import/<import_id>/failed")
@require("users:write", credentials=SESSION)
def download_failed_rows(import_id: str) -> Response:
    """Send the rows that failed as they came, with the reason of each.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    :raises FileGone: they are not on this server (404).
    """
    found, pieces = _get(import_id), uploads.read_failed(import_id)
    is_table = imports.report_of(found).get("header_line") is not None
    form = "csv" if is_table else "ndjson"
    response = Response(pieces, content_type=FAILED_TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="failed-rows.{form}"'
    return response


@bp.get("/import/<import_id>/undo")
@require("users:write", credentials=SESSION)
def undo_form(import_id: str) -> str:
    """Ask for confirmation to undo an import.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    """
    found = _get(import_id)
    return _render("transfer/undo.html", found, changes=imports.count_changes(import_id))


@bp.post("/import/<import_id>/undo")
@require("users:write", credentials=SESSION)
def undo_import(import_id: str) -> ResponseReturnValue:
    """Undo an import: remove users whom it has created, give the others their fields back.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    :raises InUse: it is running, or was undone (409).
    """
    _get(import_id)
    if not PageForm().validate_on_submit():
        flash(_("The form has expired. Submit it again."), "warning")
        return redirect(url_for("transfer.undo_form", import_id=import_id), 303)
    jobs.start(lambda: imports.commit_claim(import_id, "undoing", ["done", "failed"]), undoing.undo)
    return _to_import(import_id)


def _get(import_id: str) -> Row:
    """Return an import that the caller may see.

    :raises ImportNotFound: there is no such import (404).
    :raises NotYours: somebody else has uploaded the file (403).
    """
    found = imports.get_import(import_id)
    if not _may_see(found):
        raise NotYours
    return found


def _may_see(found: Row) -> bool:
    """Return whether the file is the caller's own, or nobody's, or the caller an administrator.

    A file may hold what its owner alone may see, such as password hashes.
    """
    who = known_principal()
    is_own = who is not None and who.user_id == found.user_id
    return is_own or found.user_id is None or is_admin()


def _start(import_id: str) -> None:
    """Start or continue an import, if its file is on this server.

    :raises FileGone: it is not (404).
    """
    uploads.opened(import_id).close()
    jobs.start(
        lambda: imports.commit_claim(import_id, "running", ["waiting", "failed"]), running.run
    )


def _render_form(form: UploadForm, problem: str = "") -> str:
    rows = imports.list_imports()
    return render_template(
        "transfer/import.html",
        form=form,
        problem=problem,
        max_bytes=current_app.config["MAX_UPLOAD_BYTES"],
        imports=[(row, imports.report_of(row), _state(row), _may_see(row)) for row in rows],
        names=_names(row.user_id for row in rows),
        states=STATES,
        days=uploads.DAYS_LISTED,
    )


def _render_preview(
    found: Row, options: Options, form: OptionsForm | None = None, wrong: Invalid | None = None
) -> ResponseReturnValue:
    """Render what an import would do; if the file cannot be read, why.

    :param form: one that was sent, whose entries are shown again.
    :param wrong: what is wrong with its entries.
    """
    columns: list[running.Column] = []
    made: running.Preview | None = None
    problem: AppError | None = None
    try:
        columns = running.list_columns(found, options)
        made = running.preview(found, options)
    except AppError as error:
        problem = original_error(error)
    most = "" if options.max_deactivate is None else str(options.max_deactivate)
    values = {**options.model_dump(), "max_deactivate": most}
    shown = form or OptionsForm(formdata=None, data=values)
    chosen = [
        request.form.get(f"column-{place}", each.field) if form else each.field
        for place, each in enumerate(columns)
    ]
    page = _render(
        "transfer/preview.html",
        found,
        form=shown,
        columns=[*zip(columns, chosen, strict=True)],
        choices=[(name, translated(FIELDS[name])) for name in _choosable(options)],
        options=options,
        preview=made,
        report=_readable(imports.shown(made.report)) if made else {},
        problems=_texts(problem),
        wrong=_texts(wrong),
        is_gone=isinstance(problem, uploads.FileGone),
        limit=running.PREVIEWED_ROWS,
    )
    return page, 400 if wrong else 200


def _choosable(options: Options) -> list[str]:
    possible = importable_fields(is_admin(), options.match == "id")
    return [name for name in CHOSEN if name in possible]


def _texts(error: AppError | None) -> list[str]:
    """Return an error's messages in the person's language."""
    if error is None:
        return []
    named = [
        f"{translated(FIELDS[each.field])}: {translated(each.message)}"
        if each.field in FIELDS
        else translated(each.message)
        for each in error.errors
    ]
    return named or [translated(error.message)]


def _render(template: str, found: Row, **values: Any) -> str:
    report = imports.report_of(found)
    has_file = uploads.exists(found.id)
    return render_template(
        template,
        **{
            "form": PageForm(formdata=None),
            "found": found,
            "state": _state(found),
            "states": STATES,
            "report": _readable(report),
            "results": RESULTS,
            "reasons": KEPT,
            "message": translated(imports.message_of(found)),
            "names": _names([found.user_id]),
            "days": uploads.DAYS_LISTED,
            "refresh_seconds": REFRESH_SECONDS,
            "may_continue": has_file and "undone" not in report,
            **values,
        },
    )


def _readable(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report whose reasons are in the person's language."""
    rows = [
        (line, result, translated(_as_people_call(imports.unpacked(reason))))
        for line, result, reason in report.get("rows", [])
    ]
    return {**report, "rows": rows} if report else {}


def _as_people_call(reason: str) -> str:
    """Return a reason in which fields have their names for people."""
    if not isinstance(reason, Message):
        return reason
    values = {
        name: _names_in(value) if name in {"field", "fields"} else _as_people_call(value)
        for name, value in reason.values.items()
    }
    return Message(reason.template, **values)


def _names_in(fields: str) -> str:
    """Return a list of fields, of which one may be followed by its column in brackets."""
    pattern = r"(?:^|(?<=, ))[a-z_]+\b"
    return re.sub(pattern, lambda found: translated(FIELDS.get(found[0], found[0])), fields)


def _state(found: Row) -> str:
    return "stopped" if imports.is_stopped(found) else str(found.state)


def _share(found: Row) -> int | None:
    """Return how much of the file was read, in percent; None: unknown."""
    if found.state != "running" or not found.total:
        return None
    return int(min(100, 100 * found.progress // found.total))


def _names(user_ids: Any) -> dict[int, str]:
    ids = sorted({user_id for user_id in user_ids if user_id is not None})
    return {row.id: row.username for row in service.list_users_by_id(ids, ("id", "username"))}


def _kept(import_id: str) -> list[tuple[int, str, str]]:
    """Return the users whom an undo has left, with their names and the reasons."""
    rows = imports.list_kept(import_id)
    names = _names(row.user_id for row in rows)
    return [(row.user_id, names[row.user_id], row.kept) for row in rows if row.user_id in names]


def _to_import(import_id: str) -> ResponseReturnValue:
    return redirect(url_for("transfer.show_import", import_id=import_id), 303)

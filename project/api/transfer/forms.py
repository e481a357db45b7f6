"""The forms of the import pages."""

from collections.abc import Sequence

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import BooleanField, RadioField, StringField
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]

from project.api.transfer.columns import CHOSEN, usual_field
from project.api.transfer.imports import Options
from project.api.transfer.row_rules import REQUIRED
from project.api.transfer.running import Column
from project.errors import FieldError, Invalid, Message
from project.web.forms import PageForm, strip

MAX_DIGITS = 9
FIELDS = {
    "username": Message("Name"),
    "email": Message("Email address"),
    "active": Message("May sign in"),
    "role": Message("Role"),
    "password_hash": Message("Password hash"),
    "created_at": Message("Added on"),
    "updated_at": Message("Changed on"),
    "id": Message("Id"),
}
"""The fields as people call them."""


class UploadForm(PageForm):
    """The CSRF token of the form with the file, which is read without this form."""


class OptionsForm(PageForm):
    """How the rows of a file are matched to users, and what each column becomes."""

    match = RadioField(
        _("Which row is which user"),
        choices=[
            SelectChoice("email", _("By email address")),
            SelectChoice("id", _("By the column id, so that addresses can change, too")),
        ],
    )
    deactivate_missing = BooleanField(_("Deactivate active users who are not in the file"))
    max_deactivate = StringField(_("Deactivate at most"), filters=[strip])

    def options(self, columns: Sequence[Column], before: Options) -> Options:
        """Return what was chosen.

        A column that was set to a field takes the place of those that gave it before.

        :param columns: those that the form has shown.
        :param before: what was chosen when it was shown.
        :raises Invalid: a field needs a column, or was given several (400).
        """
        now = [
            request.form.get(f"column-{place}", each.field) for place, each in enumerate(columns)
        ]
        match = "id" if self.match.data == "id" else "email"
        chosen, left_out = dict(before.columns), set(before.left_out)
        added: dict[str, list[str]] = {}
        for (name, _samples, field), to in zip(columns, now, strict=True):
            if to == field or to not in ("", *CHOSEN):
                continue
            if chosen.get(field) == name:
                del chosen[field]
            is_usual_again = name in left_out and to == usual_field(name) and to not in chosen
            if to and not is_usual_again:
                added.setdefault(to, []).append(name)
            if to == usual_field(name):
                left_out.discard(name)
            else:
                left_out.add(name)
        chosen |= {field: names[0] for field, names in added.items()}
        if match == "email":
            chosen.pop("id", None)
        problems = [
            Message("%(field)s: several columns are chosen. Choose one.", field=FIELDS[field])
            for field, names in added.items()
            if len(names) > 1
        ]
        problems += [
            Message("%(field)s: no column is chosen. Choose one.", field=FIELDS[field])
            for field in REQUIRED
            if field not in now and any(each.field == field for each in columns)
        ]
        if problems:
            raise Invalid(errors=[FieldError("columns", text) for text in problems])
        return Options(
            match=match,
            columns=chosen,
            left_out=sorted(left_out),
            deactivate_missing=self.deactivate_missing.data,
            max_deactivate=self._most(),
        )

    def _most(self) -> int | None:
        text = self.max_deactivate.data
        if not text or not self.deactivate_missing.data:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
            raise Invalid(errors=[FieldError("max_deactivate", "Must be a whole number.")])
        return int(text)

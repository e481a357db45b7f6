"""The base of all pages' forms."""

from collections.abc import Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto
from wtforms import PasswordField

from project.errors import AppError, TooManyRequests
from project.web import languages
from project.web.contract import Schema, validate
from project.web.languages import translated, try_again

_fields: set[str] = set()  # the names of all forms' fields
_passwords: set[str] = set()


def strip(text: str | None) -> str:
    """Strip surrounding white space."""
    return (text or "").strip()


class PageForm(FlaskForm):  # type: ignore[misc]
    """A form that takes its values from a browser's form: text only, no files and no JSON."""

    status = 400
    """The status of the response that shows the form again."""
    headers: Sequence[tuple[str, str]] = ()
    """The headers of that response."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Register the names of the form's fields."""
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if kind := getattr(value, "field_class", None):
                (_passwords if issubclass(kind, PasswordField) else _fields).add(name)

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """The source of a form's values."""

        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            """Return the request's fields; None: there are none, or the form was not submitted."""
            if formdata is not _Auto:
                return formdata
            return request.form or None if form.is_submitted() else None

        def get_translations(self, form: FlaskForm) -> ModuleType:
            """Return how WTForms translates its texts, which Flask-WTF would load anew."""
            return languages

    def read(self, schema: type[Schema]) -> Schema:
        """Return the form's values as an object of the schema.

        :raises Invalid: a value violates the schema (400).
        """
        names = [name for name in schema.model_fields if name in self]
        return validate(schema, {name: self[name].data for name in names})

    def show(self, error: AppError, field: str = "") -> None:
        """Show the error's messages beside their fields, in the person's language.

        :param field: the field for an error that names none.
        """
        message = translated(error.message)
        if isinstance(error, TooManyRequests):
            field = field or error.field
            self.status, self.headers = 429, [("Retry-After", str(error.retry_after))]
            message = f"{translated(error.reason)} {try_again(error.retry_after)}"
        problems = [(each.field, translated(each.message)) for each in error.errors]
        for name, text in problems or ([(field, message)] if field else []):
            self[name].errors = (*self[name].errors, text)


def is_own_form() -> bool:
    """Return whether the request is a form without files that a page of this host sent.

    Browsers name the page's origin with each form that is not sent by GET.
    """
    origin = request.headers.get("Origin", "").partition("://")[2]
    return origin == request.host != "" and request.mimetype == "application/x-www-form-urlencoded"


def entries() -> list[tuple[str, str]]:
    """Return the names and values that the request has for fields of pages' forms.

    Passwords are left out, and so is what exceeds the number of fields of a multipart form.
    """
    names = _fields - _passwords
    found = (entry for entry in request.form.items(multi=True) if entry[0] in names)
    return list(islice(found, request.max_form_parts))

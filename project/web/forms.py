"""What the forms of all pages have in common."""

from typing import Any

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto

from project.errors import AppError, FieldError, Invalid, TooManyRequests


def strip(text: str | None) -> str:
    """Drop space around what is typed."""
    return (text or "").strip()


def or_empty(text: str | None) -> str:
    """Make nothing of what was not sent."""
    return text or ""


class PageForm(FlaskForm):  # type: ignore[misc]
    """A form that is filled in by what a browser's form sends: text, and no files or JSON."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """Where a form's values come from."""

        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            """Return the request's fields; None: there are none, or none are to be looked at."""
            if formdata is not _Auto:
                return formdata
            return request.form or None if form.is_submitted() else None


class ShowsErrors:
    """A form that says what is wrong beside the field that it is about."""

    def show(self, error: AppError) -> None:
        """Put the error's messages beside the fields that they are about."""
        for problem in error.errors:
            field = self[problem.field]  # type: ignore[index]
            field.errors = (*field.errors, problem.message)

    def show_refusal(self, error: TooManyRequests) -> None:
        """Put beside its field that the person has to wait."""
        self.show(Invalid(errors=[FieldError(error.field, error.message)]))

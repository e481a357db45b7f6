"""The base of all pages' forms."""

from typing import Any

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto

from project.errors import AppError, FieldError, Invalid, TooManyRequests


def strip(text: str | None) -> str:
    """Strip surrounding white space."""
    return (text or "").strip()


def or_empty(text: str | None) -> str:
    """Return the text; empty if it was not sent."""
    return text or ""


class PageForm(FlaskForm):  # type: ignore[misc]
    """A form that takes its values from a browser's form: text only, no files and no JSON."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """The source of a form's values."""

        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            """Return the request's fields; None: there are none, or the form was not submitted."""
            if formdata is not _Auto:
                return formdata
            return request.form or None if form.is_submitted() else None


class ShowsErrors:
    """A form that shows errors beside their fields."""

    def show(self, error: AppError) -> None:
        """Show the error's messages beside their fields."""
        for problem in error.errors:
            field = self[problem.field]  # type: ignore[index]
            field.errors = (*field.errors, problem.message)

    def show_refusal(self, error: TooManyRequests) -> None:
        """Show beside the error's field that the person has to wait."""
        self.show(Invalid(errors=[FieldError(error.field, error.message)]))

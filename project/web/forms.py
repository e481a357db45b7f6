"""What the forms of all pages have in common."""

from typing import Any

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto


class PageForm(FlaskForm):  # type: ignore[misc]
    """A form that is filled in by what a browser's form sends: text, and no files or JSON."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """Where a form's values come from."""

        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            """Return the request's fields; None: there are none, or none are to be looked at."""
            if formdata is not _Auto:
                return formdata
            return request.form or None if form.is_submitted() else None

"""The page's form. Its rules are those of ``UserCreate``; here are only the fields."""

from flask_wtf import FlaskForm
from wtforms import StringField

from project.errors import AppError


def _strip(text: str | None) -> str:
    return (text or "").strip()


class UserForm(FlaskForm):  # type: ignore[misc]
    """Adds a user. Space around what is typed is dropped.

    The email is a plain text field: a browser's own email field refuses addresses beyond ASCII and
    rewrites their domains.
    """

    username = StringField("Username", filters=[_strip])
    email = StringField("Email address", filters=[_strip])

    def show(self, error: AppError) -> None:
        """Put the error's messages beside the fields that they are about."""
        for problem in error.errors:
            field = self[problem.field]
            field.errors = (*field.errors, problem.message)

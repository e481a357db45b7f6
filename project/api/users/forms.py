"""The page's form. Its rules are those of ``UserCreate``; here are only the fields."""

from uuid import uuid4

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField

from project.errors import AppError


def _or_new_key(key: str | None) -> str:
    return key or str(uuid4())


def _strip(text: str | None) -> str:
    return (text or "").strip()


class UserForm(FlaskForm):  # type: ignore[misc]
    """Adds a user. Space around what is typed is dropped.

    Each form has a key of its own, so that one that is sent twice adds one user.

    The email is a plain text field: a browser's own email field refuses addresses beyond ASCII and
    rewrites their domains.
    """

    idempotency_key = HiddenField(filters=[_or_new_key])
    username = StringField("Username", filters=[_strip])
    email = StringField("Email address", filters=[_strip])

    def show(self, error: AppError) -> None:
        """Put the error's messages beside the fields that they are about."""
        for problem in error.errors:
            field = self[problem.field]
            field.errors = (*field.errors, problem.message)

"""The pages' forms. The rules for users are those of ``UserCreate``; here are only the fields."""

from typing import Any
from uuid import uuid4

from wtforms import BooleanField, HiddenField, PasswordField, StringField

from project.api.users.schemas import UserReplace
from project.web.forms import PageForm, ShowsErrors, or_empty, strip


def _or_new_key(key: str | None) -> str:
    return key or str(uuid4())


class UserForm(ShowsErrors, PageForm):
    """What a person may say of a user. Space around what is typed is dropped.

    The email is a plain text field: a browser's own email field refuses addresses beyond ASCII and
    rewrites their domains.
    """

    username = StringField("Username", filters=[strip])
    email = StringField("Email address", filters=[strip])


class UserAddForm(UserForm):
    """Adds a user. Each form has a key of its own: one that is sent twice adds one user."""

    idempotency_key = HiddenField(filters=[_or_new_key])


class OfVersionForm(PageForm):
    """A form about a user as it was when the form was shown."""

    version = HiddenField()

    def is_of(self, version: int) -> bool:
        """Say whether the user is still in the state that the form has shown."""
        return str(self.version.data) == str(version)


class OwnForm(UserForm, OfVersionForm):
    """Changes what a user may change of themselves."""

    current_password = PasswordField(
        "Current password, for a new email",
        id="password_for_email",  # the page has another form with a current password
        filters=[or_empty],
    )

    def fields(self) -> dict[str, Any]:
        """Return the user's new state."""
        return {name: self[name].data for name in UserReplace.model_fields if name in self}


class UserEditForm(OwnForm):
    """Changes a user."""

    active = BooleanField("Active")


class UserRemoveForm(OfVersionForm):
    """Removes a user."""

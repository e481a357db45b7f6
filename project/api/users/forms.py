"""The pages' forms. They only define fields; the schemas validate their values."""

from typing import Any
from uuid import uuid4

from wtforms import BooleanField, HiddenField, PasswordField, StringField

from project.api.users.schemas import UserReplace
from project.web.forms import PageForm, ShowsErrors, or_empty, strip


def _or_new_key(key: str | None) -> str:
    return key or str(uuid4())


class UserForm(ShowsErrors, PageForm):
    """A user's name and email. Surrounding white space is stripped.

    The email is a text field: a browser's email field refuses non-ASCII addresses and rewrites
    their domains.
    """

    username = StringField("Username", filters=[strip])
    email = StringField("Email address", filters=[strip])


class UserAddForm(UserForm):
    """Adds a user. Each form has its own key: submitted twice, it adds one user."""

    idempotency_key = HiddenField(filters=[_or_new_key])


class VersionedForm(PageForm):
    """A form about a user in the version that the form showed."""

    version = HiddenField()

    def has_version(self, version: int) -> bool:
        """Return whether the form showed this version."""
        return str(self.version.data) == str(version)


class ProfileForm(UserForm, VersionedForm):
    """Changes what users may change of their own data."""

    current_password = PasswordField(
        "Current password, for a new email",
        id="password_for_email",  # the page has another form with a current password field
        filters=[or_empty],
    )

    def fields(self) -> dict[str, Any]:
        """Return the user's new values."""
        return {name: self[name].data for name in UserReplace.model_fields if name in self}


class UserEditForm(ProfileForm):
    """Changes a user."""

    active = BooleanField("Active")


class UserRemoveForm(VersionedForm):
    """Removes a user."""

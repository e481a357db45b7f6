"""The pages' forms. They only define fields; the schemas validate their values."""

import re
from collections.abc import Sequence
from uuid import uuid4

from wtforms import HiddenField, PasswordField, StringField

from project.web.forms import PageForm, strip
from project.web.languages import lazy_gettext as _


class UserForm(PageForm):
    """A user's name and email. Surrounding white space is stripped.

    The email is a text field: a browser's email field refuses non-ASCII addresses and rewrites
    their domains.
    """

    username = StringField(_("Username"), filters=[strip])
    email = StringField(_("Email address"), filters=[strip])


class UserAddForm(UserForm):
    """Adds a user. Each form has its own key: submitted twice, it adds one user."""

    idempotency_key = HiddenField(filters=[lambda key: key or str(uuid4())])


class VersionedForm(PageForm):
    """Changes or removes a user in the version that the form showed."""

    version = HiddenField()

    def has_version(self, version: int) -> bool:
        """Return whether the form showed this version."""
        return str(self.version.data) == str(version)


class ProfileForm(UserForm, VersionedForm):
    """Changes what users may change of their own data."""

    current_password = PasswordField(
        _("Current password, for a new email"),
        id="password_for_email",  # the page has another form with a current password field
        default="",
    )


class BulkForm(PageForm):
    """Changes several users, whose ids are separated by dots, which need no encoding.

    Each form has its own key: submitted twice, it changes them once. ``asks`` is whether it asks
    for the number of users.
    """

    action = HiddenField()
    new_role = HiddenField()
    ids = HiddenField()
    idempotency_key = HiddenField(filters=[lambda key: key or str(uuid4())])
    asks = HiddenField()
    number = StringField(filters=[strip])

    def user_ids(self, most: int) -> list[int]:
        """Return the ids; none, if they are more than ``most`` or no ids."""
        texts = (self.ids.data or "").split(".")
        is_valid = len(texts) <= most and all(re.fullmatch("[0-9]{1,10}", text) for text in texts)
        return [int(text) for text in texts] if is_valid else []

    def confirms(self, ids: Sequence[int]) -> bool:
        """Return whether the number is that of the ids."""
        return re.sub(r"[\s.,]", "", self.number.data or "") == str(len(ids))

"""The pages' forms. They only define fields; the schemas validate their values."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
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


def as_sent(value: Any) -> str:
    """Return the text that a form sends for a field's value."""
    if isinstance(value, bool):
        return "y" if value else ""
    return value or ""


class Difference(NamedTuple):
    """A field whose value is not the one that a person has sent, both as forms send them.

    :param chosen: the one that only one of the two has changed; None: both have.
    """

    yours: str
    current: str
    chosen: str | None


class ProfileForm(UserForm, VersionedForm):
    """Changes what users may change of their own data.

    ``shown`` has the values that the form showed first, as JSON: of two changes at once, it says
    who has changed which field.
    """

    current_password = PasswordField(
        _("Current password, for a new email"),
        id="password_for_email",  # the page has another form with a current password field
        default="",
    )
    shown = HiddenField()

    @classmethod
    def of(cls, user: Any) -> Self:
        """Return the form that shows a user's current values."""
        form = cls(formdata=None, obj=user)
        form.shown.data = json.dumps(form.values())
        return form

    def values(self) -> dict[str, str]:
        """Return the value of each field that can be seen, as the form sends it."""
        unseen = (HiddenField, PasswordField)
        return {field.name: as_sent(field.data) for field in self if not isinstance(field, unseen)}

    def shown_values(self) -> dict[str, Any]:
        """Return the values that the form showed first; those it does not say are missing."""
        try:
            values = json.loads(self.shown.data or "{}")
        except ValueError:
            values = {}
        return values if isinstance(values, dict) else {}

    def differences(self, current: "ProfileForm") -> dict[str, Difference]:
        """Return where this form, which was sent, differs from the current values, by field."""
        shown, values = self.shown_values(), current.values()
        found = {}
        for name, yours in self.values().items():
            if yours != (theirs := values[name]):
                chosen = theirs if shown.get(name) == yours else None
                if shown.get(name) == theirs:
                    chosen = yours
                found[name] = Difference(yours, theirs, chosen)
        return found


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

"""The HTML forms of signing in, of accounts, of a user's page, and of links."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from wtforms import (  # type: ignore[attr-defined]  # its types lack SelectChoice
    BooleanField,
    HiddenField,
    PasswordField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
)

from project.api.users.forms import ProfileForm, UserAddForm, UserForm
from project.api.users.models import ROLES
from project.web.forms import PageForm, strip
from project.web.languages import lazy_gettext as _

ROLE_NAMES = {
    None: _("No role"),
    "viewer": _("Viewer"),
    "editor": _("Editor"),
    "admin": _("Administrator"),
}
DAYS = {
    7: _("7 days"),
    30: _("30 days"),
    90: _("90 days"),
    365: _("1 year"),
    "": _("Until it is revoked"),
}
"""How long an API key may be valid; not all that the API allows."""


class SignInForm(PageForm):
    """The sign-in form; ``next`` is the path to open afterwards."""

    email = StringField(_("Email address"), filters=[strip])
    password = PasswordField(_("Password"))
    next = HiddenField()


class PasswordForm(PageForm):
    """The form for changing one's own password."""

    current_password = PasswordField(_("Current password"))
    password = PasswordField(_("New password"))


class KeyForm(PageForm):
    """Makes an API key. Each form has its own key: submitted twice, it makes one.

    :param scopes: those to choose from, with what they allow.
    """

    name = StringField(_("Name of the key"), filters=[strip])
    scopes = SelectMultipleField(_("What it may do"))
    expires_in_days = SelectField(
        _("Valid for"),
        choices=[SelectChoice(str(days), words) for days, words in DAYS.items()],
        coerce=lambda days: int(days) if days else None,
        default=90,
    )
    idempotency_key = HiddenField(filters=[lambda key: key or str(uuid4())])

    def __init__(self, scopes: Mapping[str, Any], **options: Any) -> None:
        """Create the form from the request, unless the options say otherwise."""
        super().__init__(**options)
        self.scopes.choices = [SelectChoice(scope, words) for scope, words in scopes.items()]


class SessionForm(PageForm):
    """Ends a sign-in; without an id, all of them."""

    session_id = HiddenField()


class UserPageForm(ProfileForm):
    """Changes a user."""

    role = SelectField(
        _("Role"),
        choices=[SelectChoice(role or "", ROLE_NAMES[role]) for role in (None, *ROLES)],
        coerce=lambda role: role or None,
    )
    active = BooleanField(_("May sign in"))


class RegistrationForm(UserForm):
    """Creates one's own account."""

    password = PasswordField(_("Password"))


class SetupForm(RegistrationForm):
    """Creates the first administrator."""

    code = StringField(_("Code from the log"), filters=[strip])


class InviteForm(UserAddForm):
    """Adds a user, who gets a link. Submitted twice, it adds one user, and makes one link."""

    role = StringField(_("Role"), filters=[lambda role: role or None])


class LinkForm(PageForm):
    """Chooses a password at a one-time link."""

    link = HiddenField()
    password = PasswordField(_("New password"))


class ForgottenForm(PageForm):
    """Asks for a mail with a link."""

    email = StringField(_("Email address"), filters=[strip])

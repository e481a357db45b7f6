"""The HTML forms for signing in and for changing one's password."""

from wtforms import HiddenField, PasswordField, StringField

from project.web.forms import PageForm, strip
from project.web.languages import lazy_gettext as _


class SignInForm(PageForm):
    """The sign-in form; ``next`` is the path to open afterwards."""

    email = StringField(_("Email address"), filters=[strip])
    password = PasswordField(_("Password"))
    next = HiddenField()


class PasswordForm(PageForm):
    """The form for changing one's own password."""

    current_password = PasswordField(_("Current password"))
    password = PasswordField(_("New password"))

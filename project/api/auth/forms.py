"""The HTML forms for signing in and for changing one's password."""

from wtforms import HiddenField, PasswordField, StringField

from project.web.forms import PageForm, strip


class SignInForm(PageForm):
    """The sign-in form; ``next`` is the path to open afterwards."""

    email = StringField("Email address", filters=[strip])
    password = PasswordField("Password")
    next = HiddenField()


class PasswordForm(PageForm):
    """The form for changing one's own password."""

    current_password = PasswordField("Current password")
    password = PasswordField("New password")

"""The forms with which people sign in and change their password."""

from wtforms import HiddenField, PasswordField, StringField

from project.web.forms import PageForm, ShowsErrors, strip


class SignInForm(ShowsErrors, PageForm):
    """Signs in, and leads to where the person wanted to go."""

    email = StringField("Email address", filters=[strip])
    password = PasswordField("Password")
    next = HiddenField()


class PasswordForm(ShowsErrors, PageForm):
    """Changes one's own password."""

    current_password = PasswordField("Current password")
    password = PasswordField("New password")

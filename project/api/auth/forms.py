"""The forms with which people sign in and change their password."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField

from project.api.users.forms import ShowsErrors, strip


class SignInForm(ShowsErrors, FlaskForm):  # type: ignore[misc]
    """Signs in, and leads to where the person wanted to go."""

    email = StringField("Email address", filters=[strip])
    password = PasswordField("Password")
    next = HiddenField()


class PasswordForm(ShowsErrors, FlaskForm):  # type: ignore[misc]
    """Changes one's own password."""

    current_password = PasswordField("Current password")
    password = PasswordField("New password")

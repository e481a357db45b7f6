"""What can go wrong when somebody proves who they are."""

from project.api.users.errors import EmailTaken
from project.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Unauthenticated


class TokenExpired(Unauthenticated):
    """The token was good until its time was over (401)."""

    message = "Signature expired. Please log in again."


class WrongCredentials(Unauthenticated):
    """No such user, no password, another password, or not active: nobody is told which (401)."""

    message = "Email or password is wrong."


class UserExists(EmailTaken):
    """Another user has this mailbox (400); in the words of the first API."""

    message = "Sorry. That user already exists."


class WrongPassword(Invalid):
    """The current password, asked for before password or email change, is another one (400).

    :param problem: a full sentence about the current password.
    """

    def __init__(self, problem: str = "Is not your password.") -> None:
        super().__init__(errors=[FieldError("current_password", problem)])


class RegistrationClosed(Forbidden):
    """People cannot make their own account here (403)."""

    message = "Registration is switched off. Ask an administrator for an account."


class KeyNotFound(NotFound):
    """There is no API key with this id, or it is somebody else's (404)."""

    message = "API key does not exist"


class ScopeTooWide(Forbidden):
    """A key cannot do what its maker may not do (403)."""

    message = "A key can only have scopes that you have yourself."


class TooManyKeys(Conflict):
    """The user has as many API keys as there may be (409)."""

    message = "A user may have at most 50 API keys, those that are expired too. Remove one first."

"""The errors of authentication, accounts and API keys."""

from project.api.users.errors import EmailTaken
from project.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Message,
    NotFound,
    Unauthenticated,
)

INCORRECT = Message("Is incorrect.")


class TokenExpired(Unauthenticated):
    """The token has expired (401)."""

    message = "Signature expired. Please log in again."


class WrongCredentials(Unauthenticated):
    """The sign-in failed (401).

    The client does not learn why: unknown user, no password, wrong password, or not active.
    """

    message = "Email or password is wrong."


class UserExists(EmailTaken):
    """Another user has this mailbox (400); the message is the tutorial's."""

    message = "Sorry. That user already exists."


class WrongPassword(Invalid):
    """The current password, required to change the password or email, is wrong (400).

    :param problem: a full sentence about the current password.
    """

    def __init__(self, problem: str = INCORRECT) -> None:
        super().__init__(errors=[FieldError("current_password", problem)])


class RegistrationClosed(Forbidden):
    """The setting REGISTRATION is off (403)."""

    message = "Registration is disabled. Ask an administrator for an account."


class LinkEnded(NotFound):
    """No user has this link, or it can no longer be used (404)."""

    message = "This link has ended. Ask for a new one."


class NoMails(NotFound):
    """The setting SMTP_URL is not set (404)."""

    message = "This service sends no mails. Ask an administrator for a new password."


class WrongSetupCode(Invalid):
    """The code for creating the first administrator is wrong (400)."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("code", "Is not the code in the log.")])


class KeyNotFound(NotFound):
    """There is no API key with this id, or it belongs to another user (404)."""

    message = "API key does not exist"


class ScopeTooWide(Forbidden):
    """The user does not have a scope that they request for a key (403)."""

    message = "An API key can only have scopes that you have."


class TooManyKeys(Conflict):
    """The user has the maximum number of API keys (409)."""

    message = "A user can have at most 50 API keys, including expired ones. Remove one first."

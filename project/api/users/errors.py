"""What can go wrong with a user."""

from project.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, PreconditionFailed


class UserNotFound(NotFound):
    """No user has this id."""

    message = "User does not exist"


class EmailTaken(Invalid):
    """Another user has this mailbox. Answered 400, as the first API did, not 409."""

    message = "Sorry. That email already exists."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("email", self.message)])


class LastAdministrator(Conflict):
    """Without the user nobody could give rights to anybody (409)."""

    message = "The last administrator cannot be removed, demoted or deactivated."


class OnlyByAdministrators(Forbidden):
    """The user is an administrator, and who wants to change them is none (403)."""

    message = "Only administrators may change or remove an administrator."


class UserChanged(PreconditionFailed):
    """The user is not in the state any more that the client wants to change (412)."""

    message = "The user was changed meanwhile. Get it again before you change it."

"""What can go wrong with a user."""

from project.errors import FieldError, Invalid, NotFound, PreconditionFailed


class WrongId(Invalid):
    """What stands in the path is no id."""

    message = "Param id error"


class UserNotFound(NotFound):
    """No user has this id."""

    message = "User does not exist"


class EmailTaken(Invalid):
    """Another user has this mailbox. Answered 400, as the first API did, not 409."""

    message = "Sorry. That email already exists."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("email", self.message)])


class UserChanged(PreconditionFailed):
    """The user is not in the state any more that the client wants to change (412)."""

    message = "The user was changed meanwhile. Get it again before you change it."

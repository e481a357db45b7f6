"""What can go wrong with a user."""

from project.errors import FieldError, Invalid, NotFound


class UserNotFound(NotFound):
    """No user has this id."""

    message = "User does not exist"


class EmailTaken(Invalid):
    """Another user has this mailbox. Answered 400, as the first API did, not 409."""

    message = "Sorry. That email already exists."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("email", self.message)])

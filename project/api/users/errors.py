"""The errors of the users feature."""

from project.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Message,
    NotFound,
    PreconditionFailed,
    TooManyRequests,
)


class UserNotFound(NotFound):
    """No user has this id (404)."""

    message = "User does not exist"


class EmailTaken(Invalid):
    """Another user has this mailbox (400 as in the first API, not 409)."""

    message = "Sorry. That email already exists."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("email", self.message)])


class LastAdministrator(Conflict):
    """The change would leave no active administrator (409)."""

    message = "The last administrator cannot be removed, demoted or deactivated."


class AdministratorExists(Conflict):
    """The first administrator was created before (409)."""

    message = "There is an administrator already. Sign in, or ask them for an account."


class OnlyByAdministrators(Forbidden):
    """The user is an administrator, but the caller is not (403)."""

    message = "Only administrators may change or remove an administrator."
    by_key = (
        "This key may not change or remove an administrator: it needs the scope admin, and an"
        " administrator as its user."
    )


class KeyOwnAccount(Forbidden):
    """An API key would deactivate or remove the account that it belongs to (403)."""

    message = "A key cannot deactivate or remove the account that it belongs to."


class TooManyDeactivations(TooManyRequests):
    """An API key has deactivated or removed too many active users within an hour (429).

    :param count: how many users those were.
    """

    def __init__(self, retry_after: int = 3600, count: int = 50) -> None:
        super().__init__(retry_after)
        self.count = count
        self.message = Message(
            "This key has deactivated or removed %(count)s active users within an hour, and may do"
            " no more for now. An administrator can let it go on, on the page /provisioning.",
            count=count,
        )


class OwnAccount(Conflict):
    """The user is the caller, who cannot be among several users that are changed (409)."""

    message = "Your own account is not changed together with others."


class UserChanged(PreconditionFailed):
    """The user has changed since the client read it (412)."""

    message = "The user has changed in the meantime. Reload it before you change it."

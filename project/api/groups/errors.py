"""The errors of groups."""

from collections.abc import Sequence

from project.errors import Conflict, FieldError, Invalid, Message, NotFound, PreconditionFailed

NAMED_IDS = 10


class GroupNotFound(NotFound):
    """No group has this id (404)."""

    message = "Group does not exist."


class GroupNameTaken(Conflict):
    """Another group has this name, in some letter case (409)."""

    message = "Another group has this name."


class GroupChanged(PreconditionFailed):
    """The group has changed since the client read it (412)."""

    message = "The group was changed in the meantime. Get it again before you change it."


class UnknownMembers(Invalid):
    """Some ids of new members are those of no user (400).

    :param ids: these ids.
    """

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids = ids
        named = ", ".join(map(str, ids[:NAMED_IDS])) + ("…" if len(ids) > NAMED_IDS else "")
        super().__init__(
            errors=[FieldError("ids", Message("These users do not exist: %(ids)s.", ids=named))]
        )

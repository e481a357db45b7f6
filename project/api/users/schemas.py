"""The JSON schemas of users, with the rules of each field."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from project.api.users.folding import check_email
from project.api.users.models import ROLES
from project.api.users.passwords import check_hash
from project.errors import Message
from project.web.fields import REPEATABLE, TEXT_LENGTH, AnyGroupId, Flag, Moment, Text, read_id
from project.web.pagination import MAX_LIMIT, Limit

NO_ROLE = "none"
ROLE_FILTERS = (*ROLES, NO_ROLE)
SORTS = ("id", "created_at", "username", "email", "last_sign_in_at")
_ORDERS = (*SORTS, *(f"-{name}" for name in SORTS))
MAX_IDS = 500


def _checked(check: Callable[[str], Any]) -> AfterValidator:
    """Return a validator that refuses what a function does, with its words."""

    def validate(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise PydanticCustomError("refused", "{reason}", {"reason": error.args[0]}) from error
        return text

    return AfterValidator(validate)


def _one_of(values: Sequence[str | None], message: Message) -> Callable[[Any], Any]:
    """Return a validator that accepts only these values."""

    def check(value: Any) -> Any:
        if value not in values:
            raise PydanticCustomError("one_of", "{reason}", {"reason": message})
        return value

    return check


# The rules in the API's description, as far as JSON Schema can express them.
_EMAIL_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "maxLength": TEXT_LENGTH,
    "format": "idn-email",
    "description": "An email address, in any script. Its domain has a dot.",
    "examples": ["ada@example.com"],
}

Email = Annotated[Text, _checked(check_email), WithJsonSchema(_EMAIL_SCHEMA)]
PasswordHash = Annotated[str, _checked(check_hash)]
Active = Annotated[bool, Field(strict=True, examples=[True])]
Password = Annotated[
    str,
    Field(
        strict=True,
        max_length=256,
        description="At least 15 characters of any kind; it must not be easy to guess.",
    ),
]
CurrentPassword = Annotated[
    str,
    Field(
        strict=True,
        max_length=256,
        description="The caller's current password. Required to change one's own email.",
        examples=["grey otters paddle home at dusk"],
    ),
]
ROLE_SCHEMA = {
    "enum": [*ROLES, None],
    "description": "What the user may do with other users; null: nothing.",
}
Role = Annotated[
    Literal["viewer", "editor", "admin"] | None,
    BeforeValidator(
        _one_of(
            (*ROLES, None), Message("Must be one of %(values)s, or null.", values=", ".join(ROLES))
        )
    ),
    WithJsonSchema(ROLE_SCHEMA),
]


def _read_ids(texts: list[str]) -> list[int]:
    text = ",".join(texts)
    if not re.fullmatch(r"-?[0-9]+(,-?[0-9]+)*", text):
        raise PydanticCustomError("ids", "Must be comma-separated integers.")
    ids = text.split(",")
    if len(ids) > MAX_IDS:
        raise PydanticCustomError(
            "too_many",
            "{reason}",
            {
                "reason": Message(
                    "Must be at most %(limit)s ids; got %(count)s.", limit=MAX_IDS, count=len(ids)
                )
            },
        )
    return [read_id(each) for each in ids]


Ids = Annotated[
    Annotated[list[int], Field(min_length=1, max_length=MAX_IDS)] | None,
    BeforeValidator(_read_ids),
    REPEATABLE,
]
Search = Annotated[
    Text | None,
    BeforeValidator(lambda text: text or None),
    WithJsonSchema({"type": "string", "maxLength": TEXT_LENGTH}),
]
Sort = Annotated[
    str,
    AfterValidator(
        _one_of(
            _ORDERS,
            Message(
                "Must be one of %(values)s; prefix it with - for descending order.",
                values=", ".join(SORTS),
            ),
        )
    ),
    WithJsonSchema({"type": "string", "enum": [*_ORDERS]}),
]
ActiveFilter = Annotated[Flag | None, Field(description="Only active, or only inactive users.")]
_RoleOrNone = Annotated[
    str,
    AfterValidator(
        _one_of(ROLE_FILTERS, Message("Must be one of %(values)s.", values=", ".join(ROLE_FILTERS)))
    ),
    WithJsonSchema({"type": "string", "enum": [*ROLE_FILTERS]}),
]
RoleFilter = Annotated[
    _RoleOrNone | None,
    Field(description="Users with this role; `none`: users without a role."),
]
UserId = Annotated[
    str, WithJsonSchema({"type": "integer", "description": "The user's id.", "examples": [7]})
]
"""A user's id in a path."""


class UserCreate(BaseModel):
    """A new user. Other keys are ignored; texts are stored as sent."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    password: Password = ""
    role: Role = None
    active: Annotated[
        Any,
        WithJsonSchema(
            {
                "description": "Whether the user may sign in: `true` or `false`. Ignored unless the"
                " caller is an administrator.",
                "examples": [False],
            }
        ),
    ] = None


_NOT_REPLACED = {"id", "created_at", "updated_at", "role", "last_sign_in_at"}


class UserUpdate(BaseModel):
    """Changes to a user, as a JSON merge patch (RFC 7396).

    Fields that are not sent keep their value. Null removes an optional one, such as the role.
    """

    model_config = ConfigDict(extra="forbid")

    username: Text = ""
    email: Email = ""
    active: Active = False
    password: Password = ""
    role: Role = None
    current_password: CurrentPassword = ""


class UserReplace(BaseModel):
    """A user's new values. ``active`` keeps its value if it is not sent.

    What else a GET gives is ignored, so that a client may send it back: ``role`` changes by PATCH.
    """

    model_config = ConfigDict(extra="forbid")

    username: Text
    email: Email
    active: Active = False
    current_password: CurrentPassword = ""

    @model_validator(mode="before")
    @classmethod
    def _ignore_what_it_cannot_change(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if name not in _NOT_REPLACED}


class UserImport(BaseModel):
    """A row of an import. Other keys are ignored, including a password.

    The hash of a password is for users who have none.
    """

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    active: bool = Field(False, examples=[True])
    role: Role = None
    password_hash: PasswordHash = ""
    created_at: datetime = datetime.min
    updated_at: datetime = datetime.min


class UserListQuery(BaseModel):
    """The parameters of the list of users."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = Field(MAX_LIMIT, description="The number of users per page; 1000 by default.")
    cursor: str | None = Field(
        None, description="`data.next` of the previous page, with the same `sort` and filters."
    )
    sort: Sort = Field(
        "id",
        description="The order: `id` by default; with `-`, descending; ties by id. Users who have"
        " never signed in come first, and last in descending order. Cannot be combined with `q`.",
    )
    q: Search = Field(
        None,
        description="Users whose name and address have words that start with the words of this, in"
        " any order, letter case and width, with or without accents. In scripts without spaces, a"
        " word starts at any character. The user with exactly this address comes first, then those"
        " with exactly this name. An empty text is no search.",
    )
    email: Email | None = Field(None, description="The user with this mailbox.")
    active: ActiveFilter = None
    role: RoleFilter = None
    group: AnyGroupId | None = Field(
        None,
        description="The members of the group with this id, in order of id. Cannot be combined with"
        " `q`, `active`, `role`, or another order.",
    )
    ids: Ids = Field(
        None, description="The users with these ids. Cannot be combined with other parameters."
    )
    total: Flag = Field(False, description="Whether `data.total` has the number of all matches.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.ids is not None and self.model_fields_set != {"ids"}:
            message = "Cannot be combined with other parameters."
            raise PydanticCustomError("alone", message, {"field": "ids"})
        if self.q is not None and "sort" in self.model_fields_set:
            raise PydanticCustomError("order", "Cannot be combined with q.", {"field": "sort"})
        if self.group is not None:
            others = self.model_fields_set & {"q", "active", "role"}
            if self.sort not in ("id", "-id"):
                others.add("sort")
            if others:
                message = "Cannot be combined with group."
                raise PydanticCustomError("group", message, {"field": min(others)})
        return self


class UserRead(BaseModel):
    """A user as clients see it. Times are UTC."""

    id: int = Field(examples=[7])
    username: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    active: bool = Field(examples=[True])
    created_at: Moment
    updated_at: Moment
    role: Annotated[str | None, WithJsonSchema({**ROLE_SCHEMA, "examples": ["viewer"]})]
    last_sign_in_at: Moment | None = Field(
        examples=["2026-11-24T08:30:00Z"],
        description="The time of the user's last sign-in, to the minute; null: never.",
    )

"""The JSON schemas of accounts, tokens and API keys."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from project.api.users.passwords import MAX_CHARACTERS
from project.api.users.schemas import ROLE_SCHEMA, Email, Password, Role
from project.errors import Message
from project.web.fields import TEXT_LENGTH, AnyUserId, Moment, Text
from project.web.guard import scopes

MAX_DAYS = 3650

KeyId = Annotated[
    str, WithJsonSchema({"type": "integer", "description": "The key's id.", "examples": [3]})
]
"""An API key's id in a path."""


class Registration(BaseModel):
    """The body of a registration. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    password: Annotated[Password, Field(examples=["grey otters paddle home at dusk"])]


class Login(BaseModel):
    """The credentials for signing in. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    email: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=TEXT_LENGTH, examples=["ada@example.com"]),
    ]
    password: Annotated[
        str,
        Field(
            strict=True,
            min_length=1,
            max_length=MAX_CHARACTERS,
            examples=["grey otters paddle home at dusk"],
        ),
    ]


class PasswordChange(BaseModel):
    """The current password and the new one."""

    model_config = ConfigDict(extra="forbid")

    current_password: Annotated[Password, Field(examples=["grey otters paddle home at dusk"])]
    password: Annotated[Password, Field(examples=["another fine and long one"])]


class Invitation(BaseModel):
    """A new user, who gets a link."""

    username: Text
    email: Email
    role: Role = None


class Setup(Registration):
    """The first administrator."""

    code: Text


class NewPassword(BaseModel):
    """A password chosen at a link."""

    password: Password


class Recipient(BaseModel):
    """The address of a mail that somebody asks for."""

    email: Email


class AccountRead(BaseModel):
    """The account of the signed-in user. Times are UTC."""

    id: Annotated[int, Field(examples=[7])]
    username: Annotated[str, Field(examples=["Ada Lovelace"])]
    email: Annotated[str, Field(examples=["ada@example.com"])]
    active: Annotated[bool, Field(examples=[True])]
    role: Annotated[str | None, WithJsonSchema({**ROLE_SCHEMA, "examples": ["viewer"]})]
    created_at: Moment


class _OneOfScopes:
    """Describes a scope as an enum of the scopes registered when the description is built."""

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": list(scopes()), "type": "string"}


def _check_scopes(value: Any) -> Any:
    known = scopes()
    if not isinstance(value, list) or not value or any(scope not in known for scope in value):
        raise PydanticCustomError(
            "scopes",
            "{reason}",
            {
                "reason": Message(
                    "Must be a list of one or more of %(scopes)s.", scopes=", ".join(known)
                )
            },
        )
    return sorted(set(value))


def _whole(value: Any) -> Any:
    """Return 90.0 as 90, since JSON Schema counts it as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_resumed(suspended: bool) -> bool:
    if suspended:
        raise PydanticCustomError(
            "suspended", "Must be false. To suspend API keys, deactivate their user."
        )
    return suspended


class APIKeyCreate(BaseModel):
    """A new API key. Without ``expires_in_days`` it is valid until it is removed."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(examples=["nightly import"])]
    scopes: Annotated[
        list[Annotated[str, _OneOfScopes()]],
        BeforeValidator(_check_scopes),
        Field(min_length=1, examples=[["users:read"]]),
    ]
    expires_in_days: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS), BeforeValidator(_whole)] | None,
        WithJsonSchema({"type": ["integer", "null"], "minimum": 1, "maximum": MAX_DAYS}),
        Field(examples=[90]),
    ] = None


class APIKeyUpdate(BaseModel):
    """A change of an API key: it can be resumed. To suspend API keys, deactivate their user."""

    model_config = ConfigDict(extra="forbid")

    suspended: Annotated[
        bool,
        Field(strict=True),
        AfterValidator(_check_resumed),
        WithJsonSchema({"const": False, "examples": [False]}),
    ]


class APIKeyListQuery(BaseModel):
    """The parameters of the list of API keys."""

    model_config = ConfigDict(extra="forbid")

    user: AnyUserId | None = Field(
        None,
        description="Only the API keys of the user with this id; other users' keys only for"
        " administrators. Default: your own.",
    )


class APIKeyRead(BaseModel):
    """An API key without the key itself. Times are UTC."""

    id: Annotated[int, Field(examples=[3])]
    name: Annotated[str, Field(examples=["nightly import"])]
    prefix: Annotated[str, Field(examples=["usk_Xk3vQ9aB"])]
    scopes: Annotated[list[str], Field(examples=[["users:read"]])]
    created_at: Moment
    expires_at: Annotated[Moment | None, Field(examples=[None])]
    last_used_at: Annotated[Moment | None, Field(examples=[None])]
    suspended: Annotated[
        bool,
        Field(
            examples=[False],
            description="Whether the API key is refused because its user has been deactivated"
            " since it was created or last resumed.",
        ),
    ]


class APIKeyMade(APIKeyRead):
    """A new API key, including the key itself, which is shown only once."""

    key: Annotated[str, Field(examples=["usk_Xk3vQ9aB…"])]

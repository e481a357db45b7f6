"""The JSON form of a user, and the rules of each field."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from project.api.users.folding import check_email
from project.api.users.models import ROLES, TEXT_LENGTH
from project.web.pagination import MAX_LIMIT, Limit


def _check_text(text: str) -> str:
    if len(text) > TEXT_LENGTH:
        raise PydanticCustomError(
            "too_long",
            "Must have at most {limit} characters; this has {length}.",
            {"limit": TEXT_LENGTH, "length": len(text)},
        )
    categories = {unicodedata.category(character) for character in text}
    if categories & {"Cc", "Cs"}:
        raise PydanticCustomError("control", "Must not contain control characters.")
    if all(category[0] in "ZC" for category in categories):
        raise PydanticCustomError("blank", "Must not be blank.")
    return text


def _check_email(text: str) -> str:
    try:
        check_email(text)
    except ValueError as error:
        raise PydanticCustomError("email", "{reason}", {"reason": str(error)}) from error
    return text


def _check_role(value: Any) -> Any:
    if value is not None and value not in ROLES:
        raise PydanticCustomError(
            "role", "Must be one of {roles}, or null.", {"roles": ", ".join(ROLES)}
        )
    return value


Text = Annotated[str, Field(strict=True), AfterValidator(_check_text)]
Email = Annotated[Text, AfterValidator(_check_email)]
Active = Annotated[bool, Field(strict=True)]
Password = Annotated[str, Field(strict=True)]
Role = Annotated[Literal["viewer", "editor", "admin"] | None, BeforeValidator(_check_role)]


def _read_flag(text: Any) -> Any:
    if text not in ("true", "false"):
        raise PydanticCustomError("flag", "Must be true or false.")
    return text == "true"


def _read_ids(text: Any) -> list[int]:
    if not re.fullmatch(r"-?[0-9]+(,-?[0-9]+)*", text):
        raise PydanticCustomError("ids", "Must be whole numbers with commas between.")
    ids = text.split(",")
    if len(ids) > MAX_IDS:
        raise PydanticCustomError(
            "too_many",
            "Must be at most {limit}; these are {count}.",
            {"limit": MAX_IDS, "count": len(ids)},
        )
    return [read_id(each) for each in ids]


def _check_sort(text: str) -> str:
    if text.removeprefix("-") not in SORTS:
        raise PydanticCustomError(
            "sort", "Must be one of {sorts}, with - for descending.", {"sorts": ", ".join(SORTS)}
        )
    return text


def read_id(digits: str) -> int:
    """Read a decimal integer; one of more digits than any id has becomes 0, which is no user's."""
    return int(digits) if len(digits.lstrip("-0")) <= 10 else 0


SORTS = ("id", "created_at", "username", "email")
MAX_IDS = 500

Flag = Annotated[bool, BeforeValidator(_read_flag)]
Ids = Annotated[list[int], BeforeValidator(_read_ids)]
Prefix = Annotated[str, AfterValidator(_check_text)]
Sort = Annotated[str, AfterValidator(_check_sort)]


class UserCreate(BaseModel):
    """What makes a user. Other keys are ignored; the text is kept as sent."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    password: Password | None = None
    role: Role = None


class UserUpdate(BaseModel):
    """What to change of a user, as a JSON merge patch (RFC 7396).

    What is not sent keeps its value. Only a role can be removed, by null.
    """

    model_config = ConfigDict(extra="forbid")

    username: Text = ""
    email: Email = ""
    active: Active = False
    password: Password = ""
    role: Role = None

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True)


class UserReplace(BaseModel):
    """A user's new state. ``active`` keeps its value when it is not sent."""

    model_config = ConfigDict(extra="forbid")

    username: Text
    email: Email
    active: Active = False

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True)


class UserListQuery(BaseModel):
    """Which users to show, in which order."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = MAX_LIMIT
    cursor: str | None = None
    sort: Sort = "id"
    q: Prefix | None = None
    email: Email | None = None
    active: Flag | None = None
    ids: Ids | None = None
    total: Flag = False

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.ids is not None and self.model_fields_set != {"ids"}:
            raise PydanticCustomError("alone", "Goes with no other parameter.", {"field": "ids"})
        if self.q is not None and "sort" in self.model_fields_set:
            raise PydanticCustomError("order", "Goes not with q.", {"field": "sort"})
        return self


class UserRead(BaseModel):
    """A user as clients see it. Times are UTC."""

    id: int
    username: str
    email: str
    active: bool
    created_at: datetime
    updated_at: datetime

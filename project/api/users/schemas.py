"""The JSON form of a user, and the rules of each field."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from project.api.users.emails import check_email
from project.api.users.models import TEXT_LENGTH
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


Text = Annotated[str, Field(strict=True), AfterValidator(_check_text)]
Email = Annotated[Text, AfterValidator(_check_email)]
Active = Annotated[bool, Field(strict=True)]


class UserCreate(BaseModel):
    """What makes a user. Other keys are ignored; the text is kept as sent."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email


class UserUpdate(BaseModel):
    """What to change of a user, as a JSON merge patch (RFC 7396).

    What is not sent keeps its value. Nothing can be removed, so null is refused.
    """

    model_config = ConfigDict(extra="forbid")

    username: Text = ""
    email: Email = ""
    active: Active = False

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True)


class UserReplace(UserUpdate):
    """A user's new state. ``active`` keeps its value when it is not sent."""

    username: Text
    email: Email


class UserListQuery(BaseModel):
    """Which part of the list to show."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = MAX_LIMIT
    cursor: str | None = None


class UserRead(BaseModel):
    """A user as clients see it. Times are UTC."""

    id: int
    username: str
    email: str
    active: bool
    created_at: datetime
    updated_at: datetime

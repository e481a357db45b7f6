"""The JSON forms of accounts, tokens and API keys."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from project.api.users.schemas import Email, Password, Text
from project.web.guard import SCOPES

MAX_DAYS = 3650


class Registration(BaseModel):
    """What makes an account of one's own. Other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    password: Password


class Login(BaseModel):
    """What one signs in with. Other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    email: Annotated[str, Field(strict=True, min_length=1)]
    password: Annotated[str, Field(strict=True, min_length=1)]


class PasswordChange(BaseModel):
    """The password of now, and the one to have instead."""

    model_config = ConfigDict(extra="forbid")

    current_password: Password
    password: Password


class AccountRead(BaseModel):
    """Who is signed in. Times are UTC."""

    id: int
    username: str
    email: str
    active: bool
    role: str | None
    created_at: datetime


def _check_scopes(value: Any) -> Any:
    if not isinstance(value, list) or not value or any(scope not in SCOPES for scope in value):
        raise PydanticCustomError(
            "scopes", "Must be a list of one or more of {scopes}.", {"scopes": ", ".join(SCOPES)}
        )
    return sorted(set(value))


class APIKeyCreate(BaseModel):
    """What makes an API key. Without ``expires_in_days`` it is good until it is removed."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    scopes: Annotated[list[str], BeforeValidator(_check_scopes)]
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] | None = None


class APIKeyRead(BaseModel):
    """An API key as its owner sees it again: not the key itself. Times are UTC."""

    id: int
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

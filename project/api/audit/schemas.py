"""The JSON schemas of audit events and of the list's parameters."""

import re
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from project.web.fields import AnyUserId, Moment, read_time
from project.web.pagination import Limit

EVENTS_PER_PAGE = 100
ACTION = r"[a-z]+\.[a-z]+"
ACTOR = r"anonymous|(user|key):[0-9]{1,10}|command:[a-z_]+"


def _check_actor(text: str) -> str:
    if not re.fullmatch(ACTOR, text):
        raise PydanticCustomError(
            "actor", "Must be anonymous, or of a form such as user:7, key:3 or command:seed_db."
        )
    return text


def _check_action(text: str) -> str:
    if not re.fullmatch(ACTION, text):
        raise PydanticCustomError("action", "Must be of a form such as user.updated.")
    return text


Time = Annotated[
    datetime | None,
    BeforeValidator(
        partial(read_time, message="Must be a date, or a time such as 2026-11-23T15:12:58Z.")
    ),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]


class EventListQuery(BaseModel):
    """The parameters of the list of events."""

    model_config = ConfigDict(extra="forbid")

    user: AnyUserId | None = Field(None, description="Events that affected the user with this id.")
    actor: Annotated[
        str | None,
        BeforeValidator(_check_actor),
        WithJsonSchema({"type": "string", "pattern": f"^({ACTOR})$"}),
    ] = Field(None, description="Events by `user:7`, `key:3`, `command:seed_db` or `anonymous`.")
    action: Annotated[
        str | None,
        BeforeValidator(_check_action),
        WithJsonSchema({"type": "string", "pattern": f"^{ACTION}$"}),
    ] = Field(None, description="Events of this kind, such as `user.updated`.")
    since: Time = Field(None, description="Events since a time or a date; UTC if it has no zone.")
    until: Time = Field(None, description="Events before a time or a date; UTC if it has no zone.")
    limit: Limit = Field(
        EVENTS_PER_PAGE, description="The number of events per page; 100 by default."
    )
    cursor: str | None = Field(
        None, description="`data.next` of the previous page, with the same filters."
    )


def filters_of(query: EventListQuery) -> dict[str, Any]:
    """Return the values of the filters of ``queries.page`` that a query has, by name."""
    names = {"user": "user_id"}
    values = query.model_dump(include={"user", "actor", "action", "since", "until"})
    return {names.get(name, name): value for name, value in values.items() if value is not None}


class EventRead(BaseModel):
    """An audit event. Times are UTC."""

    id: int = Field(examples=[12])
    created_at: Moment
    actor: str = Field(examples=["user:1"], description="Who did it.")
    action: str = Field(examples=["user.updated"])
    user_id: int | None = Field(examples=[7], description="The affected user.")
    before: dict[str, Any] | None = Field(
        examples=[{"active": False}], description="The changed fields, with their old values."
    )
    after: dict[str, Any] | None = Field(
        examples=[{"active": True}],
        description="The changed fields, with their new values; for several users, counts.",
    )
    request_id: str | None = Field(examples=["8f3c1e7a90b24d5c8e6f1a2b3c4d5e6f"])
    address: str | None = Field(examples=["203.0.113.7"], description="The client's IP address.")

"""The JSON schemas of groups and of their members."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from project.api.groups.models import DISPLAY_NAME_LENGTH
from project.api.users.service import LARGEST_ID
from project.web.fields import TEXT_LENGTH, Flag, Moment, Text, text_check, text_schema
from project.web.pagination import MAX_LIMIT, Limit

MAX_IDS = 1000

GroupId = Annotated[
    str, WithJsonSchema({"type": "integer", "description": "The group's id.", "examples": [3]})
]
"""A group's id in a path."""

DisplayName = Annotated[
    str,
    Field(strict=True),
    text_check(DISPLAY_NAME_LENGTH),
    WithJsonSchema(text_schema(DISPLAY_NAME_LENGTH, "Research")),
]
_EXAMPLE_ID = "9b1d5c7e-3f0a-4c1e-8a51-6f0d2f1c7e44"
_ID_SCHEMA = text_schema(TEXT_LENGTH, _EXAMPLE_ID)
ExternalId = Annotated[Text, WithJsonSchema(_ID_SCHEMA)]
_OptionalExternalId = Annotated[
    Text | None,
    WithJsonSchema(
        {
            "anyOf": [_ID_SCHEMA, {"type": "null"}],
            "description": "The group's id in the directory that keeps it; need not be unique.",
            "examples": [_EXAMPLE_ID],
        }
    ),
]


class GroupCreate(BaseModel):
    """A new group."""

    model_config = ConfigDict(extra="forbid")

    display_name: DisplayName
    external_id: _OptionalExternalId = None


class GroupUpdate(BaseModel):
    """Changes to a group, as a JSON merge patch (RFC 7396). Null removes the ``external_id``."""

    model_config = ConfigDict(extra="forbid")

    display_name: DisplayName = ""
    external_id: _OptionalExternalId = None


class GroupRead(BaseModel):
    """A group as clients see it. Times are UTC."""

    id: int = Field(examples=[3])
    display_name: str = Field(examples=["Research"])
    external_id: str | None = Field(examples=[_EXAMPLE_ID])
    created_at: Moment
    updated_at: Moment = Field(description="The last change of the group or of its members.")


class GroupListQuery(BaseModel):
    """The parameters of the list of groups."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = Field(MAX_LIMIT, description="The number of groups per page; 1000 by default.")
    cursor: str | None = Field(
        None, description="`data.next` of the previous page, with the same `sort` and filters."
    )
    sort: Literal["id", "-id", "display_name", "-display_name"] = Field(
        "id", description="The order: `id` by default; with `-`, descending."
    )
    q: DisplayName | None = Field(
        None,
        description="Groups whose name starts with this, in any letter case, in order of name."
        " Cannot be combined with `sort`, `display_name` or `external_id`.",
    )
    display_name: DisplayName | None = Field(
        None, description="The group with exactly this name, in any letter case."
    )
    external_id: ExternalId | None = Field(
        None,
        description="Groups with exactly this external id, in order of id. Cannot be combined with"
        " `sort`.",
    )
    total: Flag = Field(False, description="Whether `data.total` has the number of all matches.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        given = self.model_fields_set
        if self.q is not None and (others := given & {"sort", "display_name", "external_id"}):
            raise PydanticCustomError("alone", "Cannot be combined with q.", {"field": min(others)})
        if self.external_id is not None and "sort" in given:
            message = "Cannot be combined with external_id."
            raise PydanticCustomError("order", message, {"field": "sort"})
        return self


class PageQuery(BaseModel):
    """The parameters of a list in order of id."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = Field(MAX_LIMIT, description="The number of entries per page; 1000 by default.")
    cursor: str | None = Field(None, description="`data.next` of the previous page.")


class GroupExportQuery(BaseModel):
    """The parameters of an export of groups."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["csv", "ndjson"] = Field(
        "csv", description="The format of the file; csv by default."
    )
    bom: Flag = Field(
        False, description="Whether a CSV begins with UTF-8's byte order mark, as Excel needs."
    )
    safe: Flag = Field(
        False,
        description="Whether a CSV has an apostrophe before each text that a spreadsheet would run"
        " as a formula.",
    )


class MembershipRow(BaseModel):
    """A row of an export: a member of a group, or a group without members."""

    group_id: int = Field(examples=[3])
    display_name: str = Field(examples=["Research"])
    external_id: str | None = Field(examples=[_EXAMPLE_ID])
    user_id: int | None = Field(examples=[7])
    username: str | None = Field(examples=["Ada Lovelace"])
    email: str | None = Field(examples=["ada@example.com"])


class MemberIds(BaseModel):
    """Users to add to a group, or to remove from it."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=LARGEST_ID)]],
        Field(
            min_length=1,
            max_length=MAX_IDS,
            description="The ids of 1 to 1,000 users.",
            examples=[[7, 8]],
        ),
    ]


class MembersChanged(GroupRead):
    """The group after a change of its members."""

    changed: int = Field(
        examples=[2],
        description="How many users were added or removed. If it is 0, the group is unchanged.",
    )

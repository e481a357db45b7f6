"""The rules of a row of an import: as for ``POST /users``, and for what it may say beside it."""

import re
from datetime import datetime
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from project.api.users.folding import is_plain_email
from project.api.users.schemas import Email
from project.errors import FieldError, Invalid
from project.web.contract import validate
from project.web.fields import Text, is_plain_text, read_id, read_time

_FLAGS = {"true": True, "false": False}


def _read_flag(value: Any) -> bool:
    flag = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
    if flag is None:
        raise PydanticCustomError("flag", "Must be true or false.")
    return flag


# Before the year 1000, MySQL's DATETIME promises nothing.
_read_time = partial(
    read_time,
    message="Must be a time such as 2026-11-23T15:12:58Z, not before the year 1000.",
    first_year=1000,
)


class ImportedUser(NamedTuple):
    """A row whose form is right; None: it does not say."""

    username: str
    email: str
    active: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class UserImport(BaseModel):
    """A row of an import. Other keys are ignored, a password and a role among them."""

    model_config = ConfigDict(extra="ignore")

    username: Text
    email: Email
    active: Annotated[bool, BeforeValidator(_read_flag)] = False
    created_at: Annotated[datetime, BeforeValidator(_read_time)] = datetime.min
    updated_at: Annotated[datetime, BeforeValidator(_read_time)] = datetime.min


def read_row(values: dict[str, Any]) -> ImportedUser:
    """Check a row by the rules of ``UserImport``.

    Most rows are plain and known at a glance to be right, in a tenth of the time that the schema
    takes.

    :raises Invalid: a value breaks a rule; ``errors`` names each (400).
    """
    username, email = values.get("username"), values.get("email")
    if is_plain_text(username) and is_plain_email(email):
        try:
            return ImportedUser(
                username,
                email,
                _read_flag(values["active"]) if "active" in values else None,
                _read_time(values["created_at"]) if "created_at" in values else None,
                _read_time(values["updated_at"]) if "updated_at" in values else None,
            )
        except PydanticCustomError:
            pass  # below, all that is wrong is named
    user = validate(UserImport, values)
    return ImportedUser(**user.model_dump(exclude_unset=True))


def read_user_id(values: dict[str, Any]) -> int | None:
    """Return the id of the user whom a row is about; None: it does not say.

    :raises Invalid: it is no positive decimal integer (400).
    """
    if "id" not in values:
        return None
    text = str(values["id"])
    if re.fullmatch(r"0*[1-9][0-9]*", text) is None:
        raise Invalid(errors=[FieldError("id", "Must be a whole number above 0.")])
    return read_id(text)

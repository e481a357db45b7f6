"""What the attributes of a user in SCIM are here, and the other way round. Knows no database."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter

from project.api.scim import schemas
from project.api.scim.errors import InvalidRequest, TooManyAttributes
from project.api.scim.models import MAX_ATTRIBUTES_BYTES
from project.api.users.folding import check_email, fold_email, fold_username
from project.api.users.models import FOLDED_EMAIL_LENGTH
from project.api.users.schemas import Email
from project.database import Row
from project.web.fields import TEXT_LENGTH, Text

KIND = "User"
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
Document = schemas.Document


class Kept(NamedTuple):
    """What is kept of a user beyond the directory.

    :ivar attributes: by their names; among them ``displayName`` if a client has given one, and all
        ``emails``.
    """

    user_name: str
    external_id: str | None
    attributes: Document


class Wanted(NamedTuple):
    """What a client wants a user to be.

    :ivar username: the name in the directory: the displayName, or what stands for it.
    :ivar active: None: as it is, or true for a new user.
    """

    kept: Kept
    username: str
    email: str
    active: bool | None


def fold_name(user_name: str) -> str:
    """Return the form in which userNames are compared: that of emails, where it is one."""
    return folded_email(user_name).rstrip(" ") or fold_username(user_name)


def folded_email(text: str) -> str:
    """Return a folded email; empty: the text is none."""
    try:
        return fold_email(text)
    except ValueError:
        return ""


def document_of(row: Row) -> Document:
    """Return a user in the form of RFC 7643, without what is read-only.

    ``displayName`` is missing unless a client has given it: it is derived from others then.
    """
    if row.attributes is None:
        document: Document = {"displayName": row.username}
    else:
        document = orjson.loads(row.attributes)
    document["emails"] = _with_main(document.get("emails"), row.email)
    document["userName"] = row.user_name or row.email
    document["active"] = bool(row.active)
    if row.external_id is not None:
        document["externalId"] = row.external_id
    if "displayName" in document or row.username != derived_name(document):
        document["displayName"] = row.username
    return document


def to_scim(row: Row, groups: Iterable[Row], base_url: str) -> Document:
    """Return a user as clients see it.

    :param groups: those in which the user is, as far as they are shown.
    :param base_url: the absolute URL of ``/scim/v2``.
    """
    document = document_of(row)
    if shown := [_membership(each, base_url) for each in groups]:
        document["groups"] = shown
    extensions = [schemas.ENTERPRISE_USER] if schemas.ENTERPRISE_USER in document else []
    return {
        "schemas": [schemas.USER, *extensions],
        "id": str(row.id),
        **document,
        "displayName": row.username,
        "meta": {
            "resourceType": KIND,
            "created": f"{row.created_at[:10]}T{row.created_at[11:19]}Z",
            "lastModified": f"{row.updated_at[:10]}T{row.updated_at[11:19]}Z",
            "location": f"{base_url}/Users/{row.id}",
            "version": f'W/"{row.version}"',
        },
    }


def _membership(group: Row, base_url: str) -> Document:
    return {
        "value": str(group.id),
        "$ref": f"{base_url}/Groups/{group.id}",
        "display": group.display_name,
        "type": "direct",
    }


def wanted_of(document: Document) -> Wanted:
    """Return what a user of the form of RFC 7643 is here."""
    kept = kept_of(document)
    attributes, email = kept.attributes, main_email(kept.attributes["emails"])
    schemas.check(_TEXT, "userName", kept.user_name)
    if kept.external_id is not None:
        schemas.check(_TEXT, "externalId", kept.external_id)
    schemas.check(_EMAIL, "emails", email["value"])
    username = attributes.get("displayName") or derived_name(document)
    schemas.check(_TEXT, "displayName", username)
    return Wanted(kept, username, email["value"], document.get("active"))


def kept_of(document: Document) -> Kept:
    """Return what is kept of a user of the form of RFC 7643.

    :raises InvalidRequest: there is no userName, or no email (400).
    """
    user_name = document.get("userName")
    if not user_name:
        raise InvalidRequest("invalidValue", "userName: Must not be missing.")
    attributes = {
        name: value
        for name, value in document.items()
        if name not in ("userName", "externalId", "active") and value not in (None, "", [], {})
    }
    emails = [dict(each) for each in attributes.get("emails", ()) if each.get("value")]
    if emails:
        main = main_email(emails)
        if main.get("primary"):
            main.setdefault("type", "work")
    elif _is_email(user_name):
        emails = _with_main([], user_name)
    else:
        detail = "emails: Must not be missing, since the userName is not an address."
        raise InvalidRequest("invalidValue", detail)
    return Kept(user_name, document.get("externalId") or None, {**attributes, "emails": emails})


def _is_email(text: str) -> bool:
    try:
        check_email(text)
    except ValueError:
        return False
    return True


def main_email(emails: Sequence[Document]) -> Document:
    """Return the email that is the user's: the primary one, or that for work, or the first."""
    primary = (each for each in emails if each.get("primary"))
    work = (each for each in emails if each.get("type", "").lower() == "work")
    return next(primary, None) or next(work, None) or emails[0]


def other_emails(kept: Kept) -> set[str]:
    """Return the folded emails beside the main one."""
    main = main_email(kept.attributes["emails"])
    others = [each for each in kept.attributes["emails"] if each is not main]
    folded = {folded_email(each["value"]) for each in others}
    return {each for each in folded if 0 < len(each) <= FOLDED_EMAIL_LENGTH}


def _with_main(emails: Sequence[Document] | None, email: str) -> list[Document]:
    """Return a user's emails, of which the main one may have changed in the directory."""
    if not emails:
        return [{"value": email, "type": "work", "primary": True}]
    main = main_email(emails)
    return [{**each, "value": email} if each is main else each for each in emails]


def derived_name(document: Document) -> str:
    """Return the name of a user without a displayName."""
    name = document.get("name") or {}
    parts = [name.get("givenName"), name.get("familyName")]
    texts = (name.get("formatted"), " ".join(filter(None, parts)), document["userName"])
    return next(text for text in texts if text and text.strip())[:TEXT_LENGTH]


def columns_of(kept: Kept) -> dict[str, Any]:
    """Return the columns of a row.

    :raises TooManyAttributes: the attributes are too large (413).
    """
    attributes = orjson.dumps(kept.attributes)
    if len(attributes) > MAX_ATTRIBUTES_BYTES:
        raise TooManyAttributes
    return {
        "user_name": kept.user_name,
        "user_name_folded": fold_name(kept.user_name),
        "external_id": kept.external_id,
        "attributes": attributes.decode(),
    }


def recorded(kept: Kept) -> Document:
    """Return what the trail has; the name and the address are in the event of the user itself."""
    main = main_email(kept.attributes["emails"])
    others = [each for each in kept.attributes["emails"] if each is not main]
    state = {"userName": kept.user_name, "externalId": kept.external_id, **kept.attributes}
    state |= {"displayName": None, "emails": others, **state.pop(schemas.ENTERPRISE_USER, {})}
    return {name: value for name, value in state.items() if value}


def seen(kept: Kept) -> tuple[Any, ...]:
    """Return what clients see; the name in the directory is compared as such."""
    attributes = {name: each for name, each in kept.attributes.items() if name != "displayName"}
    return kept.user_name, kept.external_id, attributes

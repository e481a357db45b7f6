"""Events in words: one sentence for each action, in the language of the person who reads it.

An action is recorded by its name; how it reads is in ``ACTIONS`` alone. Names of users and of API
keys are found by the features that own them: audit may not import them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import starmap
from types import MappingProxyType
from typing import Any, NamedTuple

from flask_babel import gettext, ngettext
from markupsafe import Markup, escape

from project.api.audit.service import ANONYMOUS, PRUNER
from project.database import Row
from project.web.languages import format_datetime, format_number

Names = Mapping[str, str]
"""The names of users and API keys by reference, such as ``user:7``; those removed are missing."""
FindNames = Callable[[Collection[int]], Mapping[int, str]]
Link = Callable[[str, str], Markup]

_: Callable[..., str] = gettext
_finders: dict[str, FindNames] = {}


def N_(text: str) -> str:
    """Mark a text for translation; it is translated when it is shown."""
    return text


class Words(NamedTuple):
    """How an action reads.

    :param label: the kind of event, in filters.
    :param sentence: a text with the placeholders actor, user, old, new, and the names of recorded
        values; or a function of these values, for a plural.
    :param others: the sentence for events that ``_variant`` tells apart.
    """

    label: str
    sentence: str | Callable[[dict[str, Any]], str]
    others: Mapping[str, str] = MappingProxyType({})


ACTIONS: dict[str, Words] = {
    "user.created": Words(
        N_("User added"),
        N_("%(actor)s added %(user)s with the email %(email)s"),
        {"role": N_("%(actor)s added %(user)s with the email %(email)s as %(role)s")},
    ),
    "user.updated": Words(
        N_("User changed"),
        N_("%(actor)s changed %(user)s: %(changes)s"),
        {
            "username": N_("%(actor)s renamed %(user)s from “%(old)s” to “%(new)s”"),
            "email": N_("%(actor)s changed the email of %(user)s from %(old)s to %(new)s"),
            "role": N_("%(actor)s changed the role of %(user)s from %(old)s to %(new)s"),
            "activated": N_("%(actor)s activated %(user)s"),
            "deactivated": N_("%(actor)s deactivated %(user)s"),
            "password": N_("%(actor)s set a new password for %(user)s"),
        },
    ),
    "user.removed": Words(
        N_("User removed"), N_("%(actor)s removed %(user)s, whose email was %(email)s")
    ),
    "attributes.changed": Words(
        N_("Attributes changed"),
        N_("%(actor)s set attributes of %(user)s by SCIM: %(attributes)s"),
    ),
    "users.created": Words(
        N_("Sample users added"),
        lambda values: ngettext(
            "%(actor)s added %(count)s user", "%(actor)s added %(count)s users", **values
        ),
    ),
    "users.deactivated": Words(
        N_("Missing users deactivated"),
        lambda values: ngettext(
            "%(actor)s deactivated %(count)s user who was missing from an imported file",
            "%(actor)s deactivated %(count)s users who were missing from an imported file",
            **values,
        ),
    ),
    "users.imported": Words(
        N_("Users imported"),
        N_(
            "%(actor)s imported a file: %(created)s added, %(updated)s changed,"
            " %(skipped)s unchanged, %(failed)s failed"
        ),
    ),
    "import.undone": Words(
        N_("Import undone"),
        N_("%(actor)s undid an import: %(removed)s removed, %(restored)s changed back"),
    ),
    "group.created": Words(N_("Group added"), N_("%(actor)s added the group “%(name)s”")),
    "group.updated": Words(
        N_("Group changed"),
        N_("%(actor)s changed the group “%(name)s”"),
        {"name": N_("%(actor)s renamed the group “%(old)s” to “%(name)s”")},
    ),
    "group.removed": Words(N_("Group removed"), N_("%(actor)s removed the group “%(name)s”")),
    "member.added": Words(
        N_("Added to a group"), N_("%(actor)s added %(user)s to the group “%(name)s”")
    ),
    "member.removed": Words(
        N_("Removed from a group"), N_("%(actor)s removed %(user)s from the group “%(name)s”")
    ),
    "members.added": Words(
        N_("Many users added to a group"),
        N_("%(actor)s added %(count)s users to the group “%(name)s”"),
    ),
    "members.removed": Words(
        N_("Many users removed from a group"),
        N_("%(actor)s removed %(count)s users from the group “%(name)s”"),
    ),
    "session.started": Words(N_("Signed in"), N_("%(actor)s signed in")),
    "session.ended": Words(
        N_("Signed out"),
        N_("%(actor)s signed out"),
        {"other": N_("%(actor)s ended a session of %(user)s")},
    ),
    "sessions.ended": Words(
        N_("All sessions ended"),
        N_("%(actor)s ended their other sessions"),
        {"other": N_("%(actor)s ended all sessions of %(user)s")},
    ),
    "session.failed": Words(
        N_("Sign-in failed"),
        N_("A sign-in as %(user)s failed"),
        {"nobody": N_("A sign-in with an unknown email failed")},
    ),
    "password.refused": Words(
        N_("Wrong current password"), N_("%(actor)s entered a wrong current password")
    ),
    "link.created": Words(
        N_("One-time link made"),
        N_("%(actor)s made a one-time link for %(user)s"),
        {"mail": N_("%(actor)s had a one-time link sent to %(user)s by mail")},
    ),
    "link.used": Words(
        N_("One-time link used"), N_("%(actor)s chose a password at a one-time link")
    ),
    "setup.refused": Words(
        N_("Wrong setup code"), N_("A wrong code for creating the first administrator was entered")
    ),
    "key.created": Words(
        N_("API key made"),
        N_("%(actor)s made the API key “%(name)s” (%(scopes)s) for %(user)s"),
    ),
    "key.removed": Words(
        N_("API key revoked"),
        N_("%(actor)s revoked the API key “%(name)s” (%(scopes)s) of %(user)s"),
    ),
    "key.resumed": Words(
        N_("API key resumed"),
        N_("%(actor)s resumed the API key “%(name)s” (%(scopes)s) of %(user)s"),
    ),
    "key.stopped": Words(
        N_("API key stopped"),
        N_(
            "%(actor)s of %(user)s was stopped, since it had deactivated or removed %(count)s users"
            " within an hour"
        ),
    ),
    "key.allowed": Words(
        N_("API key let go on"),
        N_("%(actor)s let the API key “%(name)s” of %(user)s go on for an hour"),
    ),
    "key.used": Words(N_("API key used"), N_("%(actor)s of %(user)s was used")),
    "audit.pruned": Words(
        N_("Old events removed"), N_("%(actor)s removed all events from before %(older_than)s")
    ),
}
"""The words of all actions. A test fails if a registered action has none."""

_UNKNOWN = N_("%(actor)s did “%(action)s”")
_CHANGE = N_("%(field)s from “%(old)s” to “%(new)s”")
_FIELDS = {
    "username": N_("name"),
    "email": N_("email"),
    "role": N_("role"),
}
_ROLES = {
    None: N_("ordinary user"),
    "viewer": N_("viewer"),
    "editor": N_("editor"),
    "admin": N_("administrator"),
}


def register_names(kind: str, find: FindNames) -> None:
    """Register how the names of ``user`` or ``key`` are found: those of some ids in one query."""
    _finders[kind] = find


def find_names(events: Iterable[Row], others: Iterable[str] = ()) -> Names:
    """Return the names of all users and API keys in some events: one query for each kind.

    :param others: further references, such as ``user:7``.
    """
    ids: dict[str, set[int]] = {}
    references = [*others]
    for event in events:
        references += [event.actor] if event.user_id is None else [event.actor, _target(event)]
    for reference in references:
        kind, _colon, number = reference.partition(":")
        if kind in _finders:
            ids.setdefault(kind, set()).add(int(number))
    return {
        f"{kind}:{found_id}": name
        for kind, wanted in ids.items()
        for found_id, name in _finders[kind](wanted).items()
    }


def describe(
    event: Row, names: Names, link: Link | None = None, actor_link: Link | None = None
) -> str:
    """Return an event as a sentence without a full stop.

    :param event: with actor, action, user_id, before and after, as ``service.list_events`` returns.
    :param names: those that ``find_names`` returned for this event and others.
    :param link: returns the HTML of a user, by reference and name; all else is then
        escaped, and the result is Markup. None: the result is text.
    :param actor_link: the same for who acted, if that is no user who is there; None: no HTML.
    """
    quote: Callable[[Any], str] = str if link is None else escape
    values = {name: quote(value) for name, value in _values(event).items()}
    for name, reference, shown in [
        ("actor", event.actor, actor_words(event.actor, names)),
        ("user", _target(event), _user_words(event, names)),
    ]:
        known = reference in names and reference.startswith("user:")
        made = link if known else actor_link if name == "actor" else None
        values[name] = made(reference, shown) if made else quote(shown)
    words = ACTIONS.get(event.action)
    if words is None:
        text = _(_UNKNOWN, action=quote(event.action), actor=values["actor"])
    else:
        sentence = words.others.get(_variant(event), words.sentence)
        if callable(sentence):
            text = sentence({"num": (event.after or {}).get("count", 0), **values})
        else:
            text = _(sentence, **values)
    return text if link is None else Markup(text)  # nosec B704


def actor_words(actor: str, names: Names) -> str:
    """Return who acted, as the beginning of a sentence."""
    kind, _colon, name = actor.partition(":")
    if kind == "user":
        return names.get(actor) or _("User %(id)s (removed)", id=name)
    if kind == "key":
        if known := names.get(actor):
            return _("The API key “%(name)s”", name=known)
        return _("The API key %(id)s (removed)", id=name)
    if actor == PRUNER:
        return _("The service")
    if kind == "command":
        return _("The command %(name)s", name=name)
    if actor == ANONYMOUS:
        return _("Somebody who was not signed in")
    return actor


def role_words(role: str | None) -> str:
    """Return the name of a role."""
    return _(_ROLES[role]) if role in _ROLES else str(role)


def _target(event: Row) -> str:
    return f"user:{event.user_id}"


def _user_words(event: Row, names: Names) -> str:
    """Return the affected user: of one who was removed, what the event has recorded."""
    if event.user_id is None:
        return ""
    reference = _target(event)
    if event.actor == reference:
        return _("their own account")
    state = {**(event.before or {}), **(event.after or {})}
    recorded = state.get("username") or state.get("email")
    return names.get(reference) or recorded or _("user %(id)s (removed)", id=event.user_id)


def _variant(event: Row) -> str:
    """Return which of an action's sentences fits: by what has changed, or who was affected."""
    before, after = event.before or {}, event.after or {}
    if event.action == "user.created":
        return "role" if after.get("role") else ""
    if event.action == "user.updated":
        fields = list(after)
        if fields == ["active"]:
            return "activated" if after["active"] else "deactivated"
        return fields[0] if len(before | after) == 1 else ""
    if event.action == "group.updated":
        return "name" if "name" in before else ""
    if event.action == "link.created":
        return "mail" if after.get("by_mail") else ""
    if event.action in {"session.ended", "sessions.ended"}:
        return "" if event.actor == _target(event) else "other"
    return "nobody" if event.user_id is None else ""


def _values(event: Row) -> dict[str, str]:
    """Return what a sentence may say of the event's states."""
    before, after = event.before or {}, event.after or {}
    values = {name: _words(name, value) for name, value in (before | after).items()}
    if event.action == "attributes.changed":
        values["attributes"] = ", ".join(before | after)
    if event.action == "user.updated":
        changes = [(name, _words(name, before.get(name)), values[name]) for name in after]
        [(_name, values["old"], values["new"])] = changes[:1] or [("", "", "")]
        values["changes"] = _("; ").join(starmap(_change, changes))
    elif "name" in before:
        values["old"] = before["name"]
    return values


def _change(name: str, old: str, new: str) -> str:
    """Return a change of one field among several."""
    if name == "active":
        return _("activated") if new == _words(name, True) else _("deactivated")
    if name == "password":
        return _("a new password")
    field = _(_FIELDS[name]) if name in _FIELDS else name
    return _(_CHANGE, field=field, old=old, new=new)


def _words(name: str, value: Any) -> str:
    """Return a recorded value as text."""
    if name == "role":
        return role_words(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int):
        return format_number(value)
    if name == "older_than":
        return format_datetime(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

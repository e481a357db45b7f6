"""The trail in words, for administrators: a page, and the same as a file."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from babel.dates import format_time
from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from markupsafe import Markup

from project.api.audit import bp, service, words
from project.api.audit.people import Person, find_people
from project.api.audit.schemas import ACTOR, EventListQuery, filters_of
from project.clock import utcnow
from project.database import Row
from project.database.rendering import FORMULA_STARTS
from project.errors import FieldError, Invalid
from project.web.contract import validate_query
from project.web.downloads import send_file
from project.web.guard import ADMIN, SESSION, require, require_still
from project.web.languages import language, translated

EVENTS_PER_PAGE = 50
EQUAL: tuple[str, ...] = ("user", "actor", "action")
FILTERS = (*EQUAL, "from", "to")
_REFERENCES = {"user": r"[0-9]+", "actor": ACTOR}
"""What names a user or an actor in the address; all else is a text to search for."""
_NAME_CLASSES = (
    "name fw-semibold link-body-emphasis link-underline-opacity-25 link-underline-opacity-100-hover"
)
_PREFIXES = {"user": "", "actor": "user:"}
COLUMNS = (
    *("time (UTC)", "actor", "action", "user_id", "event"),
    *("before", "after", "address", "request_id"),
)


class Filter(NamedTuple):
    """What the address asks for.

    :param values: the parameters that are not empty.
    :param people: for ``user`` and ``actor``, whom their texts may mean, if that is not one.
    :param errors: what is wrong, by parameter.
    """

    values: dict[str, str]
    query: EventListQuery | None
    people: dict[str, Sequence[Person]]
    errors: dict[str, str]


class Line(NamedTuple):
    """An event as the page shows it."""

    event: Row
    time: str
    sentence: str


@bp.get("/activity")
@require(ADMIN, even_when_open=True, credentials=SESSION)
def activity() -> ResponseReturnValue:
    """Show events in words, the newest first, by person, actor, kind and day.

    ``cursor`` selects the events after those of another page, ``before`` those before them.
    Where a name or an address means one user, the answer leads to the address with the id.

    :raises Invalid: the cursor is not valid for these filters (400).
    """
    chosen = _read_filter()
    if any(chosen.values[name] != request.args[name].strip() for name in chosen.values):
        return redirect(_address(chosen.values), 303)
    before = request.args.get("before")
    page = service.list_both_ways(chosen.query, before) if chosen.query else None
    events = page.rows if page else []
    wanted = {name: _reference(name, chosen.values[name]) for name in _resolved(chosen)}
    names = words.find_names(events, wanted.values())
    shown = render_template(
        "audit/activity.html",
        chosen=chosen,
        days=_by_day(events, names),
        page=page,
        names={name: words.actor_words(each, names) for name, each in wanted.items()},
        kinds=sorted((_(each.label), name) for name, each in words.ACTIONS.items()),
    )
    return shown, 400 if chosen.errors else 200


@bp.get("/activity/download")
@require(ADMIN, even_when_open=True, credentials=SESSION)
def download_activity() -> Response:
    """Send the events that the filters find as CSV, for Excel.

    :raises Invalid: a filter is invalid (400).
    """
    chosen = _read_filter()
    if chosen.query is None:
        errors = [FieldError(name, message) for name, message in chosen.errors.items()]
        raise Invalid(errors=errors)
    parts = service.all_events(**filters_of(chosen.query))
    name = f"activity-{utcnow():%Y-%m-%d}.csv"
    return send_file(_csv(parts), "text/csv; charset=utf-8", name)


def _read_filter() -> Filter:
    """Return what the address asks for.

    :raises Invalid: the cursor is not valid (400).
    """
    values = {name: text for name in FILTERS if (text := request.args.get(name, "").strip()) != ""}
    people: dict[str, Sequence[Person]] = {}
    errors: dict[str, str] = {}
    for name in ("user", "actor"):
        if name in values and not re.fullmatch(_REFERENCES[name], values[name]):
            found = find_people(values[name])
            if len(found) == 1:
                values[name] = f"{_PREFIXES[name]}{found[0].id}"
            elif found:
                people[name] = found
            else:
                errors[name] = _("Nobody with this name or email address was found.")
    given: dict[str, str] = {name: values[name] for name in EQUAL if name in values}
    for name, parameter, days in (("from", "since", 0), ("to", "until", 1)):
        if name in values:
            try:
                given[parameter] = f"{date.fromisoformat(values[name]) + timedelta(days)}"
            except (ValueError, OverflowError):
                errors[name] = _("Must be a date, such as 2026-11-23.")
    if people or errors:
        return Filter(values, None, people, errors)
    if "cursor" in request.args:
        given["cursor"] = request.args["cursor"]
    try:
        query = validate_query(EventListQuery, {**given, "limit": EVENTS_PER_PAGE})
    except Invalid as error:
        errors = {each.field: translated(each.message) for each in error.errors}
        if "cursor" in errors:
            raise
        return Filter(values, None, people, errors)
    return Filter(values, query, people, errors)


def _resolved(chosen: Filter) -> list[str]:
    """Return which of the filters by person name one."""
    unclear = {**chosen.people, **chosen.errors}
    return [name for name in _REFERENCES if name in chosen.values and name not in unclear]


def _reference(name: str, value: str) -> str:
    return f"user:{value}" if name == "user" else value


def _by_day(events: Sequence[Row], names: words.Names) -> list[tuple[date, list[Line]]]:
    return [
        (
            day,
            [
                Line(
                    event,
                    format_time(event.created_at.time(), "medium", locale=language()),
                    words.describe(event, names, _link, _actor_link),
                )
                for event in group
            ],
        )
        for day, group in groupby(events, key=lambda event: event.created_at.date())
    ]


def _link(reference: str, name: str) -> Markup:
    """Return a name that leads to the page of its user."""
    return _name(url_for("auth.user_page", user_id=reference.partition(":")[2]), name)


def _actor_link(reference: str, name: str) -> Markup:
    """Return a name that leads to what this actor did, who has no page."""
    return _name(_address({"actor": reference}), name)


def _name(address: str, name: str) -> Markup:
    return Markup('<a class="{}" href="{}">{}</a>').format(_NAME_CLASSES, address, name)


def _address(values: dict[str, Any]) -> str:
    return url_for("audit.activity", **values)


def _csv(parts: Iterator[Sequence[Row]]) -> Iterator[bytes]:
    """Yield the lines of events; the caller is checked before each part but the first."""
    yield f"\ufeff{','.join(COLUMNS)}\r\n".encode()
    for events in parts:
        names, text = words.find_names(events), io.StringIO()
        csv.writer(text).writerows(_cells(event, names) for event in events)
        yield text.getvalue().encode()
        require_still(ADMIN, SESSION)


def _cells(event: Row, names: words.Names) -> list[Any]:
    states = [
        None if state is None else orjson.dumps(state).decode()
        for state in (event.before, event.after)
    ]
    return [
        f"{event.created_at:%Y-%m-%d %H:%M:%S}",
        event.actor,
        event.action,
        event.user_id,
        _as_text(words.describe(event, names)),
        *states,
        event.address and _as_text(event.address),
        event.request_id and _as_text(event.request_id),
    ]


def _as_text(value: str) -> str:
    """Return a text with an apostrophe if a spreadsheet would run it as a formula."""
    return f"'{value}" if value.startswith(tuple(FORMULA_STARTS)) else value

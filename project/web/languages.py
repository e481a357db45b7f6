"""The languages of the pages: how one is chosen, and texts, dates and numbers in it.

A person's own choice comes first, then what the browser asks for, then English. The API is English.
Texts are translated by Flask-Babel. In templates, constant texts are translated when the template
is compiled, once for each language, so that they cost a request nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import flask.templating
from babel import dates, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, has_request_context
from flask_babel import Babel, Domain, force_locale
from flask_babel.speaklater import LazyString
from jinja2 import Template, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from project.errors import Message
from project.web.body import current_request

LANGUAGES = {"en": "English", "zh_Hans": "简体中文"}
"""The languages by their names in Babel, with their own names for themselves."""
DEFAULT = "en"
COOKIE = "language"
FOLDER = Path(__file__).parents[1] / "translations"
CHOSEN = "users.language"
_nearest = {"en": "en", "zh": "zh_Hans"}  # by the first subtag that a browser sends
_forced: ContextVar[str | None] = ContextVar("language", default=None)


class _Translator(NodeTransformer):
    """Replaces the calls of gettext in a template by the texts of one language."""

    def __init__(self, language: str) -> None:
        self.translations = _translations(language)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        """Translate a constant text, as Jinja's "newstyle" gettext would: it is markup."""
        self.generic_visit(node)
        match node:
            case nodes.Call(
                node=nodes.Name(name="_" | "gettext"), args=[nodes.Const(value=str(text))]
            ):
                text = Markup(self.translations.gettext(text))  # nosec B704
            case _:
                return node
        if not node.kwargs:
            return nodes.Const(text % {}, lineno=node.lineno)
        values = [nodes.Pair(nodes.Const(each.key), each.value) for each in node.kwargs]
        return nodes.Mod(nodes.Const(text), nodes.Dict(values), lineno=node.lineno)


class Environment(flask.templating.Environment):
    """Compiles each template once for each language, with its texts in that language."""

    language: str | None = None

    def get_or_select_template(self, *args: Any, **kwargs: Any) -> Template:
        """Return the template in the language of the request."""
        return self.in_language(language()).get_template(*args, **kwargs)

    def in_language(self, language: str) -> "Environment":
        """Return the environment whose templates are in a language."""
        overlays: dict[str, Environment] = self.__dict__.setdefault("overlays", {})
        if language not in overlays:
            overlay = self.overlay()
            overlay.language = language
            overlays[language] = overlay
        return overlays[language]

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if self.language is not None:
            _Translator(self.language).visit(tree)
        return tree


class _Catalogues(Domain):  # type: ignore[misc]
    """The texts of Flask-Babel, from the .po files themselves instead of compiled ones."""

    def get_translations(self) -> NullTranslations:
        """Return the texts in the current language."""
        return _translations(language())


def init_app(app: Flask) -> None:
    """Translate the pages. Must be called before anything uses the app's Jinja environment.

    The catalogues are read now, so that an invalid one stops the start.
    """
    app.jinja_environment = Environment
    babel = Babel()
    babel.init_app(app, locale_selector=language)
    babel.domain_instance = _Catalogues()
    app.jinja_env.globals.update(language=language, LANGUAGES=LANGUAGES)
    app.jinja_env.filters.update(date=format_date, datetime=format_datetime, number=format_number)
    for each in LANGUAGES:
        _translations(each)


def language() -> str:
    """Return the language of this request, or of a block of ``in_language``."""
    if (forced := _forced.get()) or not has_request_context():
        return forced or DEFAULT
    environ = current_request().environ
    found: str | None = environ.get(CHOSEN)
    if found is None:
        found = environ[CHOSEN] = _choose(environ)
    return found


def _choose(environ: dict[str, Any]) -> str:
    if "HTTP_COOKIE" in environ:
        chosen = current_request().cookies.get(COOKIE)
        if chosen in LANGUAGES:
            return chosen
    return _preferred(environ.get("HTTP_ACCEPT_LANGUAGE", "")[:200])


@lru_cache(maxsize=256)
def _preferred(header: str) -> str:
    """Return the language that a browser prefers. Chinese of any kind is the one that we have."""
    accepted = parse_accept_header(header, LanguageAccept)
    tags = [tag.lower().replace("_", "-").split("-")[0] for tag, quality in accepted if quality]
    return next((_nearest[tag] for tag in tags if tag in _nearest), DEFAULT)


def response_headers(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the headers of a response whose texts are in the language of the request."""
    return [("Content-Language", tag(environ[CHOSEN])), ("Vary", "Cookie, Accept-Language")]


def tag(language: str) -> str:
    """Return the name of a language in HTML and HTTP (BCP 47)."""
    return language.replace("_", "-")


@contextmanager
def in_language(language: str) -> Iterator[None]:
    """Use a language within a block whatever the request wants, such as for a mail.

    It needs an application context.
    """
    token = _forced.set(language)
    try:
        with force_locale(language):
            yield
    finally:
        _forced.reset(token)


def gettext(text: str, **values: Any) -> str:
    """Return a text in the current language, in less than half the calls of Flask-Babel."""
    found: str = _translations(language()).gettext(text)
    return found % values if values else found


def ngettext(singular: str, plural: str, number: int) -> str:
    """Return the form of a text for a number in the current language."""
    found: str = _translations(language()).ngettext(singular, plural, number)
    return found


def lazy_gettext(text: str, **values: Any) -> LazyString:
    """Return a text that is translated when it is shown; for the labels of forms."""
    return LazyString(gettext, text, **values)


def translated(message: str) -> str:
    """Return a message of an error in the current language.

    :param message: an English text of the catalogues, or a ``Message``; others stay as they are.
    """
    if not isinstance(message, Message):
        return gettext(message) if message else ""
    values = {
        name: translated(value) if isinstance(value, Message) else value
        for name, value in message.values.items()
    }
    return gettext(message.template, **values)


def format_date(value: date | str) -> str:
    """Return a date as people write it in the current language.

    :param value: a date, a time in UTC, or either in ISO 8601.
    """
    return _format_date(value, language())


def format_datetime(value: datetime | str) -> str:
    """Return a date and time as people write them in the current language, with the words UTC.

    :param value: a time in UTC, or in ISO 8601.
    """
    return _format_datetime(value, language())


def try_again(seconds: int) -> str:
    """Return a sentence that says when to come back."""
    wait = timedelta(seconds=seconds) if seconds < 60 else timedelta(minutes=ceil(seconds / 60))
    text = dates.format_timedelta(wait, threshold=1, locale=language())
    return gettext("You can try again in %(wait)s.", wait=text)


def format_number(value: float) -> str:
    """Return a number as people write it in the current language."""
    return _format_number(value, language())


@lru_cache(maxsize=4096)
def _format_date(value: date | str, language: str) -> str:
    day = datetime.fromisoformat(value) if isinstance(value, str) else value
    return dates.format_date(day, "medium", locale=language)


@lru_cache(maxsize=4096)
def _format_datetime(value: datetime | str, language: str) -> str:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    time = dates.format_time(moment.replace(tzinfo=None), "short", locale=language)
    pattern = str(dates.get_datetime_format("medium", locale=language)).replace("'", "")
    return f"{pattern.format(time, _format_date(moment, language))} UTC"


@lru_cache(maxsize=4096)
def _format_number(value: float, language: str) -> str:
    return numbers.format_decimal(value, locale=language)


@cache
def _translations(language: str) -> NullTranslations:
    """Return the texts of a language, compiled in memory: 4 ms for 200 texts."""
    file = FOLDER / language / "LC_MESSAGES" / "messages.po"
    if language == DEFAULT or not file.exists():
        return NullTranslations()
    compiled = BytesIO()
    with file.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return Translations(compiled)

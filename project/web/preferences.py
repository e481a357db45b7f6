"""What a browser remembers of its person's wishes, in cookies: the language and the theme.

The form needs no token against forgery: it changes nothing but the look of the pages, and its
cookies are sent to this service only.
"""

from typing import Any

from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue

from project.web import languages
from project.web.addresses import previous_path
from project.web.body import current_request

THEMES = ("light", "dark", "auto")
AUTO = "auto"
THEME_COOKIE = "theme"
LIFETIME_SECONDS = 365 * 24 * 3600
_CHOICES: dict[str, Any] = {languages.COOKIE: languages.LANGUAGES, THEME_COOKIE: THEMES}


def init_app(app: Flask) -> None:
    """Register the form's address."""
    app.add_url_rule("/preferences", "save_preferences", save, methods=["POST"])


def save() -> ResponseReturnValue:
    """Remember the language or the theme for a year, and lead back to the page of the form."""
    response = redirect(previous_path() or f"{request.root_path}/", 303)
    for name, choices in _CHOICES.items():
        if (choice := request.form.get(name, "")) in choices:
            response.set_cookie(
                name,
                choice,
                max_age=LIFETIME_SECONDS,
                path=request.root_path or "/",
                secure=request.is_secure,
                httponly=True,
                samesite="Lax",
            )
    return response


def theme() -> str:
    """Return the theme that the person has chosen: light, dark, or auto, which is the system's."""
    asked = current_request()
    chosen = asked.cookies.get(THEME_COOKIE) if "HTTP_COOKIE" in asked.environ else None
    return chosen if chosen in THEMES else AUTO

"""What the bar at the top of every page shows."""

from typing import NamedTuple

from flask import Flask

from project.web import guard
from project.web.body import current_request
from project.web.preferences import theme

_SECTIONS = {
    "": "users",
    "user": "users",
    "remove": "users",
    "invite": "users",
    "revoke": "account",
}


class Bar(NamedTuple):
    """What the bar shows.

    :param root: the path under which the service is reached; links begin with it.
    :param section: the first segment of the page's path, or the section that it belongs to.
    :param current: of the section's link: whether it is this page or another of the section, as
        ``aria-current`` says it.
    :param me: the person who is signed in; None: nobody.
    """

    root: str
    section: str
    current: str
    theme: str
    is_open: bool
    me: guard.Principal | None


def init_app(app: Flask) -> None:
    """Tell the templates which pages there are; call it when all routes are registered.

    ``paths`` has the paths of the pages by endpoint. A link to one that is missing is not shown.
    """
    paths = {
        rule.endpoint: rule.rule
        for rule in app.url_map.iter_rules()
        if not rule.arguments and "GET" in (rule.methods or ())
    }
    app.jinja_env.globals.update(paths=paths, page_bar=page_bar)


def page_bar(identify: bool = True) -> Bar:
    """Return what the bar of this page shows.

    :param identify: whether to find out who is signed in, for which the database is asked.
    """
    asked = current_request()
    segment = asked.path.split("/", 2)[1]
    return Bar(
        asked.root_path,
        _SECTIONS.get(segment, segment),
        "page" if asked.path == f"/{segment}" else "true",
        theme(),
        guard.is_open(),
        guard.find_principal(guard.SESSION) if identify else guard.known_principal(),
    )

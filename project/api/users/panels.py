"""What other features show on the page of a user."""

from collections.abc import Callable

from markupsafe import Markup

from project.database import Row

Panel = Callable[[Row], Markup]
_panels: list[Panel] = []


def register_panel(panel: Panel) -> Panel:
    """Register what returns a part of the page of a user, for people who may read users.

    A decorator. The part is empty where the person may not see it.
    """
    _panels.append(panel)
    return panel


def render_panels(user: Row) -> Markup:
    """Return the registered parts of the page of a user."""
    return Markup("").join(panel(user) for panel in _panels)

"""What Schemathesis cannot make up from the API's description alone (schemathesis.toml)."""

import json
import os
import re
from itertools import count

import schemathesis
from hypothesis.strategies import sampled_from

from project.web.idempotency import HEADER, KEY

_numbers = count()

# By the pattern alone it would make none: it puts only letters and digits into headers.
schemathesis.openapi.format(
    "entity-tags", sampled_from(["*", '"1", "2","3", W/"4"', 'W/"1"', '""'])
)


@schemathesis.auth().apply_to(tag=["audit", "auth", "scim"])
class AdministratorAuth:
    """Calls what needs a sign-in as the administrator whose token the test has put here."""

    def get(self, _case, _context) -> str:
        """Return the token."""
        return os.environ["ADMINISTRATOR_TOKEN"]

    def set(self, case, token: str, _context) -> None:
        """Show it."""
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(_context, case, _options) -> None:
    """Make keys and emails differ from request to request, where they are well-formed.

    By itself, Schemathesis sends the same few again and again, and only the first time succeeds.
    Whoever signs in is the administrator: nobody else has an account.
    """
    if KEY.fullmatch((case.headers or {}).get(HEADER, "")):
        case.headers[HEADER] = f"key-{next(_numbers)}"
    well_formed = case.meta.generation.mode.is_positive
    if well_formed and case.operation.path == "/auth/login":
        case.body = json.loads(os.environ["ADMINISTRATOR"])
    elif well_formed and isinstance(case.body, dict) and "email" in case.body:
        # A number of its own may be in front already, in an email that was answered before.
        case.body["email"] = re.sub(r"^(\d+\.)?", f"{next(_numbers)}.", case.body["email"])

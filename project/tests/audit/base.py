"""What the tests of the trail stand on."""

from collections.abc import Callable
from typing import Any

from project import db
from project.api.audit import service
from project.api.models import User
from project.tests.base import BaseTestCase

PASSWORD = "grey otters paddle home at dusk"


class AuditTestCase(BaseTestCase):
    """Base with helpers to sign in, to call as a user, and to read the recorded events."""

    def events(self) -> list[Any]:
        """Return all events, in the order in which they were recorded."""
        return sorted(service.list_events(9999), key=lambda event: event.id)

    def recorded(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
        """Return the events that some work leaves."""
        there = len(self.events())
        work(*arguments, **options)
        return self.events()[there:]

    def sign_in(self, name: str, role: str | None = None) -> str:
        """Make an account with a role; return its token."""
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        response = self.client.post("/auth/register", json=account)
        self.assertEqual(response.status_code, 201, response.text)
        db.session.query(User).filter_by(email=account["email"]).one().role = role
        db.session.commit()
        return str(response.json["auth_token"])

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """Call with a token, or an API key; None: without."""
        if token:
            options["headers"] = {"Authorization": f"Bearer {token}", **options.get("headers", {})}
        return self.client.open(path, method=method, **options)

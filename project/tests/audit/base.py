"""What the tests of the trail stand on."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import JSON, select, type_coerce

from project import db
from project.api.models import AuditEvent, User
from project.extensions import fetch_all
from project.tests.base import BaseTestCase

PASSWORD = "correct horse battery staple"
STATES = ("before", "after")


class AuditTestCase(BaseTestCase):
    """Has ways to sign in, to call as somebody, and to see what was recorded."""

    def events(self) -> list[Any]:
        """Return all events, in the order in which they were recorded."""
        columns: list[Any] = [
            type_coerce(column, JSON).label(column.name) if column.name in STATES else column
            for column in AuditEvent.__table__.c
        ]
        return list(fetch_all(select(*columns).order_by(AuditEvent.id), {}))

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

"""Every table, imported once: for Alembic, for tests and for the shell."""

from project.api.users.models import User
from project.web.idempotency import IdempotencyKey

__all__ = ["IdempotencyKey", "User"]

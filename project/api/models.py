"""Every table, imported once: for Alembic, for tests and for the shell."""

from project.api.users.models import User

__all__ = ["User"]

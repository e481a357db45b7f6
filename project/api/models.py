"""Every table, imported once: for Alembic, for tests and for the shell."""

from project.api.audit.models import AuditEvent
from project.api.auth.models import APIKey, Link, Mail, Session, SetupCode, SignInAttempts
from project.api.groups.models import Group, GroupMember
from project.api.provisioning.models import SCIMRequest
from project.api.scim.models import SCIMEmail, SCIMPlace, SCIMUser
from project.api.transfer.models import Import, ImportChange
from project.api.users.models import AdministratorGuard, DeactivationGuard, User, UserWord
from project.web.idempotency import IdempotencyKey

__all__ = [
    "APIKey",
    "AdministratorGuard",
    "AuditEvent",
    "Group",
    "GroupMember",
    "DeactivationGuard",
    "IdempotencyKey",
    "Import",
    "ImportChange",
    "Link",
    "Mail",
    "SCIMEmail",
    "SCIMPlace",
    "SCIMUser",
    "SCIMRequest",
    "Session",
    "SetupCode",
    "SignInAttempts",
    "User",
    "UserWord",
]

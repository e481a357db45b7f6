"""Which scopes there are, and that no other is ever asked for."""

from unittest import TestCase, mock

from pydantic import TypeAdapter, ValidationError

from project import create_app
from project.api.auth.schemas import APIKeyCreate
from project.api.users.models import ROLES
from project.config import TestingConfig
from project.web import guard


class ScopeTests(TestCase):
    """Scopes are registered by their feature."""

    def setUp(self) -> None:
        for known in (guard._read_only, guard.SCOPES_OF_ROLE):
            self.enterContext(mock.patch.dict(known))

    def test_scopes_are_in_their_order_and_admin_is_the_last(self):
        known = ("users:read", "users:write", "groups:read", "groups:write")
        self.assertEqual(guard.scopes(), (*known, "admin"))
        guard.register_scope("teams:read", roles=["viewer"])

        self.assertEqual(guard.scopes(), (*known, "teams:read", "admin"))

    def test_roles_have_the_scopes_that_were_registered_for_them(self):
        guard.register_scope("teams:read", roles=["viewer", None])

        self.assertEqual(
            guard.SCOPES_OF_ROLE,
            {
                None: {"teams:read"},
                "viewer": {"users:read", "groups:read", "teams:read"},
                "editor": {"users:read", "users:write", "groups:read", "groups:write"},
                "admin": {*guard.scopes()},
            },
        )

    def test_roles_are_those_that_a_user_can_have(self):
        self.assertEqual(set(guard.SCOPES_OF_ROLE), {None, *ROLES})

    def test_api_key_may_have_what_is_registered_and_is_described_so(self):
        sent = {"name": "robot", "scopes": ["teams:read"]}
        with self.assertRaisesRegex(ValidationError, "one or more of users:read, users:write, gr"):
            APIKeyCreate.model_validate(sent)
        guard.register_scope("teams:read", roles=[])

        self.assertEqual(APIKeyCreate.model_validate(sent).scopes, ["teams:read"])
        schema = TypeAdapter(APIKeyCreate).json_schema()["properties"]["scopes"]
        self.assertEqual(schema["items"]["enum"], list(guard.scopes()))

    def test_scope_is_registered_once_in_its_form_for_known_roles(self):
        for scope in ["users:read", "admin", "", "Teams", "teams:", "teams read", "teams:*"]:
            with self.subTest(scope), self.assertRaisesRegex(ValueError, scope):
                guard.register_scope(scope, roles=[])
        with self.assertRaisesRegex(ValueError, "There is no role 'owner'"):
            guard.register_scope("teams:read", roles=["owner"])

    def test_unknown_scope_fails_where_it_is_named(self):
        for ask in (guard.require, guard.require_still, guard.may):
            with self.subTest(ask.__name__), self.assertRaisesRegex(LookupError, "'users:delete'"):
                ask("users:delete")

    def test_more_scopes_than_a_key_can_keep_fail_at_the_start(self):
        guard.register_scope("x" * 240, roles=[])

        with self.assertRaisesRegex(ValueError, "more than 255 characters"):
            create_app(TestingConfig)

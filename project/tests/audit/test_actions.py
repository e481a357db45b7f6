"""What can be recorded: the actions that features have registered, and no others."""

from unittest import mock

from project.api.audit import service as audit
from project.database import in_transaction
from project.tests.audit.base import AuditTestCase


class ActionTests(AuditTestCase):
    """Actions are registered by their feature."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(audit, "_actions", set(audit._actions)))

    def test_registered_action_is_recorded(self):
        [event] = self.recorded(in_transaction(audit.record), audit.register("team.created"), 7)

        self.assertEqual((event.action, event.user_id), ("team.created", 7))

    def test_unknown_action_is_refused_even_where_nothing_would_be_recorded(self):
        for state in [None, {"name": "x"}]:
            with self.assertRaisesRegex(LookupError, "'team.created'"):
                audit.record(audit.Action("team.created"), before=state, after=state)
        self.assertEqual(self.events(), [])

    def test_action_is_registered_once_under_a_name_that_fits(self):
        for name in ["user.created", "", "created", "Team.created", "x" * 60 + ".made"]:
            with self.subTest(name), self.assertRaisesRegex(ValueError, name):
                audit.register(name)

"""Events in words."""

from typing import Any
from unittest import TestCase

from markupsafe import Markup

from project.api.audit import service, words
from project.api.auth import service as auth
from project.api.models import AuditEvent
from project.database import in_transaction
from project.tests.audit.base import AuditTestCase
from project.tests.factories import make_user
from project.tests.wire import recorded_commands
from project.web.guard import Principal

ADA, BOB, CARL = "user:1", "user:2", "user:3"
NAMES = {ADA: "Ada Lovelace", BOB: "Bob", "key:3": "CI"}
STATE = {"username": "Carl", "email": "carl@example.com", "active": True, "role": None}
MANY = {"created": 1200, "updated": 3, "skipped": 0, "failed": 1}


def event(action: str, actor: str = ADA, user_id: int | None = None, **states: Any) -> AuditEvent:
    """Return an event as it is read."""
    states = {"before": None, "after": None, **states}
    return AuditEvent(action=action, actor=actor, user_id=user_id, **states)


class CompletenessTests(TestCase):
    """No action is without words."""

    def test_each_registered_action_has_words(self):
        self.assertEqual(set(words.ACTIONS), service._actions)


class WordsTests(AuditTestCase):
    """The sentence of each event."""

    def test_each_event_is_a_sentence(self):
        key = {"id": 3, "name": "CI", "scopes": ["users:read", "admin"]}
        for recorded, expected in [
            (
                event("user.created", ADA, 3, after=STATE),
                "Ada Lovelace added Carl with the email carl@example.com",
            ),
            (
                event("user.created", "anonymous", 2, after={**STATE, "role": "editor"}),
                "Somebody who was not signed in added Bob with the email carl@example.com as"
                " editor",
            ),
            (
                event("user.updated", ADA, 2, before={"email": "a@x"}, after={"email": "b@x"}),
                "Ada Lovelace changed the email of Bob from a@x to b@x",
            ),
            (
                event("user.updated", ADA, 1, before={"username": "A"}, after={"username": "B"}),
                "Ada Lovelace renamed their own account from “A” to “B”",
            ),
            (
                event("user.updated", ADA, 2, before={"role": None}, after={"role": "admin"}),
                "Ada Lovelace changed the role of Bob from ordinary user to administrator",
            ),
            (
                event("user.updated", ADA, 2, before={"active": True}, after={"active": False}),
                "Ada Lovelace deactivated Bob",
            ),
            (
                event("user.updated", ADA, 2, before={"active": False}, after={"active": True}),
                "Ada Lovelace activated Bob",
            ),
            (
                event("user.updated", "key:3", 2, before={}, after={"password": "changed"}),
                "The API key “CI” set a new password for Bob",
            ),
            (
                event(
                    "user.updated",
                    "command:seed_db",
                    2,
                    before={"email": "a@x", "active": True, "shoe": 1},
                    after={"email": "b@x", "active": False, "shoe": 2, "password": "changed"},
                ),
                "The command seed_db changed Bob: email from “a@x” to “b@x”; deactivated; shoe"
                " from “1” to “2”; a new password",
            ),
            (
                event("user.updated", ADA, 2, before={"shoe": 1}, after={"shoe": 2}),
                "Ada Lovelace changed Bob: shoe from “1” to “2”",
            ),
            (
                event("user.updated", ADA, 9, before={"email": "a@x"}, after={"email": "b@x"}),
                "Ada Lovelace changed the email of b@x from a@x to b@x",
            ),
            (
                event("user.updated", ADA, 9, before={"active": True}, after={"active": False}),
                "Ada Lovelace deactivated user 9 (removed)",
            ),
            (
                event("user.removed", "user:8", 3, before=STATE),
                "User 8 (removed) removed Carl, whose email was carl@example.com",
            ),
            (
                event(
                    "attributes.changed",
                    "key:3",
                    2,
                    before={"title": "Lady", "name": {"givenName": "Ada"}},
                    after={"title": "Countess", "department": "Engines"},
                ),
                "The API key “CI” set attributes of Bob by SCIM: title, name, department",
            ),
            (
                event("users.created", "command:seed_db", after={"count": 1000}),
                "The command seed_db added 1,000 users",
            ),
            (
                event("users.deactivated", after={"count": 1}),
                "Ada Lovelace deactivated 1 user who was missing from an imported file",
            ),
            (
                event("users.imported", after=MANY),
                "Ada Lovelace imported a file: 1,200 added, 3 changed, 0 unchanged, 1 failed",
            ),
            (
                event("group.created", ADA, after={"group": 3, "name": "Ops", "external_id": None}),
                "Ada Lovelace added the group “Ops”",
            ),
            (
                event("group.updated", before={"name": "A"}, after={"group": 3, "name": "B"}),
                "Ada Lovelace renamed the group “A” to “B”",
            ),
            (
                event("group.updated", before={"external_id": "x"}, after={"name": "B"}),
                "Ada Lovelace changed the group “B”",
            ),
            (
                event("group.removed", before={"group": 3, "name": "Ops", "external_id": None}),
                "Ada Lovelace removed the group “Ops”",
            ),
            (
                event("member.added", ADA, 2, after={"group": 3, "name": "Ops"}),
                "Ada Lovelace added Bob to the group “Ops”",
            ),
            (
                event("member.removed", "user:2", 9, before={"group": 3, "name": "Ops"}),
                "Bob removed user 9 (removed) from the group “Ops”",
            ),
            (
                event("members.added", after={"name": "Ops", "count": 1200, "first_ids": [1]}),
                "Ada Lovelace added 1,200 users to the group “Ops”",
            ),
            (
                event("members.removed", after={"name": "Ops", "count": 1200, "first_ids": [1]}),
                "Ada Lovelace removed 1,200 users from the group “Ops”",
            ),
            (event("session.started", BOB, 2), "Bob signed in"),
            (event("session.ended", BOB, 2), "Bob signed out"),
            (
                event("link.created", ADA, 2, after={"purpose": "invite", "by_mail": False}),
                "Ada Lovelace made a one-time link for Bob",
            ),
            (
                event("link.created", "anonymous", 2, after={"purpose": "reset", "by_mail": True}),
                "Somebody who was not signed in had a one-time link sent to Bob by mail",
            ),
            (
                event("link.used", BOB, 2, after={"purpose": "reset"}),
                "Bob chose a password at a one-time link",
            ),
            (
                event("setup.refused", "anonymous"),
                "A wrong code for creating the first administrator was entered",
            ),
            (event("session.failed", "anonymous", 2), "A sign-in as Bob failed"),
            (event("session.failed", "anonymous"), "A sign-in with an unknown email failed"),
            (event("password.refused", BOB, 2), "Bob entered a wrong current password"),
            (
                event("key.created", BOB, 2, after=key),
                "Bob made the API key “CI” (users:read, admin) for their own account",
            ),
            (
                event("key.stopped", "key:3", 2, after={"count": 50}),
                "The API key “CI” of Bob was stopped, since it had deactivated or removed 50 users"
                " within an hour",
            ),
            (
                event("key.allowed", ADA, 2, after={"id": 3, "name": "CI"}),
                "Ada Lovelace let the API key “CI” of Bob go on for an hour",
            ),
            (
                event("key.removed", ADA, 2, before=key),
                "Ada Lovelace revoked the API key “CI” (users:read, admin) of Bob",
            ),
            (
                event("key.resumed", ADA, 2, after=key),
                "Ada Lovelace resumed the API key “CI” (users:read, admin) of Bob",
            ),
            (event("key.used", "key:3", 2), "The API key “CI” of Bob was used"),
            (event("key.used", "key:4", 2), "The API key 4 (removed) of Bob was used"),
            (
                event("audit.pruned", service.PRUNER, after={"older_than": "2026-01-01T00:00:00Z"}),
                "The service removed all events from before Jan 1, 2026, 12:00\u202fAM UTC",
            ),
            (event("gone.done"), "Ada Lovelace did “gone.done”"),
        ]:
            with self.subTest(expected):
                self.assertEqual(words.describe(recorded, NAMES), expected)

    def test_on_a_page_users_are_links_and_all_else_is_escaped(self):
        def link(reference: str, name: str) -> Markup:
            return Markup('<a href="{}">{}</a>').format(reference, name)

        changed = event("user.updated", ADA, 2, before={"email": "<a>"}, after={"email": "&"})
        names = {ADA: "<Ada>"}

        sentence = words.describe(changed, names, link)

        self.assertEqual(
            sentence,
            '<a href="user:1">&lt;Ada&gt;</a> changed the email of &amp; from &lt;a&gt; to &amp;',
        )
        self.assertIsInstance(sentence, Markup)

    def test_names_are_found_by_one_query_for_each_kind(self):
        user = make_user(username="Ada")
        who = Principal(user.id, "Ada", "admin", frozenset({"admin"}))
        in_transaction(auth.create_key)(who, "CI", ["admin"], None)
        [key] = auth.list_keys()
        found = [
            event("key.used", f"key:{key.id}", user.id),
            event("key.used", "key:99", 99),
            event("user.removed", "command:x", 98),
            event("session.failed", "anonymous"),
        ]
        with recorded_commands() as commands:
            names = words.find_names(found)

        self.assertEqual(names, {f"user:{user.id}": "Ada", f"key:{key.id}": "CI"})
        self.assertEqual(len(commands), 2)
        self.assertEqual(words.find_names([]), {})

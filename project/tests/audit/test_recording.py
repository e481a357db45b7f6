"""What each write leaves in the trail, and what those leave that are refused."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from project import db
from project.api.audit import service as audit
from project.api.models import APIKey, User
from project.api.transfer import importing
from project.api.transfer.stream import Row
from project.api.users import service
from project.clock import utcnow
from project.commands import database, transfer
from project.database import in_transaction
from project.errors import Invalid, Unavailable
from project.tests.audit.base import PASSWORD, AuditTestCase
from project.tests.commands.base import CommandTestCase
from project.tests.factories import all_users, make_user
from project.tests.wire import recorded_commands

ADA = {"username": "Ada", "email": "ada@example.com"}
ADMIN = {"username": "admin", "email": "admin@example.com"}
CSV = {"data": "username,email\nEve,eve@example.com\n", "content_type": "text/csv"}
OTHER = "another fine and long one"
STATE = {**ADA, "active": False, "role": None}


class UserEventTests(AuditTestCase):
    """What is recorded of changes of users."""

    def test_event_says_who_did_what_to_whom_from_where(self):
        token = self.sign_in("admin", "admin")

        [event] = self.recorded(
            self.call,
            "POST",
            "/users",
            token,
            json=ADA,
            headers={"X-Request-ID": "r-1"},
            environ_base={"REMOTE_ADDR": "203.0.113.7"},
        )

        self.assertEqual((event.actor, event.action, event.user_id), ("user:1", "user.created", 2))
        self.assertEqual((event.request_id, event.address), ("r-1", "203.0.113.7"))
        self.assertEqual((event.before, event.after), (None, STATE))
        self.assertEqual(event.created_at, service.get_user(2).created_at)

    def test_only_changed_fields_are_recorded(self):
        user = make_user(**ADA)

        changes = {"username": "Ada", "email": "Ada@example.com", "active": True}
        [event] = self.recorded(self.client.patch, f"/users/{user.id}", json=changes)

        self.assertEqual((event.actor, event.action), ("anonymous", "user.updated"))
        self.assertEqual(event.user_id, user.id)
        self.assertEqual(event.before, {"email": "ada@example.com", "active": False})
        self.assertEqual(event.after, {"email": "Ada@example.com", "active": True})

    def test_removed_user_keeps_its_events(self):
        user = make_user(**ADA)

        [event] = self.recorded(self.client.delete, f"/users/{user.id}")

        self.assertEqual((event.action, event.user_id), ("user.removed", user.id))
        self.assertEqual((event.before, event.after), (STATE, None))

    def test_password_is_recorded_without_its_value(self):
        token = self.sign_in("admin", "admin")
        [created] = self.recorded(
            self.call, "POST", "/users", token, json={**ADA, "password": PASSWORD}
        )
        [changed] = self.recorded(
            self.call, "PATCH", "/users/2", token, json={"password": f"{PASSWORD}!"}
        )

        self.assertEqual(created.after, {**STATE, "password": "changed"})
        self.assertEqual((changed.before, changed.after), ({}, {"password": "changed"}))
        trail = str(self.events())
        for secret in (PASSWORD, "$argon2"):
            self.assertNotIn(secret, trail)

    def test_caller_is_known_also_where_nobody_must_sign_in(self):
        tokens = {self.sign_in("ada"): "user:1", "forged": "anonymous", None: "anonymous"}
        for number, (token, actor) in enumerate(tokens.items()):
            change = {"username": f"Ada {number}"}
            [event] = self.recorded(self.call, "PATCH", "/users/1", token, json=change)
            with self.subTest(token):
                self.assertEqual(event.actor, actor)

    def test_request_that_is_sent_again_leaves_one_event(self):
        for actions in [["user.created"], []]:
            events = self.recorded(
                self.client.post, "/users", json=ADA, headers={"Idempotency-Key": "one"}
            )

            self.assertEqual([event.action for event in events], actions)

    def test_address_that_is_none_is_cut(self):
        for address, kept in [("x" * 999, "x" * 45), ("", None)]:
            user = make_user()
            [event] = self.recorded(
                self.client.delete, f"/users/{user.id}", environ_base={"REMOTE_ADDR": address}
            )

            with self.subTest(address):
                self.assertEqual(event.address, kept)

    def test_what_is_undone_leaves_no_event(self):
        def add_and_fail() -> None:
            service.create_user("Ada", "ada@example.com")
            raise RuntimeError

        with self.assertRaises(RuntimeError):
            in_transaction(add_and_fail)()

        self.assertEqual(self.events(), [])

    def test_reads_write_nothing(self):
        user = make_user()
        self.client.get("/users")  # so that the connection is there
        with recorded_commands() as sent:
            for path in ["/users", f"/users/{user.id}", "/", "/users?q=a"]:
                self.client.get(path)

        self.assertEqual([sql for sql in sent if not sql.startswith("SELECT")], [])


class CommandEventTests(AuditTestCase, CommandTestCase):
    """What is recorded of commands."""

    def test_seeded_users_are_the_commands(self):
        events = self.recorded(self.printed, database.seed_db)

        self.assertEqual([event.action for event in events], ["user.created"] * 2)
        for event in events:
            self.assertEqual(event.actor, "command:seed_db")
            self.assertEqual((event.request_id, event.address), (None, None))

    def test_users_in_bulk_are_one_event_with_their_count(self):
        [event] = self.recorded(self.printed, database.seed_db, 7)

        self.assertEqual((event.actor, event.action), ("command:seed_db", "users.created"))
        self.assertEqual((event.user_id, event.before, event.after), (None, None, {"count": 7}))


class ImportEventTests(AuditTestCase, CommandTestCase):
    """An import is one event with its counts, however many transactions it takes."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(importing, "ROWS_PER_BATCH", 2))
        make_user(email="user2@example.com")
        self.counts = {"created": 4, "updated": 1, "skipped": 0, "failed": 1}

    def rows(self) -> str:
        """Return rows for several batches; one is of a user who is there, one is wrong."""
        lines = [f"User,user{number}@example.com" for number in range(5)]
        return "\n".join(["username,email", *lines, "Nobody,nowhere", ""])

    def send(self, data: str, status: int) -> None:
        """Import."""
        response = self.client.post("/users/import", data=data, content_type="text/csv")
        self.assertEqual(response.status_code, status)

    def test_import_is_one_event(self):
        [event] = self.recorded(self.send, self.rows(), 200)

        self.assertEqual((event.actor, event.action), ("anonymous", "users.imported"))
        self.assertEqual((event.user_id, event.before, event.after), (None, None, self.counts))

    def test_command_is_named(self):
        file = Path(self.enterContext(TemporaryDirectory()), "users.csv")
        file.write_text(self.rows())

        def run() -> None:
            with self.assertRaises(SystemExit):  # a row failed
                self.printed(transfer.import_users, str(file))

        [event] = self.recorded(run)

        self.assertEqual((event.actor, event.after), ("command:import_users", self.counts))

    def test_import_that_is_sent_again_changes_nothing_and_leaves_none(self):
        self.send(self.rows(), 200)

        self.assertEqual(self.recorded(self.send, self.rows(), 200), [])

    def test_import_that_ends_early_tells_what_it_saved(self):
        def rows() -> Iterator[Row]:
            for number in range(4):
                email = f"new{number}@example.com"
                yield Row(number, {"username": "New", "email": email})
            raise Invalid("The body is cut off.")

        def read_until_it_is_cut_off() -> None:
            with self.assertRaises(Invalid):
                list(importing.import_users(rows()))

        def stop_after_a_batch() -> None:
            db.session.query(User).delete()
            db.session.commit()
            self.unfinished = importing.import_users(rows())
            next(self.unfinished)

        for work, created in [(read_until_it_is_cut_off, 4), (stop_after_a_batch, 2)]:
            with self.subTest(work.__name__):
                [event] = self.recorded(work)

                counts = {"created": created, "updated": 0, "skipped": 0, "failed": 0}
                self.assertEqual((event.action, event.after), ("users.imported", counts))

    def test_database_that_goes_away_is_the_reported_error(self):
        def write(*_arguments: object) -> None:
            raise Unavailable

        with mock.patch.object(importing, "_write", write):
            self.assertEqual(self.recorded(self.send, self.rows(), 503), [])

    def test_batch_and_its_counts_are_both_saved_or_neither_is(self):
        update = audit.update_counts

        def fail_later(event_id: int, counts: dict[str, int]) -> None:
            update(event_id, counts)
            if counts["created"] == 4:
                raise Unavailable

        with mock.patch.object(audit, "update_counts", fail_later):
            [event] = self.recorded(self.send, self.rows(), 503)

        self.assertEqual(event.after["created"] + event.after["updated"], 4)
        self.assertEqual(len(all_users()), 1 + event.after["created"])

    def test_import_that_changes_something_late_counts_all_rows(self):
        rows = self.rows() + "User,user2@example.com\n"
        make_user(username="User", email="user0@example.com")
        make_user(username="User", email="user1@example.com")

        [event] = self.recorded(self.send, rows, 200)

        self.assertEqual(event.after, {"created": 2, "updated": 1, "skipped": 3, "failed": 1})


class EveryWriteTests(AuditTestCase):
    """Each write leaves one event, each refused one none."""

    # What is written, in this order; the second user is the one that is worked on.
    WRITES: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/users", {"json": ADA}),
        ("PATCH", "/users/2", {"json": {"active": True}}),
        ("PUT", "/users/2", {"json": {"username": "Bea", "email": "bea@example.com"}}),
        ("POST", "/groups", {"json": {"display_name": "Research"}}),
        ("PATCH", "/groups/1", {"json": {"display_name": "R&D"}}),
        ("POST", "/groups/1/members", {"json": {"ids": [2]}}),
        ("DELETE", "/groups/1/members", {"json": {"ids": [2]}}),
        ("DELETE", "/groups/1", {}),
        ("POST", "/group", {"data": {"display_name": "Research"}}),
        ("POST", "/group/2", {"data": {"display_name": "R&D", "version": "1"}}),
        ("POST", "/group/2/members", {"data": {"user_id": "2"}}),
        ("POST", "/group/2/members/remove", {"data": {"user_id": "2"}}),
        ("POST", "/group/2/remove", {"data": {"version": "4"}}),
        ("DELETE", "/users/2", {}),
        ("POST", "/", {"data": {"username": "Cid", "email": "cid@example.com"}}),
        (
            "POST",
            "/user/3",
            {"data": {"username": "Dag", "email": "dag@example.com", "version": "1"}},
        ),
        ("POST", "/remove/3", {"data": {"version": "2"}}),
        ("POST", "/users/import", CSV),
        ("POST", "/auth/register", {"json": {**ADA, "password": PASSWORD}}),
        ("POST", "/auth/login", {"json": {"email": ADA["email"], "password": PASSWORD}}),
        ("POST", "/auth/keys", {"json": {"name": "robot", "scopes": ["users:read"]}}),
        ("PATCH", "/auth/keys/1", {"json": {"suspended": False}}),
        ("DELETE", "/auth/keys/1", {}),
        ("POST", "/auth/password", {"json": {"current_password": PASSWORD, "password": OTHER}}),
        ("POST", "/auth/logout", {}),
        ("POST", "/sign-in", {"data": {"email": "admin@example.com", "password": OTHER}}),
        ("POST", "/auth/login", {"json": {"email": "admin@example.com", "password": OTHER}}),
        ("POST", "/account/sessions", {"data": {"session_id": ""}}),
        ("POST", "/user/5/sessions", {"data": {"session_id": ""}}),
        ("POST", "/account", {"data": {**ADMIN, "username": "Boss", "version": "3"}}),
        (
            "POST",
            "/account/password",
            {"data": {"current_password": OTHER, "password": PASSWORD, "again": PASSWORD}},
        ),
        ("POST", "/account/keys", {"data": {"name": "robot", "scopes": "admin"}}),
        ("POST", "/resume/2", {}),
        ("POST", "/revoke/2", {}),
        ("POST", "/sign-out", {}),
    ]
    # What these leave is in tests of their own; a file that waits leaves nothing.
    ELSEWHERE = [
        ("POST", "/bulk"),
        ("POST", "/import"),
        ("POST", "/import/x"),
        ("POST", "/import/x/undo"),
        ("POST", "/register"),
        ("POST", "/invite"),
        ("POST", "/user/1/link"),
        ("POST", "/welcome"),
        ("POST", "/forgot"),
        ("POST", "/setup"),
        ("POST", "/scim/v2/Users"),
        ("PUT", "/scim/v2/Users/1"),
        ("PATCH", "/scim/v2/Users/1"),
        ("DELETE", "/scim/v2/Users/1"),
        ("POST", "/scim/v2/Groups"),
        ("PUT", "/scim/v2/Groups/1"),
        ("PATCH", "/scim/v2/Groups/1"),
        ("DELETE", "/scim/v2/Groups/1"),
        ("POST", "/provisioning"),
    ]
    # The same calls again: what is there already, is gone or is as wanted.
    REFUSED: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/users", {"json": {**ADA, "email": "ADMIN@example.com"}}, 400),
        ("POST", "/users", {"json": {}}, 400),
        ("POST", "/users", {"json": ADA, "headers": {"Idempotency-Key": "\x7f"}}, 400),
        ("PATCH", "/users/1", {"json": {"email": "x"}}, 400),
        ("PATCH", "/users/1", {"json": {"username": "x"}, "headers": {"If-Match": '"99"'}}, 412),
        ("PATCH", "/users/1", {"json": {"role": None}}, 409),
        ("PATCH", "/users/99", {"json": {"username": "x"}}, 404),
        ("PUT", "/users/1", {"json": {"username": "x"}}, 400),
        ("PUT", "/users/99", {"json": ADA}, 404),
        ("DELETE", "/users/1", {}, 409),
        ("DELETE", "/users/99", {}, 404),
        ("POST", "/groups", {"json": {"display_name": ""}}, 400),
        ("PATCH", "/groups/99", {"json": {"display_name": "x"}}, 404),
        ("POST", "/groups/99/members", {"json": {"ids": [1]}}, 404),
        ("DELETE", "/groups/99/members", {"json": {"ids": [1]}}, 404),
        ("DELETE", "/groups/99", {}, 404),
        ("POST", "/users/import", {"data": "x,y\n1,2\n", "content_type": "text/csv"}, 400),
        ("POST", "/users/import", {"data": "x", "content_type": "image/png"}, 415),
        ("POST", "/", {"data": {"username": "", "email": "cid@example.com"}}, 400),
        ("POST", "/user/1", {"data": {"username": "x", "email": "x", "version": "1"}}, 400),
        ("POST", "/user/1", {"data": {**ADA, "version": "99"}}, 412),
        ("POST", "/remove/1", {"data": {"version": "99"}}, 412),
        ("POST", "/auth/register", {"json": {**ADMIN, "password": PASSWORD}}, 400),
        ("POST", "/auth/login", {"json": {"email": "admin@example.com"}}, 400),
        ("POST", "/auth/keys", {"json": {"name": "robot", "scopes": ["all"]}}, 400),
        ("PATCH", "/auth/keys/99", {"json": {"suspended": False}}, 404),
        ("PATCH", "/auth/keys/1", {"json": {"suspended": True}}, 400),
        ("DELETE", "/auth/keys/99", {}, 404),
        ("POST", "/auth/password", {"json": {"current_password": PASSWORD, "password": "x"}}, 400),
        ("POST", "/account", {"data": {**ADMIN, "version": "1"}}, 403),
        ("POST", "/sign-out", {}, 303),
    ]
    UNCHANGED: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", "/users/1", {"json": {}}),
        ("PATCH", "/users/1", {"json": {"username": "admin", "active": True}}),
        ("PUT", "/users/1", {"json": {"username": "admin", "email": "admin@example.com"}}),
        ("POST", "/users/import?dry_run=true", CSV),
        ("POST", "/users/import", {**CSV, "data": "username,email\nx,x\n"}),
    ]

    def setUp(self) -> None:
        super().setUp()
        self.token = self.sign_in("admin", "admin")
        for name in "xy":
            key = APIKey(user_id=1, name=name, prefix="x", key_hash=name, scopes=["users:read"])
            key.created_at, key.deactivations = utcnow(), 1
            db.session.add(key)
        db.session.commit()

    def test_table_holds_every_route_that_writes(self):
        adapter = self.app.url_map.bind("")
        writes = [*self.ELSEWHERE, *(each[:2] for each in self.WRITES)]
        known = {(adapter.match(path, method)[0], method) for method, path in writes}
        routes = {
            (rule.endpoint, method)
            for rule in self.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
            if "refuse " not in rule.endpoint
            and rule.endpoint not in {"users.edit_user", "save_preferences"}
        }

        self.assertEqual(known, routes)

    def test_each_write_leaves_one_event(self):
        for method, path, options in self.WRITES:
            with self.subTest(method, path=path):
                there = len(self.events())
                response = self.call(method, path, self.token, **options)

                self.assertIn(response.status_code, {200, 201, 303}, response.text)
                self.assertEqual(len(self.events()) - there, 1)

    def test_refused_write_leaves_none(self):
        for method, path, options, status in self.REFUSED:
            with self.subTest(method, path=path, **options):
                there = len(self.events())
                response = self.call(method, path, self.token, **options)

                self.assertEqual(response.status_code, status, response.text)
                self.assertEqual(len(self.events()), there)

    def test_write_that_changes_nothing_leaves_none(self):
        for method, path, options in self.UNCHANGED:
            with self.subTest(method, path=path, **options):
                there = len(self.events())

                self.assertEqual(self.call(method, path, self.token, **options).status_code, 200)
                self.assertEqual(len(self.events()), there)

    def test_those_who_may_not_write_leave_none(self):
        self.app.config["ACCESS"] = "protected"
        viewer = self.sign_in("viewer", "viewer")
        there = len(self.events())
        for method, path, options in self.WRITES:
            if path.startswith("/users"):
                for token, status in [(viewer, 403), (None, 403), ("forged", 401)]:
                    with self.subTest(method, path=path, token=token):
                        path = path.replace("/2", "/1")
                        response = self.call(method, path, token, **options)

                        self.assertEqual(response.status_code, status)
        self.assertEqual(len(self.events()), there)

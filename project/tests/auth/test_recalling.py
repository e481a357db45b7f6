"""Callers who were identified a moment ago: no query of their own, and nothing that is stale."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.auth import principals
from project.api.users import queries
from project.api.users import service as users
from project.clock import utcnow
from project.database import in_transaction
from project.database.statements import _with_condition
from project.tests.auth.test_views import PASSWORD, AuthTestCase
from project.tests.base import Protected, empty_tables
from project.tests.factories import make_user
from project.tests.plans import faults
from project.tests.wire import recorded_commands

AS_PERSON = {"Accept": "text/html"}


class RecallTestCase(AuthTestCase):
    """A viewer with a token, a key and a cookie, on two workers: two apps with one database."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.app.test_client()
        self.other = create_app(Protected).test_client()
        self.start()

    def start(self) -> None:
        """Bring the tables to what each case starts with."""
        db.session.remove()
        empty_tables()
        self.token = self.register()
        self.set_role("viewer")
        body = {"name": "robot", "scopes": ["users:read"]}
        self.key = self.call("POST", "/auth/keys", self.token, json=body).json["data"]["key"]
        self.worker.post("/sign-in", data={"email": "ada@example.com", "password": PASSWORD})
        make_user(username="Bob", email="bob@example.com")
        db.session.remove()

    def ways(self) -> dict[str, Callable[[str], Any]]:
        """Return what sends a GET, by the kind of credentials."""

        def bearer(secret: str) -> Callable[[str], Any]:
            headers = {"Authorization": f"Bearer {secret}"}
            return lambda path: self.worker.get(path, headers=headers)

        return {
            "token": bearer(self.token),
            "key": bearer(self.key),
            "cookie": lambda _path: self.worker.get("/", headers=AS_PERSON),
        }

    def reads(self, get: Callable[[str], Any], path: str, status: int = 200) -> int:
        """Return how many commands a GET sends to the database."""
        with recorded_commands() as commands:
            self.assertEqual(get(path).status_code, status)
        return len(commands)


class CostTests(RecallTestCase):
    """How many commands the database gets."""

    def test_caller_who_was_identified_costs_no_command(self):
        for name, get in self.ways().items():
            for path in ["/users/2", "/users", "/users?email=bob@example.com", "/users?ids=1,2"]:
                with self.subTest(name, path=path):
                    get(path)

                    self.assertEqual(self.reads(get, path), 1)

    def test_first_request_and_the_first_after_a_minute_ask(self):
        get = self.ways()["token"]
        self.app.extensions[principals._RECALLED].clear()
        self.assertEqual(self.reads(get, "/users/2"), 2)
        self.assertEqual(self.reads(get, "/users/2"), 1)
        later = monotonic() + principals.RECALL_SECONDS
        with mock.patch.object(principals, "monotonic", lambda: later):
            self.assertEqual(self.reads(get, "/users/2"), 2)

    def test_answer_without_rows_or_before_any_read_asks(self):
        get = self.ways()["token"]
        get("/users/2")

        self.assertEqual(self.reads(get, "/users/999", 404), 2)
        self.assertEqual(self.reads(get, "/users?email=nobody@example.com"), 2)
        self.assertEqual(self.reads(get, "/users?limit=x", 400), 1)

    def test_unsuitable_select_asks_first(self):
        get = self.ways()["token"]
        get("/users/2")

        with recorded_commands() as commands:
            get("/users?q=bob&limit=1")

        self.assertIn("JOIN sessions", commands[0])
        self.assertFalse(any("AS caller" in command for command in commands))

    def test_number_of_recalled_callers_is_bounded(self):
        with mock.patch.object(principals, "MOST_RECALLED", 2):
            for get in [*self.ways().values()] * 2:
                get("/users/2")
                self.assertLessEqual(len(self.app.extensions[principals._RECALLED]), 2)

    def test_select_with_the_condition_reads_as_little(self):
        now = utcnow()
        values = {"caller_version": 1, "caller_role": "viewer", "caller_now": now}
        values |= {"caller_session": "x", "caller_key": "x", "user_id": 1, "limit": 20}
        values |= {"key": 5, "key_id": 5}
        selects = [queries.by_id(), queries.page(queries.COMPLETE, "-id", (), True)]
        for condition in (principals._HAS_SESSION, principals._HAS_KEY):
            for select in selects:
                with self.subTest(str(select)[:40]):
                    statement = _with_condition(select, condition)
                    used = {
                        name: values[name] for name in statement.compile().params if name in values
                    }

                    self.assertEqual(faults(statement, used), [])


class EndTests(RecallTestCase):
    """What one worker ends, the other refuses with its next request."""

    def ends(self) -> dict[str, tuple[Callable[[], Any], dict[str, int]]]:
        """Return by name what ends something, and the statuses then of those it ends."""
        on_other = {"token": self.token}

        def sent(method: str, path: str, **options: Any) -> Callable[[], Any]:
            headers = {"Authorization": f"Bearer {on_other['token']}"}
            return lambda: self.other.open(path, method=method, headers=headers, **options)

        def change(**values: Any) -> Callable[[], Any]:
            return lambda: in_transaction(users.update_user)(1, values)

        gone = {"token": 401, "key": 401, "cookie": 303}
        return {
            "signing out": (sent("POST", "/auth/logout"), {"token": 401}),
            "revoking the key": (sent("DELETE", "/auth/keys/1"), {"key": 401}),
            "deactivation": (change(active=False), gone),
            "losing the role": (change(role=None), {"token": 403, "key": 403, "cookie": 403}),
            "another password": (
                change(password="walls of paper lean on amber rain"),
                {"token": 401, "cookie": 303},
            ),
            "removal": (lambda: in_transaction(users.delete_user)(1), gone),
        }

    def test_what_ended_elsewhere_is_refused_at_once(self):
        paths = ["/users/2", "/users", "/users/999", "/users?limit=x", "/users?q=bob"]
        for end in self.ends():
            self.start()
            ways, (work, statuses) = self.ways(), self.ends()[end]
            before = {
                (name, path): get(path).status_code for name, get in ways.items() for path in paths
            }
            recalled = dict(self.app.extensions[principals._RECALLED])

            work()
            db.session.remove()

            for name, path in before:
                with self.subTest(end, by=name, path=path):
                    self.app.extensions[principals._RECALLED].update(recalled)

                    answer = ways[name](path)

                    expected = statuses.get(name, before[name, path])
                    self.assertEqual(answer.status_code, expected)

    def test_right_that_came_elsewhere_is_there_at_once(self):
        self.set_role(None)
        get = self.ways()["token"]
        self.assertEqual(get("/users/1").status_code, 200)  # one's own
        self.assertEqual(get("/users/2").status_code, 403)

        in_transaction(users.update_user)(1, {"role": "viewer"})
        db.session.remove()

        self.assertEqual(get("/users/2").status_code, 200)

    def test_expiry_counts_to_the_second(self):
        for name, get in self.ways().items():
            with self.subTest(name):
                self.assertEqual(get("/users/2").status_code, 200)
        late = utcnow() + timedelta(days=400)

        with mock.patch.object(principals, "utcnow", lambda: late):
            statuses = {name: get("/users/2").status_code for name, get in self.ways().items()}

        self.assertEqual(statuses, {"token": 401, "key": 200, "cookie": 303})

    def test_deactivated_and_activated_again_is_not_recalled(self):
        get = self.ways()["key"]
        get("/users/2")

        in_transaction(users.update_user)(1, {"active": False})
        in_transaction(users.update_user)(1, {"active": True})
        db.session.remove()

        self.assertEqual(get("/users/2").status_code, 401)
        self.assertEqual(get("/users/999").status_code, 401)

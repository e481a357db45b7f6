"""One answer for each key, over the wire; e2e/test_faults.py kills the workers meanwhile."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread
from time import monotonic, sleep
from typing import Any
from unittest import mock
from uuid import uuid4

from flask import Flask, Response
from sqlalchemy import func, select

from project import db
from project.api.users import service
from project.clock import utcnow
from project.database import engines, in_transaction
from project.database.connections import ThreadSession
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user
from project.web import idempotency
from project.web.idempotency import IdempotencyKey

ADA = {"username": "Ada", "email": "ada@example.com"}


class IdempotencyKeyTests(BaseTestCase):
    """POST /users with an Idempotency-Key."""

    def create_app(self) -> Flask:
        """Set the lock timeout to one second, MySQL's minimum."""
        with mock.patch.object(engines, "LOCK_SECONDS", 1):
            return super().create_app()

    def post(self, key: str, body: Any = ADA, **options: Any) -> Any:
        """Send a POST with this key."""
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return self.client.post("/users", headers=headers, **sent, **options)

    def emails(self) -> list[str]:
        """Return the emails of all users."""
        return [row.email for row in all_users()]

    def stored(self) -> int:
        """Return the number of stored keys."""
        with db.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(IdempotencyKey)) or 0

    def test_second_request_gets_the_first_answer(self):
        first = self.post("k")

        again = self.post("k")

        self.assertEqual(first.status_code, 201)
        self.assertEqual(again.status_code, 201)
        self.assertEqual(again.data, first.data)
        for name in ["Location", "ETag", "Content-Type"]:
            self.assertEqual(again.headers[name], first.headers[name])
        self.assertEqual(self.emails(), ["ada@example.com"])

    def test_answer_is_the_first_even_when_the_user_is_gone(self):
        first = self.post("k")
        self.client.delete(first.headers["Location"])

        again = self.post("k")

        self.assertEqual((again.status_code, again.data), (201, first.data))
        self.assertEqual(self.emails(), [])

    def test_refusal_is_stored(self):
        taken = make_user(email="ada@example.com")
        first = self.post("k")
        self.client.delete(f"/users/{taken.id}")

        again = self.post("k")

        self.assertEqual(first.json["message"], "Sorry. That email already exists.")
        self.assertEqual((again.status_code, again.data), (400, first.data))
        self.assertEqual(self.emails(), [])

    def test_invalid_body_is_refused_alike_each_time(self):
        for number, body in enumerate([{"username": "Ada"}, b"{", b"\xff", b"[]"]):
            with self.subTest(body):
                first, again = (self.post(f"k{number}", body) for _ in range(2))

                self.assertEqual((first.status_code, first.data), (400, again.data))
        self.assertEqual(self.stored(), 4)

    def test_key_of_another_body_is_unprocessable_and_changes_nothing(self):
        self.post("k")

        for body in [{**ADA, "email": "b@example.com"}, {**ADA, "x": 1}, b"{"]:
            with self.subTest(body):
                response = self.post("k", body)

                self.assertEqual(response.status_code, 422)
                self.assertEqual(response.json["status"], "fail")
                self.assertEqual(response.json["errors"][0]["field"], "Idempotency-Key")
        self.assertEqual(self.emails(), ["ada@example.com"])
        self.assertEqual(self.post("k").status_code, 201)

    def test_stored_hash_of_a_request_includes_the_secret_key(self):
        body = b'{"username": "Ada", "email": "ada@example.com"}'
        self.post("k", body)

        with db.engine.connect() as connection:
            stored = connection.scalar(select(IdempotencyKey.request_hash))
        asked = b"POST /users\n" + body
        self.assertEqual(stored, hmac.digest(b"secret", asked, "sha256").hex())

    def test_secret_key_can_be_rotated(self):
        first = self.post("k")

        self.app.config.update(SECRET_KEY="n" * 32, SECRET_KEY_FALLBACKS=["other", "secret"])
        self.assertEqual(self.post("k").data, first.data)
        self.assertEqual(self.post("k", {**ADA, "x": 1}).status_code, 422)

        self.app.config["SECRET_KEY_FALLBACKS"] = None
        self.assertEqual(self.post("k").status_code, 422)

    def test_other_key_is_another_request(self):
        self.post("k")

        for key in ["K", "k2", "k ."]:
            with self.subTest(key):
                self.assertEqual(self.post(key).status_code, 400)

    def test_key_may_be_quoted(self):
        first = self.post("the key")

        self.assertEqual(self.post('"the key"').data, first.data)
        self.assertEqual(self.post(r'"a\"b\\"').status_code, 400)
        self.assertEqual(self.post(r'"a\"b\\"').json["message"], self.post("k").json["message"])
        # Space at the end is part of a quoted key, on every database.
        self.assertEqual(self.post('"the key "').status_code, 400)

    def test_longest_key_is_taken(self):
        self.assertEqual(self.post("k" * 255).status_code, 201)
        self.assertEqual(self.post("k" * 255).status_code, 201)

    def test_wrong_key_is_refused_by_name(self):
        for key in ["", " ", '""', "k" * 256, f'"{"k" * 256}"', "k\xe9", "a\tb", '"a', '"a"b"',
                    '"a\\b"', '"a";x=1']:  # fmt: skip
            with self.subTest(key):
                response = self.post(key)

                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json["message"], "Invalid header: Idempotency-Key.")
                self.assertEqual(response.json["errors"][0]["field"], "Idempotency-Key")
        self.assertEqual(self.emails(), [])
        self.assertEqual(self.stored(), 0)

    def test_body_too_large_is_not_stored(self):
        with mock.patch.dict(self.app.config, MAX_CONTENT_LENGTH=10):
            self.assertEqual(self.post("k").status_code, 413)

        self.assertEqual(self.stored(), 0)
        self.assertEqual(self.post("k").status_code, 201)

    def test_server_error_is_not_stored(self):
        with mock.patch.object(service, "create_user", side_effect=RuntimeError):
            self.assertEqual(self.post("k").status_code, 500)

        self.assertEqual(self.stored(), 0)
        self.assertEqual(self.post("k").status_code, 201)

    def test_without_a_key_nothing_is_stored(self):
        self.assertEqual(self.client.post("/users", json=ADA).status_code, 201)

        self.assertEqual(self.stored(), 0)

    def test_second_request_waits_for_the_first(self):
        in_work, answers = [], []
        create_user = service.create_user

        def create_slowly(*arguments: str, **options: Any) -> Any:
            user = create_user(*arguments, **options)
            in_work.append(Thread(target=send))
            in_work[0].start()
            in_work[0].join(0.3)
            return user

        def send() -> None:
            headers = {"Idempotency-Key": "k"}
            answers.append(self.app.test_client().post("/users", json=ADA, headers=headers))

        with mock.patch.object(service, "create_user", create_slowly):
            first = self.post("k")
            in_work[0].join()

        self.assertEqual(len(in_work), 1)
        self.assertEqual((first.status_code, answers[0].status_code), (201, 201))
        self.assertEqual(answers[0].data, first.data)

    def test_refused_request_gets_the_answer_of_another_with_its_key(self):
        path = f"/users/{make_user(email='ada@example.com').id}"
        handle = self.app.handle_user_exception
        others: list[Any] = []

        def handle_late(error: Exception) -> Any:
            # The refusal is undone, and is not stored yet.
            client = self.app.test_client()
            self.elsewhere(lambda: client.delete(path))
            others.append(self.post_elsewhere("k"))
            return handle(error)

        with mock.patch.object(self.app, "handle_user_exception", handle_late):
            response = self.post("k")

        self.assertEqual((response.status_code, response.data), (201, others[0].data))
        self.assertEqual(idempotency._running, set())
        self.assertEqual(self.emails(), ["ada@example.com"])

    def test_work_may_hold_savepoints(self):
        def answer() -> Response:
            with db.session.begin_nested():
                service.create_user("Ada", "ada@example.com")
            return Response("added")

        answers = [idempotency.answer_once("k", b"", answer) for _ in range(2)]

        self.assertEqual([each.get_data() for each in answers], [b"added", b"added"])
        self.assertEqual(self.emails(), ["ada@example.com"])

    def test_work_that_meets_a_deadlock_is_done_again_with_its_key(self):
        errors = [driver_error(1213, "Deadlock found")]
        create_user = service.create_user

        def create(*arguments: str, **options: Any) -> Any:
            user = create_user(*arguments, **options)
            if errors:
                raise errors.pop()
            return user

        with mock.patch.object(service, "create_user", create):
            first = self.post("k")

        self.assertEqual((first.status_code, self.stored()), (201, 1))
        self.assertEqual(self.post("k").data, first.data)
        self.assertEqual(self.emails(), ["ada@example.com"])

    def lose_connections(self, *are_saved: bool) -> Any:
        """Lose the connection during the first commits, which have saved their work or have not."""
        commit, left = ThreadSession.commit, list(are_saved)

        def lose(session: ThreadSession) -> None:
            if not left:
                commit(session)
                return
            if left.pop(0):
                commit(session)
            raise driver_error(2013, "Lost connection", lost=True)

        return mock.patch.object(ThreadSession, "commit", lose)

    def test_work_whose_outcome_is_unknown_is_done_again_unless_it_was_saved(self):
        for key, is_saved in [("k", False), ("l", True)]:
            with self.subTest(is_saved=is_saved):
                with self.lose_connections(is_saved):
                    first = self.post(key, {"username": key, "email": f"{key}@example.com"})

                self.assertEqual(first.status_code, 201)
        self.assertEqual(self.emails(), ["k@example.com", "l@example.com"])

    def test_work_whose_outcome_is_unknown_twice_is_answered_so(self):
        with self.lose_connections(False, False):
            first = self.post("k")

        self.assertEqual((first.status_code, self.emails()), (503, []))
        self.assertEqual(self.post("k").status_code, 201)

    def test_second_request_gives_up_when_the_first_takes_too_long(self):
        claim = idempotency.claim_of(" k", b"")
        db.session.add(claim)
        db.session.flush()

        with mock.patch.object(idempotency, "_running", {claim.key_hash}):
            response = self.post_elsewhere("k")
        db.session.rollback()

        self.assertEqual(response.status_code, 409)
        self.assertEqual(response.json["errors"][0]["field"], "Idempotency-Key")
        self.assertEqual(self.emails(), [])
        self.assertEqual(self.post("k").status_code, 201)

    def post_elsewhere(self, key: str) -> Any:
        """Return the answer to a request in a thread of its own."""
        headers, client = {"Idempotency-Key": key}, self.app.test_client()
        return self.elsewhere(lambda: client.post("/users", json=ADA, headers=headers))

    def elsewhere(self, send: Callable[[], Any]) -> Any:
        """Return what this returns in a thread of its own."""
        responses: list[Any] = []
        thread = Thread(target=lambda: responses.append(send()))
        thread.start()
        thread.join()
        return responses[0]

    def test_key_is_not_to_blame_for_another_writer(self):
        # New ones: InnoDB locks more around a key that was there before and is not purged yet.
        key, other = uuid4().hex, uuid4().hex
        db.session.add(idempotency.claim_of(f" {other}", b""))
        db.session.flush()

        response = self.post_elsewhere(key)
        db.session.rollback()

        # SQLite has one lock for all writers, the others lock rows.
        waited = db.engine.dialect.name == "sqlite"
        expected = (503, "2") if waited else (201, None)
        self.assertEqual((response.status_code, response.headers.get("Retry-After")), expected)
        self.assertEqual(self.post(key).status_code, 201)

    def test_key_is_running_while_its_work_is_done(self):
        running: list[int] = []
        create_user = service.create_user

        def create(*arguments: str, **options: Any) -> Any:
            user = create_user(*arguments, **options)
            running.append(len(idempotency._running))
            return user

        with mock.patch.object(service, "create_user", create):
            self.post("k")

        self.assertEqual(running, [1])
        self.assertEqual(idempotency._running, set())

    def test_key_is_forgotten_after_a_day(self):
        first = self.post("k")
        self.client.delete(first.headers["Location"])

        with self.at(utcnow() + timedelta(hours=24, seconds=1)):
            again = self.post("k")
            self.assertEqual(again.status_code, 201)
            self.assertNotEqual(again.headers["Location"], first.headers["Location"])
            self.assertEqual(self.post("k").data, again.data)

        self.assertEqual(self.stored(), 1)

    def at(self, now: datetime) -> Any:
        """Let it be this time for the keys."""
        return mock.patch.object(idempotency, "utcnow", lambda: now)

    def test_expired_keys_are_removed_oldest_first(self):
        self.post("old")
        with self.at(utcnow() + timedelta(hours=1)):
            self.post("younger")
            self.post("youngest")

        with self.at(utcnow() + timedelta(hours=24, seconds=1)):
            self.assertEqual(in_transaction(idempotency.remove_expired)(9), 1)
        with self.at(utcnow() + timedelta(hours=26)):
            self.assertEqual(in_transaction(idempotency.remove_expired)(1), 1)
            self.assertEqual(self.stored(), 1)
            self.assertEqual(in_transaction(idempotency.remove_expired)(9), 1)
            self.assertEqual(in_transaction(idempotency.remove_expired)(9), 0)

    def test_keys_that_somebody_is_removing_are_passed_over(self):
        self.post("k")
        with self.at(utcnow() + timedelta(hours=25)):
            if db.engine.dialect.name == "sqlite":  # has one lock for all
                return
            idempotency.remove_expired(9)
            removed: list[int] = []
            thread = Thread(target=self.remove_elsewhere, args=(removed,))
            thread.start()
            thread.join()
            db.session.commit()

        self.assertEqual(removed, [0])

    def remove_elsewhere(self, removed: list[int]) -> None:
        """Remove what has expired, in a thread of its own."""
        with self.app.app_context():
            removed.append(in_transaction(idempotency.remove_expired)(9))


class ConcurrentKeysTests(BaseTestCase):
    """Requests with keys that wait for one another."""

    def test_one_email_under_several_keys_is_added_once(self):
        # The others wait for it, and InnoDB lets some of them meet in a deadlock when it is gone.
        service.create_user(**ADA)
        statuses: list[int] = []

        def post(key: str) -> None:
            headers = {"Idempotency-Key": key}
            answer = self.app.test_client().post("/users", json=ADA, headers=headers)
            statuses.append(answer.status_code)

        threads = [Thread(target=post, args=[key]) for key in "abc"]
        for thread in threads:
            thread.start()
        end = monotonic() + 1
        while len(idempotency._running) < len(threads) and monotonic() < end:
            sleep(0.01)
        sleep(0.1)
        db.session.rollback()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(statuses), [201, 400, 400])

"""Those who guess passwords have to wait, and nobody else."""

from datetime import datetime, timedelta
from threading import Barrier, BoundedSemaphore, Thread
from typing import Any
from unittest import mock

from project import db
from project.api.auth import throttle
from project.api.auth.throttle import ACCOUNT_FAILURES, ADDRESS, PAIR
from project.api.models import SignInAttempts
from project.api.users import passwords
from project.clock import utcnow
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.wire import recorded_commands

HOME, AWAY = "192.0.2.1", "198.51.100.7"


class ThrottleTests(AuthTestCase):
    """Signing in, at a time and from an address."""

    def setUp(self) -> None:
        super().setUp()
        self.now = utcnow()
        self.enterContext(mock.patch.object(throttle, "utcnow", lambda: self.now))
        self.register()

    def attempt(
        self, password: str = "wrong", address: str = HOME, email: str = ADA["email"]
    ) -> Any:
        """Try to sign in."""
        return self.client.post(
            "/auth/login",
            json={"email": email, "password": password},
            environ_base={"REMOTE_ADDR": address},
        )

    def statuses(self, count: int, **options: Any) -> list[int]:
        """Return the statuses of so many attempts."""
        return [self.attempt(**options).status_code for _ in range(count)]

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def test_wait_doubles_with_each_failure_and_has_an_end(self):
        self.assertEqual(self.statuses(PAIR.free), [401] * PAIR.free)
        waits = []
        for _ in range(12):
            response = self.attempt()
            self.assertEqual(response.status_code, 429)
            waits.append(int(response.headers["Retry-After"]))
            self.wait(waits[-1] - 1)
            self.assertEqual(self.attempt(PASSWORD).status_code, 429)
            self.wait(1)
            self.assertEqual(self.attempt().status_code, 401)

        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])

    def test_answer_is_in_the_envelope(self):
        self.statuses(PAIR.free)

        response = self.attempt()

        self.assertEqual(response.json["status"], "fail")
        self.assertEqual(response.json["message"], "Too many attempts to sign in. Try again later.")

    def test_page_says_so_too(self):
        self.statuses(PAIR.free, address="127.0.0.1")

        response = self.client.post("/sign-in", data={"email": ADA["email"], "password": PASSWORD})

        self.assertEqual(response.status_code, 429)
        self.assertIn("Too many attempts to sign in.", response.text)
        self.assertEqual(response.headers["Retry-After"], "1")

    def test_guessing_the_current_password_counts_as_signing_in_does(self):
        token = self.log_in().json["auth_token"]
        new = "another fine and long one"
        wrong = {"current_password": "wrong", "password": new}
        right = {"current_password": PASSWORD, "password": new}
        for _ in range(PAIR.free):
            answer = self.call("POST", "/auth/password", token, json=wrong)
            self.assertEqual(answer.status_code, 400)

        refused = self.call("POST", "/auth/password", token, json=right)

        self.assertEqual(refused.status_code, 429)
        self.assertEqual(refused.headers["Retry-After"], "1")
        self.assertEqual(self.log_in().status_code, 429)
        self.wait(1)
        self.assertEqual(self.call("POST", "/auth/password", token, json=right).status_code, 200)
        self.assertEqual(self.log_in(password=new).status_code, 200)

    def test_refused_new_password_is_no_guess(self):
        token = self.log_in().json["auth_token"]
        for _ in range(PAIR.free + 1):
            body = {"current_password": PASSWORD, "password": "too short"}
            answer = self.call("POST", "/auth/password", token, json=body)

            self.assertEqual(answer.status_code, 400)

    def test_page_for_the_password_says_so_too(self):
        self.client.post("/sign-in", data={"email": ADA["email"], "password": PASSWORD})
        form = {"current_password": "wrong", "password": "another fine and long one"}
        for _ in range(PAIR.free):
            self.client.post("/account/password", data=form)

        response = self.client.post(
            "/account/password", data={**form, "current_password": PASSWORD}
        )

        self.assertEqual(response.status_code, 429)
        self.assertIn("Too many attempts to sign in.", response.text)
        self.assertEqual(response.headers["Retry-After"], "1")
        self.wait(1)
        self.assertEqual(self.log_in().status_code, 200)

    def test_owner_elsewhere_and_other_accounts_are_not_held_up(self):
        self.register(email="bob@example.com")
        self.statuses(PAIR.free + 1)

        self.assertEqual(self.attempt(PASSWORD, AWAY).status_code, 200)
        self.assertEqual(self.attempt(PASSWORD, email="bob@example.com").status_code, 200)
        self.assertEqual(self.attempt(PASSWORD).status_code, 429)

    def test_success_forgives(self):
        self.statuses(PAIR.free - 1)

        self.assertEqual(self.attempt(PASSWORD).status_code, 200)

        self.assertEqual(self.statuses(PAIR.free), [401] * PAIR.free)

    def test_failures_are_forgotten_after_a_day(self):
        self.statuses(PAIR.free + 1)
        self.wait(24 * 3600)

        self.assertEqual(self.statuses(PAIR.free), [401] * PAIR.free)

    def test_guessing_from_many_addresses_is_slowed(self):
        addresses = [f"203.0.113.{number}" for number in range(ACCOUNT_FAILURES)]
        for address in addresses:
            self.assertEqual(self.attempt(address=address).status_code, 401)

        self.assertEqual(self.attempt(address=addresses[0]).status_code, 429)
        self.assertEqual(self.statuses(2, address=AWAY), [401, 429])
        self.wait(1)
        self.assertEqual(self.statuses(2, address=AWAY), [401, 429])
        self.assertEqual(self.attempt(address=AWAY).headers["Retry-After"], "2")

    def test_owner_gets_in_at_once_while_many_addresses_go_on_knocking(self):
        addresses = [f"203.0.113.{number}" for number in range(120)]
        looks = 0
        for _second in range(4):
            for address in addresses:
                looks += self.attempt(address=address).status_code == 401
            self.wait(1)
        for address in addresses:
            self.attempt(address=address)

        self.assertEqual(self.attempt(PASSWORD, address=AWAY).status_code, 200)
        self.assertLess(looks, 4 * len(addresses))

    def test_owner_is_not_held_up_where_they_have_signed_in_before(self):
        self.assertEqual(self.attempt(PASSWORD).status_code, 200)
        for number in range(ACCOUNT_FAILURES):
            self.attempt(address=f"203.0.113.{number}")

        self.assertEqual(self.statuses(PAIR.free - 1), [401] * (PAIR.free - 1))
        self.assertEqual(self.attempt(PASSWORD).status_code, 200)

    def test_network_of_ipv6_is_one_address(self):
        for number in range(PAIR.free):
            self.attempt(address=f"2001:db8:0:1::{number}")

        for address in ["2001:db8:0:1:ffff::1", "2001:DB8:0:1:0:0:0:9"]:
            self.assertEqual(self.attempt(PASSWORD, address=address).status_code, 429)
        self.assertEqual(self.attempt(PASSWORD, address="2001:db8:0:2::1").status_code, 200)

    def test_address_of_ipv4_is_the_same_written_as_ipv6(self):
        self.statuses(PAIR.free, address=f"::ffff:{HOME}")

        self.assertEqual(self.attempt(PASSWORD).status_code, 429)
        self.assertEqual(self.attempt(PASSWORD, f"::ffff:{AWAY}").status_code, 200)

    def test_guessing_at_many_accounts_is_slowed(self):
        for number in range(ADDRESS.free):
            self.attempt(email=f"user{number}@example.com")

        self.assertEqual(self.attempt(email="another@example.com").status_code, 429)
        self.assertEqual(self.attempt(email="another@example.com", address=AWAY).status_code, 401)

    def test_spelling_of_the_mailbox_is_no_way_round(self):
        emails = [ADA["email"], ADA["email"].upper()]
        for number in range(PAIR.free):
            self.attempt(email=emails[number % 2])

        for email in emails:
            self.assertEqual(self.attempt(email=email).status_code, 429)
        for spaces in [" ", "  "]:
            with self.subTest(spaces), recorded_commands() as commands:
                response = self.attempt(PASSWORD, email=ADA["email"] + spaces)

                self.assertEqual(response.status_code, 401)
                self.assertEqual([each for each in commands if "FROM users" in each], [])

    def test_none_slips_past_beside_the_others(self):
        self.enterContext(mock.patch.object(passwords, "_places", BoundedSemaphore(20)))
        barrier = Barrier(20)
        statuses = []

        def guess() -> None:
            client = self.app.test_client()
            barrier.wait()
            response = client.post("/auth/login", json={"email": ADA["email"], "password": "x"})
            statuses.append(response.status_code)

        threads = [Thread(target=guess) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(statuses), [401] * PAIR.free + [429] * (20 - PAIR.free))

    def test_old_rows_are_removed(self):
        old = datetime(2026, 1, 1)
        rows = [
            SignInAttempts(subject_hash=f"old{number}", failures=9, attempted_at=old)
            for number in range(15)
        ]
        db.session.add_all(rows)
        db.session.commit()

        self.attempt()
        self.attempt()

        found = db.session.query(SignInAttempts)
        self.assertEqual(found.filter(SignInAttempts.attempted_at == old).count(), 0)

"""Clients that guess passwords have to wait, and no others."""

from datetime import timedelta
from threading import Barrier, BoundedSemaphore, Thread
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import throttle
from project.api.auth.throttle import ACCOUNT_FAILURES, ADDRESS, PAIR, TAKEN, TooManyTakenEmails
from project.api.models import SignInAttempts
from project.api.users import passwords
from project.clock import utcnow
from project.database import in_transaction
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.base import Protected
from project.tests.factories import all_users, make_user
from project.tests.wire import recorded_commands
from project.web import pruning

HOME, AWAY = "192.0.2.1", "198.51.100.7"
ROWS_A_DAY = 320  # docs/decisions/access.md


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

    def test_owner_signs_in_at_once_while_many_addresses_attack(self):
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

    def rows(self) -> int:
        """Return how many rows the counts take."""
        count = db.session.query(SignInAttempts).count()
        db.session.rollback()
        return count

    def test_refused_attempt_writes_nothing(self):
        for number in range(260):
            with recorded_commands() as commands:
                status = self.attempt(email=f"user{number}@example.com").status_code

            self.assertEqual(status, 401 if number < ADDRESS.free else 429)
            if status == 429:
                self.assertEqual({each.split()[0] for each in commands}, {"SELECT"})
        self.assertEqual(self.rows(), 1 + 2 * ADDRESS.free)
        self.assertEqual(len(audit.list_events(9999)), 1 + ADDRESS.free)  # one for the account

    def test_attempts_that_are_refused_beside_others_write_nothing(self):
        self.enterContext(mock.patch.object(passwords, "_places", BoundedSemaphore(20)))
        for number in range(ADDRESS.free - 1):
            self.attempt(email=f"user{number}@example.com", address="127.0.0.1")
        there, barrier = self.rows(), Barrier(8)
        # As if all had looked at the same moment.
        self.enterContext(mock.patch.object(throttle, "check"))
        statuses = []

        def guess(number: int) -> None:
            client = self.app.test_client()
            barrier.wait()
            body = {"email": f"new{number}@example.com", "password": "x"}
            statuses.append(client.post("/auth/login", json=body).status_code)

        threads = [Thread(target=guess, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(statuses), [401] + [429] * 7)
        self.assertEqual(self.rows(), there + 2)

    def test_rows_of_one_address_in_a_day_have_a_bound(self):
        end, looks = self.now + timedelta(hours=24), 0
        while self.now < end:
            response = self.attempt(email=f"user{looks}@example.com")
            if response.status_code == 429:
                self.wait(int(response.headers["Retry-After"]))
            looks += response.status_code == 401

        self.assertLess(looks, ROWS_A_DAY / 2)
        self.assertLessEqual(self.rows(), ROWS_A_DAY)

    def test_rows_are_removed_when_they_say_nothing_any_more(self):
        for number in range(12):
            self.attempt(email=f"user{number}@example.com")
        self.attempt(PASSWORD)
        self.wait(24 * 3600)
        self.assertEqual(self.rows(), 1 + 2 * 13)

        self.attempt(address=AWAY)
        self.prune()

        # What is left: the account, where its owner has signed in, and what the last one wrote.
        self.assertEqual(self.rows(), 1 + 1 + 2)
        self.wait(28 * 24 * 3600)
        self.prune()
        self.assertEqual(self.rows(), 1)
        self.wait(24 * 3600)
        self.prune()
        self.assertEqual(self.rows(), 0)

    def prune(self) -> None:
        """Remove what says nothing any more, as each process that serves does."""
        for _removed in pruning.remove_all("sign-in attempts"):
            pass

    def test_removal_respects_its_limit(self):
        for number in range(3):
            self.attempt(email=f"user{number}@example.com")
        self.assertEqual(in_transaction(throttle.remove_old)(100), 0)
        self.wait(24 * 3600)

        removed = [in_transaction(throttle.remove_old)(4) for _ in range(3)]

        self.assertEqual(removed, [4, 3, 0])
        self.assertEqual(self.rows(), 0)

    def test_another_email_is_no_fresh_start(self):
        self.set_role("admin")
        token = self.attempt(PASSWORD, AWAY).json["auth_token"]
        self.statuses(PAIR.free)
        body = {"email": "al@example.com", "current_password": PASSWORD}
        answer = self.call(
            "PATCH", "/users/1", token, json=body, environ_base={"REMOTE_ADDR": AWAY}
        )
        self.assertEqual(answer.status_code, 200)

        self.assertEqual(self.attempt(PASSWORD, email="al@example.com").status_code, 429)
        self.assertEqual(self.statuses(PAIR.free), [401] * PAIR.free)  # it is nobody's now

    def test_email_that_nobody_has_is_treated_as_one_that_somebody_has(self):
        self.attempt(address=AWAY)  # which connects to the database
        answers = []
        for email in [ADA["email"], "nobody@example.com"]:
            with recorded_commands() as commands:
                found = [self.attempt(email=email) for _ in range(PAIR.free + 2)]
            responses = [
                (each.status_code, each.data, each.headers.get("Retry-After")) for each in found
            ]
            answers.append((responses, len(commands)))

        self.assertEqual(answers[0], answers[1])


class TakenEmailTests(AuthTestCase):
    """Callers who may not read users are slowed down when they probe for taken emails."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def setUp(self) -> None:
        super().setUp()
        self.now = utcnow()
        self.enterContext(mock.patch.object(throttle, "utcnow", lambda: self.now))
        self.token = self.register()
        make_user(email="taken@example.com")

    def ask(self, email: str = "taken@example.com", address: str = HOME) -> Any:
        """Register with an email."""
        return self.client.post(
            "/auth/register", json={**ADA, "email": email}, environ_base={"REMOTE_ADDR": address}
        )

    def change(self, email: str = "taken@example.com", address: str = HOME, **more: Any) -> Any:
        """Change one's own email."""
        body = {"email": email, "current_password": PASSWORD, **more}
        at = {"REMOTE_ADDR": address}
        return self.call("PATCH", "/users/1", self.token, json=body, environ_base=at)

    def test_registration_is_slowed_by_address(self):
        self.assertEqual({self.ask().status_code for _ in range(TAKEN.free)}, {400})
        for wait in [1, 2, 4]:
            for email in ["taken@example.com", "free@example.com"]:
                response = self.ask(email)
                self.assertEqual(response.status_code, 429)
                self.assertEqual(response.json["message"], TooManyTakenEmails.message)
                self.assertEqual(response.headers["Retry-After"], str(wait))
            self.now += timedelta(seconds=wait)
            self.assertEqual(self.ask().status_code, 400)

        self.assertEqual(self.ask(address=AWAY).status_code, 400)
        self.assertEqual(len(all_users()), 2)

    def test_own_email_is_slowed_by_user_wherever_they_are(self):
        for number in range(TAKEN.free):
            self.assertEqual(self.change(address=f"203.0.113.{number}").status_code, 400)

        for email in ["taken@example.com", "free@example.com"]:
            response = self.change(email, AWAY)
            self.assertEqual(response.status_code, 429)
            self.assertEqual(response.headers["Retry-After"], "1")
        body = {"username": "Ada", "email": "taken@example.com", "current_password": PASSWORD}
        self.assertEqual(self.call("PUT", "/users/1", self.token, json=body).status_code, 429)
        self.assertEqual(self.ask(address=AWAY).status_code, 400)  # of the address, it is the first
        self.now += timedelta(seconds=1)
        self.assertEqual(self.change("free@example.com", AWAY).status_code, 200)

    def test_registrations_and_own_emails_of_an_address_count_together(self):
        for _ in range(TAKEN.free // 2):
            self.ask()
            self.change()

        self.assertEqual(self.ask().status_code, 429)
        self.assertEqual(self.change().status_code, 429)
        self.assertEqual(self.change(ADA["email"], username="Ada L.").status_code, 200)

    def test_other_answers_do_not_count(self):
        for number in range(TAKEN.free + 2):
            self.assertEqual(self.ask(f"new{number}@example.com").status_code, 201)
            short = {**ADA, "email": "x@example.com", "password": "short"}
            self.assertEqual(self.client.post("/auth/register", json=short).status_code, 400)
            self.assertEqual(self.change(f"own{number}@example.com").status_code, 200)

        self.assertEqual(self.ask().status_code, 400)
        self.assertEqual(self.change().status_code, 400)

    def test_none_slips_past_beside_the_others(self):
        self.enterContext(mock.patch.object(passwords, "_places", BoundedSemaphore(20)))
        barrier, statuses = Barrier(16), []

        def ask() -> None:
            client = self.app.test_client()
            barrier.wait()
            body = {**ADA, "email": "taken@example.com"}
            statuses.append(client.post("/auth/register", json=body).status_code)

        threads = [Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(set(statuses), {400, 429})
        self.assertLessEqual(statuses.count(400), TAKEN.free)

    def test_those_who_may_see_the_users_are_not_slowed(self):
        self.set_role("viewer")
        for _ in range(TAKEN.free + 2):
            self.assertEqual(self.change().status_code, 400)

    def test_open_access_slows_nobody_down(self):
        self.app.config["ACCESS"] = "open"
        for _ in range(TAKEN.free + 2):
            self.assertEqual(self.ask().status_code, 400)
            self.assertEqual(self.change().status_code, 400)

"""The first start: who has the code creates the first administrator, once."""

from threading import Barrier, Thread
from typing import Any
from unittest import mock

import structlog
from flask import Flask
from structlog.testing import LogCapture

from project import create_app, db
from project.api import auth as feature
from project.api.audit import service as audit
from project.api.auth import setup
from project.api.auth.throttle import PAIR
from project.api.models import User
from project.api.users import service
from project.api.users.errors import AdministratorExists, EmailTaken
from project.commands import accounts
from project.config import TestingConfig
from project.database import close_thread_connections
from project.tests.auth.test_views import PASSWORD
from project.tests.base import BaseTestCase, Protected
from project.tests.commands.base import CommandTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import make_user

AS_PERSON = {"Accept": "text/html"}
FORM = {"username": "Ada", "email": "ada@example.com", "password": PASSWORD}


class SetupTestCase(BaseTestCase):
    """A service with protected access, and nobody who may sign in."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def send(self, **changes: str) -> Any:
        """Send the form, by default with the right code."""
        data = {**FORM, "code": setup.commit_code(), **changes}
        return self.client.post("/setup", data=data, headers=AS_PERSON)

    def administrators(self) -> int:
        """Return how many there are."""
        return db.session.query(User).filter_by(role="admin").count()


class PageTests(SetupTestCase):
    """/setup."""

    def test_every_way_leads_to_the_setup_until_it_is_done(self):
        for path in ["/", "/sign-in", "/account"]:
            response = self.client.get(path, headers=AS_PERSON, follow_redirects=True)
            self.assertEqual(response.request.path, "/setup")
            self.assertIn("Create the first administrator", response.text)
        self.assertIn("/sign-in?setup=later", response.text)
        self.assertEqual(self.client.get("/sign-in?setup=later").status_code, 200)

        response = self.send()

        self.assertEqual((response.status_code, response.location), (303, "/"))
        page = self.client.get("/", headers=AS_PERSON)
        self.assertIn("You are the first administrator", page.text)
        self.assertEqual(self.administrators(), 1)
        self.assertEqual(self.client.get("/setup", headers=AS_PERSON).location, "/")
        somebody = self.app.test_client()
        self.assertEqual(somebody.get("/sign-in", headers=AS_PERSON).status_code, 200)
        late = somebody.post("/setup", data={**FORM, "email": "b@example.com", "code": "x"})
        self.assertEqual((late.status_code, late.location), (303, "/sign-in"))
        self.assertEqual(self.administrators(), 1)
        actions = [event.action for event in audit.list_events(9)]
        self.assertEqual(actions, ["session.started", "user.created"])

    def test_code_may_be_typed_in_any_way(self):
        code = setup.commit_code()

        response = self.send(code=f" {code.lower().replace('-', ' ')} ")

        self.assertEqual(response.status_code, 303)

    def test_wrong_code_is_said_recorded_and_slowed_down(self):
        for _ in range(PAIR.free):
            response = self.send(code="WRNG-WRNG-WRNG-WRNG")
            self.assertEqual(response.status_code, 400)
            self.assertIn("Is not the code in the log.", response.text)

        response = self.send()

        self.assertEqual(response.status_code, 429)
        self.assertIn("Retry-After", response.headers)
        self.assertIn("Too many attempts", response.text)
        self.assertEqual(self.administrators(), 0)
        actions = {event.action for event in audit.list_events(9)}
        self.assertEqual(actions, {"setup.refused"})

    def test_what_is_wrong_is_said_beside_its_field(self):
        make_user(email="taken@example.com")
        for changes, message in [
            ({"password": "short"}, "Must have at least 15 characters; this has 5."),
            ({"email": "Taken@example.com"}, "Sorry. That email already exists."),
            ({"username": ""}, "Must not be blank."),
            ({"code": ""}, "Must not be blank."),
            ({"code": "é" * 40}, "Is not the code in the log."),
        ]:
            with self.subTest(changes):
                response = self.send(**changes)

                self.assertEqual(response.status_code, 400)
                self.assertIn(message, response.text)
        self.assertEqual(self.administrators(), 0)

    def test_administrator_who_cannot_sign_in_does_not_count(self):
        make_user(role="admin", active=True)
        make_user(role="admin", password_hash="x")

        self.assertEqual(self.send().status_code, 303)

    def test_of_two_at_once_one_wins(self):
        code, barrier, outcomes = setup.commit_code(), Barrier(2), []

        def create(number: int) -> None:
            with self.app.test_request_context():
                try:
                    barrier.wait()
                    setup.commit_first_administrator(
                        f"N{number}", f"n{number}@example.com", PASSWORD, code, f"10.0.0.{number}"
                    )
                    outcomes.append("created")
                except AdministratorExists:
                    outcomes.append("late")
                finally:
                    db.session.remove()
                    close_thread_connections()

        threads = [Thread(target=create, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(outcomes), ["created", "late"])
        self.assertEqual(self.administrators(), 1)
        self.assertEqual(service.count_users(), 1)

    def test_taken_email_is_refused_as_everywhere(self):
        make_user(email="ada@example.com")

        with self.app.test_request_context(), self.assertRaises(EmailTaken):
            setup.commit_first_administrator(**FORM, code=setup.commit_code())


class CodeTests(SetupTestCase):
    """The code itself."""

    def test_code_is_one_for_all_processes_and_follows_the_key_and_the_database(self):
        code = setup.commit_code()

        self.assertRegex(code, r"^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$")
        self.assertEqual(setup.commit_code(), code)
        with mock.patch.dict(self.app.config, SECRET_KEY="another"):
            self.assertNotEqual(setup.commit_code(), code)
        db.session.execute(setup._table.delete())
        db.session.commit()
        self.assertNotEqual(setup.commit_code(), code)

    def test_processes_that_start_at_once_agree(self):
        barrier, codes = Barrier(3), []

        def read() -> None:
            with self.app.app_context():
                barrier.wait()
                codes.append(setup.commit_code())
                close_thread_connections()

        threads = [Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(len(codes), 3)
        self.assertEqual(len(set(codes)), 1)

    def announced(self, app: Flask | None = None) -> list[Any]:
        """Start the threads of a process; return what the one about the code has logged."""
        capture = LogCapture()
        every_level = structlog.make_filtering_bound_logger("DEBUG")
        log = structlog.wrap_logger(None, processors=[capture], wrapper_class=every_level)
        with mock.patch.object(setup, "log", log):
            thread = setup.announce(app or self.app)
            if thread is not None:
                thread.join()
        return capture.entries

    def test_log_has_the_code_until_it_is_used(self):
        [line] = self.announced()
        self.assertEqual(line["code"], setup.commit_code())
        self.assertIn("/setup", line["event"])

        self.send()

        self.assertEqual(self.announced(), [])

    def test_log_has_no_code_with_open_access(self):
        self.assertEqual(self.announced(create_app(TestingConfig)), [])

    def test_log_has_the_code_when_the_database_is_there_again(self):
        away = driver_error(2003, "Can't connect", statement=None)
        with (
            mock.patch.object(setup, "is_needed", side_effect=[away, True]),
            mock.patch("project.api.auth.setup.time.sleep") as sleep,
        ):
            [line] = self.announced()

        self.assertEqual(line["code"], setup.commit_code())
        sleep.assert_called_once()

    def test_one_process_of_a_server_logs_it(self):
        with mock.patch.object(setup, "announce") as announce:
            feature.start(self.app, announce=False)
            announce.assert_not_called()
            feature.start(self.app)
            announce.assert_called_once_with(self.app)


class OpenTests(BaseTestCase):
    """With open access, there is no setup."""

    def test_setup_leads_to_the_list(self):
        self.assertEqual(self.client.get("/setup", headers=AS_PERSON).location, "/")
        data = {**FORM, "code": setup.commit_code()}
        response = self.client.post("/setup", data=data, headers=AS_PERSON)
        self.assertEqual(response.location, "/sign-in")
        self.assertEqual(service.count_users(), 0)


class CommandTests(CommandTestCase):
    """setup_code."""

    def test_command_prints_the_code_until_there_is_an_administrator(self):
        self.assertEqual(self.printed(accounts.print_setup_code), f"{setup.commit_code()}\n")
        make_user(role="admin", active=True, password_hash="x")

        with self.assertRaisesRegex(SystemExit, "an administrator already"):
            accounts.print_setup_code()

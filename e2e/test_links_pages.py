"""New colleagues, forgotten passwords, and the first start, in a real Chromium.

Mails go to a real mail server.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from playwright.sync_api import Page, expect

from e2e.processes import GUNICORN, ROOT, free_port, manage, served
from e2e.test_page import DESKTOP, PASSWORD, PHONE, BrowserTestCase

BOSS = "boss@example.com"
NEW_PASSWORD = "another fine and long one"
NARROW = {"width": 320, "height": 640}
SECONDS = 60


class Mailbox:
    """Accepts mails; a handler of aiosmtpd.

    :ivar may_accept: while it is not set, the server does not answer.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.is_asked = threading.Event()
        self.may_accept = threading.Event()
        self.may_accept.set()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        """Take a mail."""
        self.is_asked.set()
        # The server does nothing else meanwhile, as a server that is overloaded.
        self.may_accept.wait(SECONDS)
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(message_from_bytes(content, policy=policy.default))
        return "250 accepted"


class LinksTestCase(BrowserTestCase):
    """A protected service with an administrator, that sends mails."""

    has_administrator = True

    def setUp(self) -> None:
        self.port, self.mailbox = free_port(), Mailbox()
        self.log = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        self.environment = {
            "ACCESS": "protected",
            "SMTP_URL": f"smtp://127.0.0.1:{self.port}",
            "PUBLIC_URL": "http://127.0.0.1:{port}",
            "MAIL_FROM": "Directory <directory@example.com>",
            **type(self).environment,
        }
        super().setUp()

    def serve(self, environment: dict[str, str]) -> AbstractContextManager[str]:
        if self.has_administrator:
            manage(
                "create_admin", "--username", "Boss", "--email", BOSS, "--password-stdin",
                input=PASSWORD, DATABASE_URL=self.database,
            )  # fmt: skip
        return served(GUNICORN, self.log, **environment)

    def start_mails(self) -> None:
        """Start the mail server."""
        server = Controller(self.mailbox, hostname="127.0.0.1", port=self.port)
        server.start()
        self.addCleanup(server.stop)
        self.addCleanup(self.mailbox.may_accept.set)

    def next_mail(self, count: int = 1) -> EmailMessage:
        """Wait until so many mails have arrived; return the last one."""
        self.wait_for(lambda: len(self.mailbox.mails) >= count)
        self.assertEqual(len(self.mailbox.mails), count)
        return self.mailbox.mails[-1]

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, while the page goes on."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            self.assertLess(time.monotonic(), deadline)
            self.page.wait_for_timeout(50)

    def link_in(self, mail: EmailMessage) -> str:
        """Return the address in a mail."""
        [address] = re.findall(r"http\S+/welcome\?\S+", mail.get_content())
        self.assertTrue(address.startswith(f"{self.url}/"), address)
        return str(address)

    def invite(self, name: str, email: str, button: str, role: str = "") -> None:
        """Add a colleague as the administrator."""
        self.page.goto(f"{self.url}/invite")
        if self.page.get_by_role("heading", name="Sign in").is_visible():
            self.sign_in(BOSS, PASSWORD)
        expect(self.page.get_by_role("heading", name="Add a colleague")).to_be_visible()
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Email address").fill(email)
        self.page.get_by_label("Role").select_option(role)
        self.page.get_by_role("button", name=button).click()

    def choose_password(self, page: Page, password: str) -> None:
        """Fill in the form at a link, and send it."""
        page.get_by_label("New password").fill(password)
        page.get_by_role("button", name="Set password and sign in").click()


class InvitationTests(LinksTestCase):
    """A new colleague."""

    def test_administrator_hands_over_a_link_at_which_the_colleague_signs_in(self) -> None:
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.invite("Ada Lovelace", "ada@example.com", "Add and show the link", "editor")
        expect(self.page.get_by_role("heading")).to_have_text("Link for Ada Lovelace")
        link = self.page.get_by_label("One-time link")
        expect(link).to_be_focused()
        self.page.get_by_role("button", name="Copy").click()
        expect(self.page.get_by_role("button", name="Copied")).to_be_visible()
        address = self.page.evaluate("navigator.clipboard.readText()")
        self.assertEqual(address, link.input_value())
        self.assert_fits("link")
        self.page.goto(f"{self.url}/")
        expect(self.page.get_by_text("Ada Lovelace")).to_be_visible()
        self.page.get_by_role("link", name="Add a colleague").click()
        expect(self.page.get_by_role("heading", name="Add a colleague")).to_be_visible()
        boss = self.page

        self.page = ada = self.open(PHONE)
        ada.goto(address)
        expect(ada.get_by_role("heading")).to_have_text("Welcome, Ada Lovelace")
        expect(ada.get_by_text("Choose a password for ada@example.com.")).to_be_visible()
        field = ada.get_by_label("New password")
        expect(field).to_have_accessible_description(re.compile("At least 15 characters"))
        self.assert_fits("welcome-phone")
        self.choose_password(ada, "short")
        expect(field).to_have_accessible_description(re.compile("this has 5"))
        expect(field).to_be_focused()
        field.fill(PASSWORD)
        ada.get_by_role("button", name="Show").click()
        expect(field).to_have_attribute("type", "text")
        ada.get_by_role("button", name="Hide").click()
        expect(field).to_have_attribute("type", "password")
        ada.get_by_role("button", name="Set password and sign in").click()

        expect(ada.get_by_role("heading", name="All Users")).to_be_visible()
        expect(ada.get_by_role("status")).to_contain_text("you are signed in")
        ada.goto(address)
        expect(ada.get_by_role("heading")).to_have_text("This link has ended")
        self.assert_fits("link-ended-phone")
        ada.context.clear_cookies()
        ada.get_by_role("link", name="Sign in").click()
        self.sign_in("ada@example.com", PASSWORD)
        expect(ada.get_by_role("heading", name="All Users")).to_be_visible()
        self.assertNotIn(address.partition("link=")[2], self.log.read_text())
        self.page = boss

    def test_invitation_by_mail_works_without_scripts(self) -> None:
        self.start_mails()
        self.page = self.open(DESKTOP, scripts=False)
        self.invite("Ada", "ada@example.com", "Add and send the link by mail")
        expect(self.page.get_by_role("status")).to_contain_text("on its way to ada@example.com")

        mail = self.next_mail()

        self.assertEqual(mail["To"], "ada@example.com")
        ada = self.open(DESKTOP, scripts=False)
        ada.goto(self.link_in(mail))
        self.choose_password(ada, PASSWORD)
        expect(ada.get_by_role("heading", name="Your account")).to_be_visible()

    def test_form_sent_again_without_scripts_leads_to_the_colleague(self) -> None:
        self.page = self.open(DESKTOP, scripts=False)
        self.invite("Ada", "ada@example.com", "Add and show the link")
        link = self.page.get_by_label("One-time link").input_value()

        self.page.reload()

        expect(self.page.get_by_role("heading", name="Ada", exact=True)).to_be_visible()
        expect(self.page.get_by_role("status")).to_contain_text("when you first sent this form")
        self.assert_fits("invited-before")
        self.page.get_by_role("button", name="Make a sign-in link").click()
        self.assertNotEqual(self.page.get_by_label("One-time link").input_value(), link)

    def test_mistakes_are_said_at_the_field_and_entries_stay(self) -> None:
        self.invite("Another Boss", BOSS, "Add and show the link", "viewer")

        email = self.page.get_by_label("Email address")
        expect(email).to_have_accessible_description("Sorry. That email already exists.")
        expect(email).to_be_focused()
        expect(self.page.get_by_label("Username")).to_have_value("Another Boss")
        expect(self.page.get_by_label("Role")).to_have_value("viewer")
        self.assert_fits("invite-error")

    def test_link_that_is_shown_ends_when_another_is_sent(self) -> None:
        self.start_mails()
        self.invite("Ada", "ada@example.com", "Add and show the link")
        shown = self.page.get_by_label("One-time link").input_value()

        self.page.get_by_role("button", name="Send by mail instead").click()

        sent = self.link_in(self.next_mail())
        self.page.goto(shown)
        expect(self.page.get_by_role("heading")).to_have_text("This link has ended")
        self.page.goto(sent)
        expect(self.page.get_by_role("heading")).to_have_text("Welcome, Ada")


class ForgottenTests(LinksTestCase):
    """A forgotten password."""

    def ask(self, email: str) -> None:
        """Ask for a mail on the sign-in page."""
        self.page.goto(f"{self.url}/sign-in")
        self.page.get_by_role("link", name="Forgot your password?").click()
        self.page.get_by_label("Email address").fill(email)
        self.page.get_by_role("button", name="Send link").click()
        expect(self.page.get_by_role("status")).to_contain_text(f"the address {email}")

    def test_mail_leads_to_a_new_password_and_ends_other_sign_ins(self) -> None:
        self.start_mails()
        elsewhere, self.page = self.page, self.open(PHONE)
        elsewhere.get_by_label("Email address").fill(BOSS)
        elsewhere.get_by_label("Password").fill(PASSWORD)
        elsewhere.get_by_role("button", name="Sign in").click()
        expect(elsewhere.get_by_role("heading", name="All Users")).to_be_visible()

        self.page.goto(f"{self.url}/forgot")
        self.assert_fits("forgotten-phone")
        for email in ["nobody@example.com", BOSS]:
            self.ask(email)
            self.assert_fits("mail-on-its-way-phone")
        mail = self.next_mail()  # nobody@ gets none
        self.assertEqual((mail["To"], mail["Subject"]), (BOSS, "Choose a new password"))
        elsewhere.reload()
        expect(elsewhere.get_by_role("heading", name="All Users")).to_be_visible()
        self.page.goto(self.link_in(mail))
        expect(self.page.get_by_role("heading")).to_have_text("Choose a new password")
        self.assert_fits("reset-phone")
        self.choose_password(self.page, NEW_PASSWORD)

        expect(self.page.get_by_role("heading", name="All Users")).to_be_visible()
        elsewhere.reload()
        expect(elsewhere.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_slow_mail_server_holds_no_request(self) -> None:
        self.mailbox.may_accept.clear()
        self.start_mails()

        for _ in range(3):
            self.ask(BOSS)
        self.assertTrue(self.mailbox.is_asked.wait(SECONDS))
        self.page.goto(f"{self.url}/sign-in")
        self.sign_in(BOSS, PASSWORD)
        expect(self.page.get_by_role("heading", name="All Users")).to_be_visible()
        self.assertEqual(self.mailbox.mails, [])

        self.mailbox.may_accept.set()
        self.next_mail(3)

    def test_mail_arrives_when_the_server_is_there_again(self) -> None:
        self.ask(BOSS)
        self.wait_for(lambda: "mail postponed" in self.log.read_text())

        self.start_mails()

        self.page.goto(self.link_in(self.next_mail()))
        expect(self.page.get_by_role("heading")).to_have_text("Choose a new password")


class SetupTests(LinksTestCase):
    """The first start."""

    has_administrator = False
    environment = {"WEB_CONCURRENCY": "2"}

    def code_in_log(self) -> str:
        """Return the code that the log has, once for all workers."""
        codes: list[str] = []

        def find() -> bool:
            codes[:] = re.findall(
                r"code=\S*?([A-Z2-7]{4}(?:-[A-Z2-7]{4}){3})", self.log.read_text()
            )
            return bool(codes)

        self.wait_for(find)
        self.assertEqual(len(codes), 1)
        return codes[0]

    def test_person_with_the_code_creates_the_first_administrator(self) -> None:
        heading = self.page.get_by_role("heading", name="Create the first administrator")
        expect(heading).to_be_visible()
        self.assert_fits("setup")
        self.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        self.assert_fits("setup-narrow")
        code = self.code_in_log()
        printed = subprocess.run(
            [sys.executable, "manage.py", "setup_code"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.database},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.assertEqual(printed.strip(), code)

        self.page.get_by_label("Code from the log").fill("AAAA-AAAA-AAAA-AAAA")
        self.page.get_by_label("Username").fill("Ada")
        self.page.get_by_label("Email address").fill("ada@example.com")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Create administrator").click()
        field = self.page.get_by_label("Code from the log")
        expect(field).to_have_accessible_description("Is not the code in the log.")
        expect(self.page.get_by_label("Username")).to_have_value("Ada")
        field.fill(code.lower())
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Create administrator").click()

        expect(self.page.get_by_role("heading", name="All Users")).to_be_visible()
        expect(self.page.get_by_role("status")).to_contain_text("You are the first administrator")
        self.page.goto(f"{self.url}/invite")
        expect(self.page.get_by_role("heading", name="Add a colleague")).to_be_visible()
        self.page.context.clear_cookies()
        self.page.goto(f"{self.url}/setup")
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_people_with_an_account_may_sign_in_meanwhile(self) -> None:
        self.page.get_by_role("link", name="Sign in with an account").click()
        self.page.get_by_role("link", name="Create an account").click()

        self.page.get_by_label("Username").fill("Eve")
        self.page.get_by_label("Email address").fill("eve@example.com")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.assert_fits("register")
        self.page.get_by_role("button", name="Create account").click()

        expect(self.page.get_by_role("heading", name="Your account")).to_be_visible()
        expect(self.page.get_by_role("status")).to_contain_text("Your account was created")


class OpenTests(LinksTestCase):
    """With open access, and without mails."""

    environment = {"ACCESS": "open", "SMTP_URL": "", "REGISTRATION": "off"}

    def test_only_administrators_make_links(self) -> None:
        self.page.goto(f"{self.url}/invite")
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()
        for name in ["Forgot your password?", "Create an account"]:
            expect(self.page.get_by_role("link", name=name)).to_have_count(0)
        for path, text in [
            ("/forgot", "This service sends no mails."),
            ("/register", "Registration is disabled."),
        ]:
            self.page.goto(self.url + path)
            expect(self.page.get_by_text(text)).to_be_visible()

        self.page = self.open(PHONE)
        self.invite("Ada", "ada@example.com", "Add and show the link")

        expect(self.page.get_by_role("heading")).to_have_text("Link for Ada")
        self.assert_fits("link-phone")
        self.page.goto(f"{self.url}/invite")
        self.assert_fits("invite-phone")

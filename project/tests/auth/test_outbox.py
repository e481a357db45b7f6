"""Mails with links: which are sent, to whom, and what becomes of those that cannot be sent."""

import re
from datetime import timedelta
from email.message import EmailMessage
from threading import Event, Thread
from typing import Any
from unittest import mock

import structlog
from sqlalchemy import select
from structlog.testing import LogCapture

from project import db
from project.api.audit import service as audit
from project.api.auth import links, outbox, throttle
from project.api.models import Link, Mail
from project.api.users import service
from project.clock import utcnow
from project.database import Row, in_transaction, read
from project.tests.auth.test_links import AS_PERSON, NEW_PASSWORD, LinkTestCase
from project.tests.auth.test_views import PASSWORD
from project.tests.factories import make_user
from project.tests.mails import MailServer
from project.web import pruning

ROOT = "https://users.example/directory"
SENT_BY = "Directory <directory@example.com>"


class MailTestCase(LinkTestCase):
    """Has a mail server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.enterContext(MailServer())
        self.app.config.update(
            SMTP_URL=f"smtp://127.0.0.1:{self.server.port}", PUBLIC_URL=ROOT, MAIL_FROM=SENT_BY
        )
        self.logged = LogCapture()
        every_level = structlog.make_filtering_bound_logger("DEBUG")
        log = structlog.wrap_logger(None, processors=[self.logged], wrapper_class=every_level)
        self.enterContext(mock.patch.object(outbox, "log", log))

    def ask(self, email: str, purpose: str = links.RESET, language: str | None = None) -> None:
        """Add a mail."""
        in_transaction(outbox.add)(purpose, email, language)

    def send(self) -> list[EmailMessage]:
        """Send what is due; return the mails that have arrived since."""
        before = len(self.server.mails)
        self.look()
        mails: list[EmailMessage] = self.server.mails[before:]
        return mails

    def look(self) -> int:
        """Send what is due, in a thread, whose connections are closed then; return how many."""
        tried: list[int] = []
        thread = Thread(target=lambda: tried.append(outbox.commit_due_mails(self.app)))
        thread.start()
        thread.join()
        return tried[0]

    def waiting(self) -> list[Row]:
        """Return the mails that are not sent yet."""
        return list(read(select(Mail.__table__).order_by(Mail.id), {}))

    def token_in(self, mail: EmailMessage) -> str:
        """Return the token of the link in a mail."""
        [token] = re.findall(rf"{re.escape(ROOT)}/welcome\?link=(\S+)", mail.get_content())
        return str(token)

    def at(self, now: Any) -> Any:
        """Let it be this time for mails."""
        return mock.patch.object(outbox, "utcnow", lambda: now)


class SendingTests(MailTestCase):
    """From the table to the server."""

    def test_mail_arrives_and_its_link_works(self):
        user = make_user(username="Ada", email="ada@example.com", active=True, password_hash="x")
        self.ask("ADA@example.com")

        [mail] = self.send()

        self.assertEqual(mail["To"], "ada@example.com")  # as the user has it
        self.assertEqual(mail["From"], SENT_BY)
        self.assertEqual(mail["Subject"], "Choose a new password")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertTrue(mail["Message-ID"].endswith("@example.com>"))
        self.assertIn("Hello Ada,", mail.get_content())
        self.assertEqual(self.waiting(), [])
        self.assertEqual(self.send(), [])
        self.assertEqual(self.actions(user.id), [("link.created", "anonymous")])
        links.commit_use(self.token_in(mail), PASSWORD)

    def test_table_has_neither_link_nor_text(self):
        make_user(email="ada@example.com", active=True)
        self.ask("ada@example.com")
        values = {each.name for each in Mail.__table__.columns}
        self.assertEqual(
            values,
            {"id", "purpose", "recipient", "language", "created_by", "created_at", "attempts"}
            | {"next_attempt_at", "last_error"},
        )

        seen: list[Any] = []
        self.server.before_data = lambda: seen.append(True)
        [mail] = self.send()

        self.assertEqual(seen, [True])
        self.assertNotIn(self.token_in(mail), db.session.query(Link).one().token_hash)

    def test_invitation_has_the_name_in_any_script(self):
        make_user(username="小明", email="ming@example.com")
        self.ask("ming@example.com", links.INVITE)

        [mail] = self.send()

        self.assertEqual(mail["Subject"], "Your account in the user directory")
        self.assertIn("小明", mail.get_content())

    def test_address_of_another_alphabet_is_sent_in_a_form_that_servers_take(self):
        make_user(email="ada@bücher.example", active=True)
        self.ask("ada@bücher.example")

        [mail] = self.send()

        self.assertEqual(self.server.recipients, ["ada@xn--bcher-kva.example"])
        self.token_in(mail)

    def test_address_that_the_server_cannot_take_is_given_up(self):
        make_user(email="büşra@example.com", active=True)
        self.ask("büşra@example.com")

        self.assertEqual(self.send(), [])

        self.assertEqual(self.waiting(), [])
        [line] = self.logged.entries
        self.assertEqual(line["event"], "mail refused")
        self.assertNotIn("büşra", str(line))

    def test_nobody_gets_a_mail_who_may_not_sign_in(self):
        make_user(email="inactive@example.com")
        for email in ["nobody@example.com", "inactive@example.com"]:
            self.ask(email)

        self.assertEqual(self.send(), [])

        self.assertEqual(self.waiting(), [])
        self.assertEqual(self.server.recipients, [])
        self.assertEqual(db.session.query(Link).count(), 0)

    def test_name_adds_no_header(self):
        make_user(username="Ada: <x>, Bcc", email='"a b"@example.com', active=True)
        self.ask('"a b"@example.com')

        [mail] = self.send()

        self.assertNotIn("Bcc", mail)
        self.assertEqual(self.server.recipients, ['"a b"@example.com'])


class FailureTests(MailTestCase):
    """A server that is away, refuses or is slow."""

    def setUp(self) -> None:
        super().setUp()
        self.user = make_user(email="ada@example.com", active=True)
        self.now = utcnow()

    def test_mail_waits_for_a_server_that_is_away_longer_each_time(self):
        self.server.__exit__()
        self.ask("ada@example.com")
        pauses, now = [], self.now
        for _ in range(10):
            with self.at(now):
                self.assertEqual(self.look(), 1)
                self.assertEqual(self.look(), 0)
            [mail] = self.waiting()
            pauses.append((mail.next_attempt_at - now).total_seconds())
            now = mail.next_attempt_at

        self.assertEqual(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600])
        self.assertIn("ConnectionRefusedError", mail.last_error)
        self.assertEqual([line["event"] for line in self.logged.entries], ["mail postponed"])
        # While nobody could get a link, none is made, and a former one goes on.
        self.assertEqual(self.actions(self.user.id), [])
        self.server = MailServer(self.server.port)
        with self.server, self.at(now):
            [mail] = self.send()
            self.token_in(mail)
        self.assertEqual(self.waiting(), [])

    def test_mail_that_was_not_sent_in_time_ends(self):
        self.server.replies["EHLO"] = self.server.replies["HELO"] = "421 later"
        self.ask("ada@example.com")
        self.look()

        with self.at(self.now + timedelta(hours=73)):
            self.assertEqual(self.look(), 0)
            self.assertEqual(sum(pruning.remove_all("mails")), 1)

        self.assertEqual(self.waiting(), [])

    def test_refusal_for_good_ends_the_mail(self):
        for word, reply in [("RCPT", "550 no such mailbox ada@example.com"), ("DATA", "554 spam")]:
            with self.subTest(word):
                self.server.replies = {word: reply}
                self.ask("ada@example.com")

                self.assertEqual(self.send(), [])

                self.assertEqual(self.waiting(), [])
                self.assertEqual(self.logged.entries[-1]["event"], "mail refused")
                self.assertNotIn("ada@", str(self.logged.entries))

    def test_refusal_for_now_is_tried_again(self):
        for word, reply in [("RCPT", "451 busy ada@example.com"), ("MAIL", "530 sign in first")]:
            with self.subTest(word):
                self.server.replies = {word: reply}
                self.ask("ada@example.com")

                self.assertEqual(self.send(), [])

                mail = self.waiting()[-1]
                self.assertIn(reply[:3], mail.last_error)
                self.assertNotIn("ada@", mail.last_error)

    def test_server_that_forgets_to_say_goodbye_has_the_mail(self):
        self.server.replies["QUIT"] = "500 what"
        self.ask("ada@example.com")

        self.assertEqual(len(self.send()), 1)
        self.assertEqual(self.waiting(), [])

    def test_mail_of_a_sender_that_has_died_is_sent_by_another(self):
        self.ask("ada@example.com")
        with mock.patch.object(outbox, "_commit_attempt"):
            self.look()
        self.assertEqual(self.send(), [])

        with self.at(self.now + outbox.CLAIM + timedelta(seconds=2)):
            self.assertEqual(len(self.send()), 1)

    def test_each_mail_is_sent_once_by_several_senders(self):
        users = [make_user(active=True) for _ in range(8)]
        for user in users:
            self.ask(user.email)

        threads = [Thread(target=outbox.commit_due_mails, args=(self.app,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(sorted(self.server.recipients), sorted(user.email for user in users))
        self.assertEqual(self.waiting(), [])

    def test_nothing_is_locked_while_a_mail_is_sent(self):
        is_slow, may_end = Event(), Event()
        self.server.before_data = lambda: is_slow.set() or may_end.wait(30)  # type: ignore[func-returns-value]
        self.ask("ada@example.com")
        thread = Thread(target=outbox.commit_due_mails, args=(self.app,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(may_end.set)
        self.assertTrue(is_slow.wait(30))

        response = self.client.post("/forgot", data={"email": "ada@example.com"})
        in_transaction(service.update_user)(self.user.id, {"username": "Ada"})

        self.assertEqual(response.status_code, 303)


class ThreadTests(MailTestCase):
    """The thread of a process that serves."""

    def test_thread_sends_as_soon_as_it_is_woken(self):
        make_user(email="ada@example.com", active=True)
        arrived, looks = Event(), []
        self.server.before_data = arrived.set

        def look(app: Any) -> int:
            looks.append(1)
            if len(looks) > 2:
                raise SystemExit
            return send(app)

        send = outbox.commit_due_mails
        with (
            mock.patch.object(outbox, "SECONDS_BETWEEN_LOOKS", 60),
            mock.patch.object(outbox, "commit_due_mails", look),
        ):
            thread = outbox.start(self.app)
            assert thread is not None
            self.ask("ada@example.com")
            outbox.wake()
            self.assertTrue(arrived.wait(30))
            while thread.is_alive():
                outbox.wake()
                thread.join(0.05)
        self.assertTrue(thread.daemon)

    def test_thread_goes_on_after_a_failure(self):
        failures = [ValueError("odd"), ValueError("odd"), SystemExit]
        with (
            mock.patch.object(outbox, "SECONDS_BETWEEN_LOOKS", 0.01),
            mock.patch.object(outbox, "commit_due_mails", side_effect=failures),
        ):
            thread = outbox.start(self.app)
            assert thread is not None
            thread.join()

        [line] = self.logged.entries
        self.assertEqual((line["event"], line["reason"]), ("mails failed", "odd"))

    def test_there_is_none_without_a_server(self):
        self.app.config["SMTP_URL"] = None

        self.assertIsNone(outbox.start(self.app))


class PageTests(MailTestCase):
    """/forgot, and links by mail from the administrators' pages."""

    def test_forgotten_password(self):
        make_user(email="ada@example.com", active=True, password_hash="x", role="viewer")
        self.client.post("/sign-out")
        self.assertIn('href="/forgot"', self.client.get("/sign-in", headers=AS_PERSON).text)
        self.assertEqual(self.client.get("/forgot", headers=AS_PERSON).status_code, 200)

        response = self.client.post("/forgot", data={"email": "ada@example.com"})

        self.assertEqual((response.status_code, response.location), (303, "/sign-in"))
        page = self.client.get("/sign-in", headers=AS_PERSON).text
        self.assertIn("a mail with a link is on its way", page)
        [mail] = self.send()
        data = {"link": self.token_in(mail), "password": NEW_PASSWORD}
        self.assertEqual(self.client.post("/welcome", data=data).location, "/")

    def test_answer_is_the_same_whatever_the_address(self):
        make_user(email="ada@example.com", active=True, password_hash="x")
        make_user(email="inactive@example.com")
        answers = set()
        for email in ["ada@example.com", "inactive@example.com", "nobody@example.com"]:
            response = self.client.post("/forgot", data={"email": email})
            page = self.client.get("/sign-in", headers=AS_PERSON).text.replace(email, "")
            page = re.sub('name="csrf_token"[^>]*', "", page)
            answers.add((response.status_code, response.location, page))

        self.assertEqual(len(answers), 1)
        self.assertEqual(len(self.waiting()), 3)  # the request finds out nothing

    def test_asking_is_slowed_down_by_recipient_and_by_client(self):
        for _ in range(throttle.MAIL.free):
            response = self.client.post("/forgot", data={"email": "nobody@example.com"})
            self.assertEqual(response.status_code, 303)
        for email in ["nobody@example.com", "NOBODY@example.com"]:
            response = self.client.post("/forgot", data={"email": email}, headers=AS_PERSON)
            self.assertEqual(response.status_code, 429)
            self.assertIn("Retry-After", response.headers)
            self.assertIn("Too many mails were asked for.", response.text)
        for number in range(throttle.MAILS.free - throttle.MAIL.free):
            response = self.client.post("/forgot", data={"email": f"n{number}@example.com"})
            self.assertEqual(response.status_code, 303)
        response = self.client.post("/forgot", data={"email": "last@example.com"})
        self.assertEqual(response.status_code, 429)
        self.assertEqual(len(self.waiting()), throttle.MAILS.free)

    def test_mail_is_in_the_language_of_the_page(self):
        make_user(email="ada@example.com", active=True)
        for header, language in [("zh-CN", "zh_Hans"), ("en", "en")]:
            headers = {**AS_PERSON, "Accept-Language": header}
            self.client.post("/forgot", data={"email": "ada@example.com"}, headers=headers)

            self.assertEqual(self.waiting()[-1].language, language)
            self.assertEqual(len(self.send()), 1)

    def test_mails_in_chinese(self):
        make_user(username="小明", email="ming@example.com")
        in_transaction(service.update_user)(self.boss.id, {"username": "王芳"})
        for email, subject, greeting, words in [
            ("ming@example.com", "您在用户目录中的账户", "小明，您好：", "请在此设置密码："),
            ("boss@example.com", "设置新密码", "王芳，您好：", "通过此链接，您可以"),
        ]:
            with self.subTest(subject):
                self.ask(email, links.INVITE, "zh_Hans")
                [mail] = self.send()

                text = mail.get_content()
                self.assertEqual(mail["Subject"], subject)
                self.assertTrue(text.startswith(greeting), text)
                self.assertIn(words, text)
                links.find_link(self.token_in(mail))
                self.assertNotRegex(re.sub(r"https?://\S+", "", text), "[a-z]{2}")

    def test_what_is_no_address_is_said(self):
        response = self.client.post("/forgot", data={"email": "ada"}, headers=AS_PERSON)

        self.assertEqual(response.status_code, 400)
        self.assertIn("must have an @-sign", response.text)
        self.assertEqual(self.waiting(), [])

    def test_there_is_none_without_a_server(self):
        self.app.config["SMTP_URL"] = None
        for method in ["GET", "POST"]:
            response = self.client.open("/forgot", method=method, headers=AS_PERSON)
            self.assertEqual(response.status_code, 404)
        self.client.post("/sign-out")
        self.assertNotIn("/forgot", self.client.get("/sign-in", headers=AS_PERSON).text)
        data = {"username": "Ada", "email": "ada@example.com", "role": "", "by": "mail"}
        self.sign_in("boss@example.com", PASSWORD)
        response = self.client.post("/invite", data=data, headers=AS_PERSON)
        self.assertIn("/welcome?link=", response.text)
        self.assertEqual(self.waiting(), [])

    def test_invitation_by_mail(self):
        self.assertIn("by mail", self.client.get("/invite", headers=AS_PERSON).text)
        data = {"username": "Ada", "email": "ada@example.com", "role": "", "by": "mail"}

        response = self.client.post("/invite", data=data, headers=AS_PERSON)

        self.assertEqual((response.status_code, response.location), (303, "/invite"))
        page = self.client.get("/invite", headers=AS_PERSON).text
        self.assertIn("on its way to ada@example.com", page)
        [mail] = self.send()
        links.commit_use(self.token_in(mail), PASSWORD)
        boss = f"user:{self.boss.id}"
        self.assertEqual(self.actions(2)[:2], [("user.created", boss), ("link.created", boss)])

    def test_invitation_sent_twice_is_one_mail(self):
        data = {"username": "Ada", "email": "ada@example.com", "by": "mail", "idempotency_key": "k"}

        answers = [self.client.post("/invite", data=data, headers=AS_PERSON) for _ in range(2)]

        self.assertEqual([each.location for each in answers], ["/invite", "/user/2#access"])
        self.assertEqual(len(self.send()), 1)

    def test_link_for_an_existing_user_by_mail_ends_the_one_shown(self):
        user = make_user(email="ada@example.com")
        shown = self.make_link(user.id)

        response = self.client.post(f"/user/{user.id}/link", data={"by": "mail"})

        self.assertEqual(response.status_code, 303)
        [mail] = self.send()
        self.assertNotEqual(self.token_in(mail), shown)
        self.assertEqual(db.session.query(Link).count(), 1)

    def test_request_records_who_asks_and_from_where(self):
        make_user(email="ada@example.com", active=True)
        self.client.post("/sign-out")
        self.client.post("/forgot", data={"email": "ada@example.com"})

        self.send()

        [event] = audit.list_events(1)
        self.assertEqual((event.action, event.actor), ("link.created", "anonymous"))
        self.assertEqual(event.after, {"purpose": "invite", "by_mail": True})

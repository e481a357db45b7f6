"""Sign-ins as their users and administrators see them: from where, and how they end."""

from datetime import timedelta
from typing import Any

from project import db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.models import Session
from project.api.users import service as users
from project.clock import utcnow
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase
from project.tests.factories import make_user


class SessionTests(AuthTestCase):
    """list_sessions, end_session and end_sessions."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.register()

    def sign_in(self, user_agent: str = "Test/1", address: str = "192.0.2.7") -> str:
        """Sign in from a device; return the token."""
        response = self.client.post(
            "/auth/login",
            json={"email": ADA["email"], "password": PASSWORD},
            headers={"User-Agent": user_agent},
            environ_base={"REMOTE_ADDR": address},
        )
        return str(response.json["auth_token"])

    def last_event(self) -> tuple[Any, ...]:
        """Return what was recorded last."""
        event = audit.list_events(1)[0]
        return event.actor, event.action, event.user_id

    def test_sign_in_stores_device_and_address(self):
        self.sign_in("Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0", "2001:db8::1")

        newest, _first = auth.list_sessions(1)

        self.assertEqual(newest.user_agent, "Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0")
        self.assertEqual(newest.address, "2001:db8::1")

    def test_client_that_says_too_much_or_nothing_signs_in(self):
        self.sign_in("x" * 1000, "y" * 100)
        self.sign_in("", "")

        silent, verbose, _first = auth.list_sessions(1)

        self.assertEqual((silent.user_agent, silent.address), (None, None))
        self.assertEqual((verbose.user_agent, verbose.address), ("x" * 255, "y" * 45))

    def test_sign_in_outside_a_request_has_no_device(self):
        auth.commit_sign_in(ADA["email"], PASSWORD)

        self.assertIsNone(auth.list_sessions(1)[0].user_agent)

    def test_list_has_the_valid_ones_only_and_newest_first(self):
        for _ in range(4):
            self.sign_in()
        other, older, expired, kept, first = (row.id for row in auth.list_sessions(1))
        changes: list[tuple[int, dict[Any, Any]]] = [
            (expired, {"expires_at": utcnow() - timedelta(seconds=1)}),
            (older, {"password_version": 0}),
            (other, {"deactivations": 1}),
        ]
        for session_id, change in changes:
            db.session.query(Session).filter_by(id=session_id).update(change)
        db.session.commit()

        self.assertEqual([row.id for row in auth.list_sessions(1)], [kept, first])
        self.assertEqual(auth.list_sessions(make_user().id), [])

    def test_list_is_short(self):
        row = auth.list_sessions(1)[0]
        db.session.add_all(
            Session(
                token_id=f"{number:032x}",
                user_id=1,
                password_version=1,
                created_at=row.created_at,
                expires_at=utcnow() + timedelta(hours=1),
            )
            for number in range(60)
        )
        db.session.commit()

        self.assertEqual(len(auth.list_sessions(1)), auth.SESSIONS_SHOWN)

    def test_ended_session_is_invalid_at_once_and_recorded(self):
        token = self.sign_in()
        newest = auth.list_sessions(1)[0]

        auth.end_session(1, newest.id)
        db.session.commit()

        self.assertEqual((self.status(token), self.status(self.first)), (401, 200))
        self.assertEqual(self.last_event(), ("anonymous", "session.ended", 1))

    def test_session_of_another_user_or_of_nobody_is_left_alone(self):
        other = make_user().id
        events = len(audit.list_events(99))

        for user_id, session_id in [(other, 1), (1, 999), (1, 0), (1, -1), (1, 2**31), (1, 10**40)]:
            auth.end_session(user_id, session_id)
        db.session.commit()

        self.assertEqual(self.status(self.first), 200)
        self.assertEqual(len(audit.list_events(99)), events)

    def test_all_sessions_end_but_the_one_that_is_kept(self):
        token = self.sign_in()
        other = self.register(email="other@example.com")
        kept = auth.list_sessions(1)[0].token_id

        auth.end_sessions(1, kept)
        db.session.commit()
        self.assertEqual((self.status(token), self.status(self.first)), (200, 401))
        self.assertEqual(self.last_event()[1:], ("sessions.ended", 1))

        auth.end_sessions(1)
        db.session.commit()
        self.assertEqual((self.status(token), self.status(other)), (401, 200))
        events = len(audit.list_events(99))
        auth.end_sessions(1)
        self.assertEqual(len(audit.list_events(99)), events)

    def test_sessions_end_with_their_user(self):
        users.delete_user(1)
        db.session.commit()

        self.assertEqual(auth.list_sessions(1), [])

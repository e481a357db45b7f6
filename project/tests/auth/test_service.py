"""What is committed by itself, and what the caller commits."""

from unittest import mock

from project import db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.auth.errors import WrongCredentials, WrongPassword
from project.api.models import Session, SignInAttempts
from project.api.users import passwords
from project.api.users import service as users
from project.database import in_transaction
from project.tests.auth.test_views import ADA, PASSWORD, AuthTestCase


class CommitTests(AuthTestCase):
    """Functions that say ``commit``, and the others."""

    def last_action(self) -> str:
        """Return what the newest event says."""
        return str(audit.list_events(1)[0].action)

    def test_refused_sign_in_is_committed_by_itself(self):
        self.register()
        with self.assertRaises(WrongCredentials):
            auth.commit_sign_in(ADA["email"], "a wrong password", "192.0.2.1")
        db.session.rollback()

        self.assertEqual(self.last_action(), "session.failed")
        counted = db.session.query(SignInAttempts.failures).filter(SignInAttempts.failures > 0)
        self.assertEqual(counted.count(), 3)

    def test_refused_proof_is_committed_by_itself(self):
        self.register()
        with self.assertRaises(WrongPassword):
            auth.commit_reauthentication(1, "a wrong password", "192.0.2.1")
        db.session.rollback()

        self.assertEqual(self.last_action(), "password.refused")

    def test_sign_in_refused_at_the_last_moment_is_committed_by_itself(self):
        self.register()
        verify = passwords.verify_password

        def deactivate(stored: str | None, password: str) -> bool:
            in_transaction(users.update_user)(1, {"active": False})
            return verify(stored, password)

        with mock.patch.object(auth, "verify_password", deactivate):
            self.assertEqual(self.log_in().status_code, 401)

        self.assertEqual(self.last_action(), "session.failed")

    def test_other_changes_are_the_callers_to_commit(self):
        self.register()
        session = db.session.query(Session.token_id).scalar()
        for change in [
            lambda: auth.register("Bob", "bob@example.com", PASSWORD),
            lambda: auth.log_out(session),
        ]:
            change()
            db.session.rollback()

        self.assertEqual(db.session.query(Session.password_version).all(), [(1,)])
        self.assertEqual(users.count_users(), 1)
        self.assertEqual(len(audit.list_events(9)), 1)

"""The users table, and what the database itself holds true."""

from datetime import timedelta
from unittest import mock

from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from project import db
from project.api.models import User
from project.clock import utcnow
from project.tests.base import BaseTestCase
from project.tests.factories import make_user


class UserTests(BaseTestCase):
    """One row."""

    def test_username_and_email_make_a_complete_row(self):
        before = utcnow()
        user = make_user(username="cnych", email="Qikqiak@Gmail.com")

        row = db.session.execute(text("SELECT * FROM users")).mappings().one()
        self.assertEqual(row["id"], user.id)
        self.assertEqual(row["username"], "cnych")
        self.assertEqual(row["email"], "Qikqiak@Gmail.com")
        self.assertEqual(row["email_folded"], "qikqiak@gmail.com")
        self.assertEqual(row["active"], 0)
        self.assertLessEqual(before, user.created_at)
        self.assertEqual(user.created_at, user.updated_at)

    def test_new_email_is_folded_anew(self):
        user = make_user()

        user.email = "NEW@example.com"
        db.session.commit()

        self.assertEqual(user.email_folded, "new@example.com")

    def test_change_sets_updated_at(self):
        user = make_user()
        later = user.created_at + timedelta(hours=1)

        with mock.patch("project.clock.datetime") as clock:
            clock.now.return_value = later
            user.username = "other"
            db.session.commit()

        self.assertEqual(user.updated_at, later)
        self.assertLess(user.created_at, user.updated_at)

    def test_text_comes_back_as_it_was_written(self):
        for username in [
            "😀",
            "𝒜",
            "שלום",
            "a\u0301",
            "á",
            "  x  ",
            "'; DROP TABLE users; --",
            "\\",
        ]:
            with self.subTest(username):
                user = make_user(username=username)
                db.session.expire(user)
                self.assertEqual(user.username, username)
                db.session.commit()

    def test_id_is_never_given_twice(self):
        user = make_user()
        db.session.delete(user)
        db.session.commit()

        self.assertGreater(make_user().id, user.id)

    def test_database_refuses_a_second_user_of_a_mailbox(self):
        make_user(email="a@example.com")
        now = utcnow()
        values = {"username": "b", "email": "x", "created_at": now, "updated_at": now}

        with self.assertRaises(IntegrityError):
            db.session.execute(insert(User).values(email_folded="a@example.com", **values))

    def test_database_refuses_a_row_with_a_part_missing(self):
        make_user()
        for column in ["username", "email", "email_folded", "active", "created_at", "updated_at"]:
            with self.subTest(column), self.assertRaises(IntegrityError):
                try:
                    db.session.execute(text(f"UPDATE users SET {column} = NULL"))
                finally:
                    db.session.rollback()

    def test_column_holds_the_longest_folded_email(self):
        user = make_user(email="\ufb03" * 80 + "@example.com")  # a ligature of f, f and i

        self.assertEqual(user.email_folded, "ffi" * 80 + "@example.com")

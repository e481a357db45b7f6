"""Each write keeps the words of its users, in its own transaction."""

from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from project import db
from project.api.models import User, UserWord
from project.api.transfer import importing
from project.api.transfer.stream import Row
from project.api.users import service, word_index
from project.api.users.errors import EmailTaken
from project.api.users.words import words_of
from project.commands import database
from project.database import in_transaction
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user, make_users
from project.tests.wire import recorded_commands


class WriteTests(BaseTestCase):
    """The words after each kind of write."""

    def tearDown(self) -> None:
        """Compare the words of all users with what they should be."""
        expected = {
            (word, user.id)
            for user in all_users()
            for word in words_of(user.username, user.email, user.email_folded)
        }
        self.assertEqual(self.entries(), expected)
        super().tearDown()

    def entries(self) -> set[tuple[str, int]]:
        db.session.rollback()
        found = db.session.execute(select(UserWord.word, UserWord.user_id)).all()
        db.session.rollback()
        return {(word, user_id) for word, user_id in found}

    def words(self) -> list[str]:
        return sorted(word for word, _user_id in self.entries())

    def test_user_that_is_created_changed_and_removed(self):
        user = in_transaction(service.create_user)("Ada Byron", "ada@example.com")
        self.assertEqual(self.words(), ["ada@example.com", "byron", "com", "example.com"])

        in_transaction(service.update_user)(user.id, {"username": "Ada Lovelace"})
        self.assertEqual(self.words(), ["ada@example.com", "com", "example.com", "lovelace"])

        in_transaction(service.update_user)(user.id, {"email": "countess@example.org"})
        self.assertIn("countess@example.org", self.words())

        in_transaction(service.delete_user)(user.id)
        self.assertEqual(self.words(), [])

    def test_user_that_is_refused_changes_nothing(self):
        make_user(username="Ada", email="ada@example.com")
        bob = make_user(username="Bob", email="bob@example.com")
        before = self.entries()

        with self.assertRaises(EmailTaken):
            in_transaction(service.create_user)("Eve", "ada@example.com")
        with self.assertRaises(EmailTaken):
            in_transaction(service.update_user)(
                bob.id, {"username": "Eve", "email": "ada@example.com"}
            )

        self.assertEqual(self.entries(), before)

    def test_change_of_other_fields_writes_no_words(self):
        user = make_user()

        with recorded_commands() as commands:
            in_transaction(service.update_user)(user.id, {"active": True})

        self.assertFalse([each for each in commands if "user_words" in str(each)])

    def test_users_in_bulk(self):
        in_transaction(service.create_users)(
            [("Ada", "a@example.com"), ("明", "BÜ@bücher.example")]
        )
        make_users(3)
        database.seed_db()

        self.assertIn("qikqiak@gmail.com", self.words())

    def test_user_of_the_orm(self):
        user = make_user(username="Ada")

        user.username = "Grace"
        db.session.commit()

        self.assertIn("grace", self.words())
        db.session.delete(user)
        db.session.commit()

    def test_user_of_a_session_without_an_application(self):
        engine = db.engine

        def work() -> None:
            with Session(engine) as session:
                user = User(username="Ada", email="ada@example.com")
                session.add(user)
                session.commit()
                user.username = "Grace"
                session.commit()

        with ThreadPoolExecutor(1) as other_thread:  # which has no application context
            other_thread.submit(work).result()

        self.assertIn("grace", self.words())
        self.assertNotIn("ada", self.words())

    def test_import_adds_and_renames(self):
        make_user(username="Ada", email="ada@example.com")
        make_user(username="Bob", email="bob@example.com")
        last = make_user(username="Cy", email="cy@example.com")
        rows = [
            {"username": "Ada L", "email": "ADA@example.com"},
            {"username": "Bob", "email": "bob@example.com", "active": "true"},
            {"id": str(last.id), "username": "Cy", "email": "cyril@example.org"},
            {"username": "Éve", "email": "eve@example.com"},
            {"username": "Eve Eden", "email": "eve@example.com"},
        ]

        batches = list(
            importing.import_users([Row(n, row) for n, row in enumerate(rows)], match_id=True)
        )

        self.assertEqual(dict(batches[0].counts), {"updated": 4, "created": 1})
        self.assertIn("eden", self.words())

    def test_mend_gives_users_the_words_that_they_should_have(self):
        users = [make_user() for _ in range(3)]
        names = [word_index.Names(u.id, u.username, u.email, u.email_folded) for u in users]
        db.session.execute(text("DELETE FROM user_words WHERE user_id = 1"))
        db.session.execute(text("INSERT INTO user_words VALUES ('wrong', 2)"))
        db.session.commit()

        self.assertEqual(in_transaction(word_index.mend)(names), 2)
        self.assertEqual(in_transaction(word_index.mend)(names), 0)
        self.assertEqual(in_transaction(word_index.mend)([]), 0)

    def test_many_words_take_several_statements(self):
        names = [word_index.Names(n, "", f"x{n}@a.example", f"x{n}@a.example") for n in range(1, 8)]
        db.session.add_all([User(username="x", email=f"{n}@b.example") for n in range(7)])
        db.session.flush()
        db.session.execute(text("DELETE FROM user_words"))

        with mock.patch.object(word_index, "ROWS_PER_STATEMENT", 5):
            word_index.add(names)

        self.assertEqual(len(db.session.execute(select(UserWord.word)).all()), 21)
        db.session.rollback()

"""What can be done with users, without HTTP."""

from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from project import db
from project.api.users import service
from project.api.users.errors import EmailTaken, UserNotFound
from project.tests.base import BaseTestCase
from project.tests.factories import make_user, make_users


class GetUserTests(BaseTestCase):
    """One user."""

    def test_get_user_returns_the_columns_that_are_shown(self):
        user = make_user(username="cnych", email="A@example.com")

        row = service.get_user(user.id)

        self.assertEqual(
            row._asdict(),
            {
                "id": user.id,
                "username": "cnych",
                "email": "A@example.com",
                "active": False,
                "created_at": user.created_at,
                "updated_at": user.updated_at,
                "version": 1,
            },
        )

    def test_get_user_that_does_not_exist_is_not_found(self):
        for user_id in [-1, 0, 1, 2**31 - 1, 2**31, 2**63, 10**40]:
            with self.subTest(user_id), self.assertRaises(UserNotFound):
                service.get_user(user_id)


class ListUsersTests(BaseTestCase):
    """Parts of the list."""

    def test_list_users_goes_by_id_from_the_one_after(self):
        ids = [make_user().id for _ in range(4)]

        self.assertEqual([row.id for row in service.list_users(2)], ids[:2])
        self.assertEqual([row.id for row in service.list_users(9, ids[1])], ids[2:])

    def test_newest_users_come_first_and_ties_go_by_id(self):
        day = datetime(2026, 5, 1)
        old = make_user(created_at=day)
        first, second = (make_user(created_at=day + timedelta(days=1)) for _ in range(2))
        newest = make_user(created_at=day + timedelta(days=2))
        expected = [newest.id, second.id, first.id, old.id]

        rows = service.list_newest_users(9)

        self.assertEqual([row.id for row in rows], expected)
        for position, row in enumerate(rows, start=1):
            rest = service.list_newest_users(9, (row.created_at, row.id))
            self.assertEqual([row.id for row in rest], expected[position:])


class CreateUserTests(BaseTestCase):
    """One more user, or many."""

    def test_create_user_with_taken_email_leaves_the_session_usable(self):
        make_user(email="a@example.com")

        with self.assertRaises(EmailTaken):
            service.create_user("b", "A@EXAMPLE.com")
        service.create_user("b", "b@example.com")
        db.session.commit()

        self.assertEqual(len(service.list_users(9)), 2)

    def test_create_user_passes_on_what_is_not_about_the_email(self):
        with self.assertRaises(IntegrityError):
            service.create_user(None, "email_folded@example.com")  # type: ignore[arg-type]

    def test_create_users_makes_complete_rows(self):
        service.create_users([("a", "A@example.com"), ("b", "b@bücher.example")])
        db.session.commit()

        self.assertEqual([row.username for row in service.list_users(9)], ["a", "b"])
        with self.assertRaises(EmailTaken):
            service.create_user("c", "B@xn--bcher-kva.example")

    def test_create_users_with_one_taken_email_adds_none(self):
        make_user(email="a@example.com")

        with self.assertRaises(IntegrityError):
            service.create_users([("b", "b@example.com"), ("a", "a@example.com")])
        db.session.rollback()

        self.assertEqual(len(service.list_users(9)), 1)

    def test_has_users(self):
        self.assertFalse(service.has_users())
        make_users(1)
        self.assertTrue(service.has_users())

"""What can be done with users, without HTTP."""

from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from project import db
from project.api.models import AdministratorGuard
from project.api.users import queries, service
from project.api.users.errors import EmailTaken, LastAdministrator, UserNotFound
from project.database import in_transaction
from project.errors import Invalid
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user, make_users


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
                "role": None,
                "last_sign_in_at": None,
                "version": 1,
            },
        )

    def test_get_user_that_does_not_exist_is_not_found(self):
        for user_id in [-1, 0, 1, 2**31 - 1, 2**31, 2**63, 10**40]:
            with self.subTest(user_id), self.assertRaises(UserNotFound):
                service.get_user(user_id)


class PasswordTests(BaseTestCase):
    """A new password of a user."""

    def test_new_password_is_looked_at_before_the_row_is_locked(self):
        user = make_user(username="Ada Lovelace")
        for changes in [
            {"password": "too short"},
            {"password": "who is ada lovelace?"},
            {"username": "Countess", "password": "who is the countess?"},
        ]:
            with (
                self.subTest(changes),
                mock.patch.object(service, "_lock_user") as lock,
                self.assertRaises(Invalid),
            ):
                service.update_user(user.id, changes)

            lock.assert_not_called()


class AdministratorGuardTests(BaseTestCase):
    """Losses of administrators change one row, so that two at once conflict on any server."""

    def test_each_loss_of_an_administrator_changes_the_row(self):
        users = [make_user(role="admin", active=True) for _ in range(4)]
        changes: list[tuple[int, dict[str, Any]]] = [
            (0, {"username": "Ada"}),
            (1, {"role": "editor"}),
            (2, {"active": False}),
        ]
        for losses, change in changes:
            in_transaction(service.update_user)(users[losses].id, change)
            self.assertEqual(self.losses(), losses)
        in_transaction(service.delete_user)(users[3].id)
        self.assertEqual(self.losses(), 3)

    def test_loss_that_is_refused_changes_nothing(self):
        user = make_user(role="admin", active=True)

        with self.assertRaises(LastAdministrator):
            in_transaction(service.delete_user)(user.id)

        self.assertEqual(self.losses(), 0)

    def losses(self) -> int:
        """Return how often the row was changed."""
        return db.session.scalar(select(AdministratorGuard.losses)) or 0


class ListUsersTests(BaseTestCase):
    """Parts of the list."""

    def test_list_users_goes_on_after_each_row_in_each_order(self):
        day = datetime(2026, 5, 1)
        for name, email, days, signed_in in [
            ("b", "z@example.com", 1, None),
            ("A", "y@example.com", 0, 2),
            ("a", "É@example.com", 2, 1),
            ("é", "x@example.com", 1, None),
            ("B ", "b@example.com", 1, 2),
        ]:
            make_user(
                username=name,
                email=email,
                created_at=day + timedelta(days=days),
                last_sign_in_at=signed_in and day + timedelta(days=signed_in),
            )
        for sort, expected in [
            ("id", [1, 2, 3, 4, 5]),
            ("-id", [5, 4, 3, 2, 1]),
            ("created_at", [2, 1, 4, 5, 3]),
            ("-created_at", [3, 5, 4, 1, 2]),
            ("username", [2, 3, 1, 5, 4]),
            ("-username", [4, 5, 1, 3, 2]),
            ("email", [5, 4, 2, 1, 3]),
            ("-email", [3, 1, 2, 4, 5]),
            ("last_sign_in_at", [1, 4, 3, 2, 5]),
            ("-last_sign_in_at", [5, 2, 3, 4, 1]),
        ]:
            with self.subTest(sort):
                rows = service.list_users(9, sort=sort)
                first = min(self.ids(rows)) - 1

                self.assertEqual([each - first for each in self.ids(rows)], expected)
                for position, row in enumerate(rows, start=1):
                    key = getattr(row, queries.sort_column(sort).name), row.id
                    rest = service.list_users(9, key, sort=sort)
                    self.assertEqual([each - first for each in self.ids(rest)], expected[position:])

    @staticmethod
    def ids(rows):
        """Return the ids of listed users."""
        return [row.id for row in rows]


class CreateUserTests(BaseTestCase):
    """One more user, or many."""

    def test_create_user_with_taken_email_is_refused(self):
        make_user(email="a@example.com")

        with self.assertRaises(EmailTaken):
            service.create_user("b", "A@EXAMPLE.com")

        db.session.rollback()
        self.assertEqual(len(service.list_users(9)), 1)

    def test_create_user_passes_on_what_is_not_about_the_email(self):
        nothing: Any = None

        with self.assertRaises(IntegrityError):
            service.create_user("b", "email_folded@example.com", active=nothing)

    def test_create_users_makes_complete_rows(self):
        service.create_users([("a", "A@example.com"), ("b", "b@bücher.example")])
        db.session.commit()

        self.assertEqual([row.username for row in all_users()], ["a", "b"])
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

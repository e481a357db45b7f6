"""Statements that the driver runs itself; on SQLite, MySQL and MariaDB the same."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from project import db
from project.api.auth.models import APIKey
from project.api.users.models import User
from project.clock import utcnow
from project.database import read, write
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user, make_users

USERS: Any = User.__table__
KEYS: Any = APIKey.__table__
VALUES = {
    "username": "a",
    "email": "a@example.com",
    "email_folded": "a@example.com",
    "username_folded": "a",
    "active": True,
    "password_version": 0,
    "created_at": datetime(2026, 1, 2, 3, 4, 5),
    "updated_at": datetime(2026, 1, 2, 3, 4, 5),
}


class ReadTests(BaseTestCase):
    """SELECTs on the read engine."""

    def test_values_are_what_sqlalchemy_makes_of_them(self):
        make_user(active=True, role="editor")
        columns = [*USERS.c, null().label("empty"), literal(True, Boolean).label("yes")]

        [row] = read(select(*columns), {})
        [expected] = db.session.execute(select(*columns))

        self.assertEqual(row._asdict(), dict(expected._mapping))
        self.assertEqual([type(value) for value in row], [type(value) for value in expected])

    def test_json_and_lists_are_converted_both_ways(self):
        user = make_user()
        now = utcnow()
        values = {
            "name": "k",
            "prefix": "p",
            "key_hash": "h",
            "created_at": now,
            "deactivations": 0,
        }

        write(insert(KEYS), {"user_id": user.id, "scopes": ["admin", "users:read"], **values})
        db.session.commit()

        shown = literal_column("'[1, null]'", JSON).label("shown")
        [row] = read(select(KEYS.c.scopes, KEYS.c.expires_at, KEYS.c.created_at, shown), {})
        expected = (["admin", "users:read"], None, now, [1, None])
        self.assertEqual(row, expected)

    def test_column_without_a_name_has_one_of_sqlalchemy(self):
        make_users(3)

        self.assertEqual(read(select(func.count()).select_from(USERS), {})[0][0], 3)

    def test_list_takes_any_number_of_values(self):
        make_users(3)
        statement = select(USERS.c.id).where(
            USERS.c.id.in_(bindparam("ids", expanding=True)),
            USERS.c.active == literal(False),
        )
        for ids in ([1], [3, 2], [], [2, 3, 7]):
            with self.subTest(ids):
                rows = read(statement, {"ids": ids})

                self.assertCountEqual([row.id for row in rows], set(ids) - {7})

    def test_list_of_booleans_is_converted(self):
        make_user(active=True)
        statement = select(USERS.c.id).where(USERS.c.active.in_(bindparam("those", expanding=True)))

        self.assertEqual(len(read(statement, {"those": [True]})), 1)
        self.assertEqual(len(read(statement, {"those": [False]})), 0)

    def test_constants_of_a_statement_are_its_own(self):
        make_user(username="a%b", active=True)
        statement = select(USERS.c.username).where(
            USERS.c.active == literal(True), USERS.c.username == "a%b"
        )

        self.assertEqual([row.username for row in read(statement, {})], ["a%b"])


class WriteTests(BaseTestCase):
    """Statements in the transaction of the session."""

    def test_write_is_part_of_the_transaction(self):
        user = make_user(username="a")
        change = update(USERS).where(USERS.c.id == bindparam("user_id"))
        values = {"user_id": user.id, "username": "b", "updated_at": user.updated_at}

        self.assertEqual(write(change, values).row_count, 1)

        question = select(USERS.c.username).where(USERS.c.id == bindparam("user_id"))
        self.assertEqual(write(question, {"user_id": user.id}).rows[0].username, "b")
        db.session.rollback()
        self.assertEqual(read(question, {"user_id": user.id})[0].username, "a")

    def test_insert_gives_the_id(self):
        added = write(insert(USERS), VALUES).inserted_id

        db.session.commit()
        [user] = all_users()
        self.assertEqual(
            (user.id, user.active, user.created_at), (added, True, VALUES["created_at"])
        )

    def test_count_is_of_the_rows_that_were_found(self):
        user = make_user(username="a")
        change = update(USERS).where(USERS.c.id == bindparam("user_id"))
        same = {"username": user.username, "updated_at": user.updated_at}

        self.assertEqual(write(change, {"user_id": user.id, **same}).row_count, 1)
        self.assertEqual(write(change, {"user_id": user.id + 1, **same}).row_count, 0)

    def test_default_in_python_that_is_left_out_is_refused(self):
        change = update(USERS).where(USERS.c.id == bindparam("user_id"))
        for statement, left_out in ((insert(USERS), "created_at"), (change, "updated_at")):
            values = {name: value for name, value in VALUES.items() if name != left_out}
            with self.subTest(left_out), self.assertRaisesRegex(TypeError, left_out):
                write(statement, {"user_id": 1, **values} if statement is change else values)

    def test_error_is_one_of_sqlalchemy_without_parameters(self):
        write(insert(USERS), VALUES)

        with self.assertRaises(IntegrityError) as caught:
            write(insert(USERS), VALUES)

        self.assertIn("INSERT INTO users", str(caught.exception))
        self.assertNotIn("active=", str(caught.exception))

    def test_what_the_database_refuses_does_not_end_the_connection(self):
        for run in (read, write):
            with self.subTest(run.__name__), self.assertRaises(DBAPIError) as caught:
                run(select(literal_column("nowhere").label("x")), {})

            self.assertFalse(caught.exception.connection_invalidated)

"""The migrations make the schema that the models describe, and can take it back."""

import re
from unittest import mock

import flask_migrate
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from project import db
from project.api.auth import service as auth
from project.api.models import User, UserWord
from project.api.users import word_index
from project.api.users.folding import fold_email
from project.tests.base import BaseTestCase


class MigrationTests(BaseTestCase):
    """From an empty database up, and down again."""

    def setUp(self) -> None:
        super().setUp()
        self.modelled = self.schema()
        db.drop_all()
        self.addCleanup(flask_migrate.downgrade, revision="base")
        flask_migrate.upgrade()

    def schema(self) -> list[str]:
        """Return how the database itself describes our tables and their indexes, sorted."""
        names = db.metadata.tables
        questions = [f"SHOW CREATE TABLE `{name}`" for name in names]
        if db.engine.dialect.name == "sqlite":
            questions = [
                f"SELECT coalesce(sql, name) FROM sqlite_master WHERE tbl_name = '{name}'"
                for name in names
            ]
        with db.engine.connect() as connection:
            rows = [row for question in questions for row in connection.execute(text(question))]
        # SQLite keeps the text of each statement: an added column stands on its neighbour's line.
        # MySQL names the indexes in the order in which they were made.
        parts = [part.strip() for row in rows for part in re.split(r"[\n,]", row[-1])]
        return sorted(filter(None, parts))

    def test_upgrade_makes_the_schema_of_the_models(self):
        self.assertEqual(self.schema(), self.modelled)

    def test_alembic_finds_no_difference(self):
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})

            self.assertEqual(compare_metadata(context, db.metadata), [])

    def test_downgrade_leaves_an_empty_database(self):
        flask_migrate.downgrade(revision="base")

        self.assertEqual(inspect(db.engine).get_table_names(), ["alembic_version"])
        with db.engine.connect() as connection:
            versions = connection.execute(text("SELECT * FROM alembic_version")).all()
        self.assertEqual(versions, [])

    def test_sign_ins_and_keys_of_active_users_go_on(self):
        flask_migrate.downgrade(revision="0006")
        with db.engine.begin() as connection:
            for user_id, active in [(1, 1), (2, 0), (3, 0)]:
                connection.execute(
                    text(
                        "INSERT INTO users (id, username, email, email_folded, active, created_at,"
                        " updated_at) VALUES (:id, 'x', :id, :id, :active, :now, :now)"
                    ),
                    {"id": user_id, "active": active, "now": "2026-01-01 00:00:00"},
                )
            for user_id in (1, 2):
                connection.execute(
                    text(
                        "INSERT INTO api_keys (user_id, name, prefix, key_hash, scopes, created_at)"
                        " VALUES (:id, 'x', 'x', :id, 'admin', '2026-01-01 00:00:00')"
                    ),
                    {"id": user_id},
                )

        flask_migrate.upgrade()

        counts = select(User.id, User.deactivations).order_by(User.id)
        suspended = {row.user_id: row.suspended for row in auth.list_keys()}
        self.assertEqual(db.session.execute(counts).all(), [(1, 0), (2, 1), (3, 0)])
        self.assertEqual(suspended, {1: False, 2: True})
        db.session.rollback()
        flask_migrate.downgrade(revision="0006")
        with db.engine.connect() as connection:
            left = connection.scalar(text("SELECT count(*) FROM api_keys"))
        self.assertEqual(left, 2)

    def test_existing_users_get_their_words_even_after_an_interruption(self):
        names = [("Ada Lovelace", "Ada@example.com"), ("王 José", "bü.x@bücher.example")]
        names += [(f"User {number}", f"user-{number}@example.com") for number in range(1_100)]
        flask_migrate.downgrade(revision="0009")
        with db.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO users (username, email, email_folded, created_at, updated_at)"
                    " VALUES (:name, :email, :folded, '2026-01-01', '2026-01-01')"
                ),
                [
                    {"name": name, "email": email, "folded": fold_email(email)}
                    for name, email in names
                ],
            )

        flask_migrate.upgrade(revision="0010")
        with db.engine.begin() as connection:
            connection.execute(text("DELETE FROM user_words WHERE user_id > 1000"))
        flask_migrate.stamp(revision="0009")
        flask_migrate.upgrade()

        with db.engine.connect() as connection:
            entries = {tuple(row) for row in connection.execute(select(UserWord.__table__)).all()}
            users = connection.execute(text("SELECT id, username, email, email_folded FROM users"))
            self.assertEqual(entries, word_index.entries_of(users.all()))

    def test_lock_that_is_not_to_be_had_is_named(self):
        for answer, reason in [
            (0, "Another process has been migrating for 600 s."),
            (None, "The database could not provide a lock for the migrations."),
        ]:
            engine = mock.MagicMock()
            connection = engine.connect.return_value.__enter__.return_value
            connection.dialect.name = "mysql"
            connection.execute.return_value.scalar_one.return_value = answer
            with (
                self.subTest(reason),
                mock.patch.dict(db.engines, maintenance=engine),
                self.assertLogs("flask_migrate", "ERROR") as logged,
                self.assertRaises(SystemExit),
            ):
                flask_migrate.upgrade()

            self.assertIn(reason, logged.output[0])

    def test_migrated_database_serves(self):
        response = self.client.post("/users", json={"username": "a", "email": "a@example.com"})

        self.assertEqual(response.status_code, 201)
        self.assertEqual(self.client.get("/users/1").json["data"], response.json["data"])

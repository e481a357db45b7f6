"""Backup and restore: what is restored, what is refused, and that nothing is left incomplete.

The moves between SQLite and MariaDB are in e2e/test_backup.py.
"""

import gzip
import os
import pty
import sqlite3
import stat
import subprocess
import tempfile
import tracemalloc
from contextlib import redirect_stderr
from datetime import date, datetime
from hashlib import sha256
from io import StringIO
from itertools import accumulate
from pathlib import Path
from threading import Event, Thread
from typing import Any
from unittest import mock

import flask_migrate
import orjson
import sqlalchemy as sa

from project import db
from project.api.groups import service as groups
from project.api.models import APIKey, Group, GroupMember, Session, User, UserWord
from project.api.users import service
from project.backup import archive
from project.backup import service as backup
from project.backup.archive import BackupError
from project.commands import backups, database
from project.commands.testing import ROOT
from project.tests.base import head_revision
from project.tests.commands.base import CommandTestCase
from project.tests.factories import make_group, make_user, make_users

ODD = [
    ("𝔘𝔫𝔦 👩‍👩‍👧 é", "Zoë@bücher.example"),
    ("[\"],{'\\ \t\r\n\x00\u2028", "o'neil@example.com"),
    ("x" * 128, "x" * 64 + "@example.com"),
]


class BackupTestCase(CommandTestCase):
    """A migrated database, and a folder for backups of it."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.drop_revision)
        flask_migrate.stamp()  # test_migrations.py holds that these tables are the migrations' own
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "users.backup"
        self.enterContext(redirect_stderr(StringIO()))  # the progress bars

    def drop_revision(self) -> None:
        """Let the next test find the tables without a revision, whatever this one has left."""
        db.session.remove()
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))

    def rows(self, table: sa.Table = User.__table__) -> list[tuple[Any, ...]]:
        """Return what a table holds."""
        with db.engine.connect() as connection:
            query = sa.select(table).order_by(*table.primary_key)
            return [tuple(row) for row in connection.execute(query)]

    def back_up(self) -> bytes:
        """Make a backup; return the file's bytes."""
        backup.back_up(self.path, force=True)
        return self.path.read_bytes()

    def lines(self) -> list[Any]:
        """Return what the lines of the backup say."""
        return [orjson.loads(line) for line in gzip.decompress(self.path.read_bytes()).splitlines()]

    def add_key(self, user: User, name: str) -> None:
        """Give a user an API key."""
        hashed = sha256(name.encode()).hexdigest()
        values = {"prefix": "key_12345678", "key_hash": hashed, "scopes": ["users:read"]}
        times = {"created_at": datetime(2026, 1, 1)}
        db.session.add(APIKey(user_id=user.id, name=name, **values, **times))
        db.session.commit()

    def content_of(self, *lines: Any) -> bytes:
        """Return the text of these lines."""
        return b"".join(orjson.dumps(line) + b"\n" for line in lines)

    def write(self, lines: list[Any]) -> None:
        """Write a file with these lines and a trailer that fits them."""
        content = self.content_of(*lines)
        trailer = {"rows": len(lines) - 1, "sha256": sha256(content).hexdigest()}
        self.path.write_bytes(gzip.compress(content + orjson.dumps(trailer) + b"\n"))

    def refused(self, reason: str) -> None:
        """See that a restore says why it does not take the file, in one line, and changes nothing.

        :param reason: a regular expression.
        """
        before = self.rows()
        with self.assertRaisesRegex(BackupError, reason) as caught:
            backup.restore(self.path, replace=True)
        self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(self.rows(), before)


class RoundTripTests(BackupTestCase):
    """What goes out comes in again."""

    def test_restore_brings_back_every_row_as_it_was(self):
        for number, (username, email) in enumerate(ODD):
            times = {
                "created_at": datetime(2024, 2, 29, 23, 59, number),
                "updated_at": datetime(9999, 12, 31),
                "last_sign_in_at": (None, datetime(2026, 11, 24, 8, 30))[number % 2],
            }
            active, role = ((False, None), (True, "editor"))[number % 2]
            make_user(username=username, email=email, active=active, role=role, **times)
        before = self.rows()
        self.back_up()
        db.session.execute(sa.delete(User))
        make_user()

        backup.restore(self.path, replace=True)

        self.assertEqual(self.rows(), before)

    def test_restore_makes_the_words_of_users_anew(self):
        make_users(3)
        user = make_user(username="Ada Lovelace")
        self.back_up()
        before = self.rows(UserWord.__table__)
        user.username = "Grace Hopper"
        db.session.commit()

        backup.restore(self.path, replace=True)

        self.assertEqual(self.rows(UserWord.__table__), before)
        self.assertIn(("lovelace", user.id), before)

    def test_restore_brings_back_groups_and_their_members(self):
        make_users(5)
        make_group("Größe", 1, 2, 3, 4, 5, external_id="x")
        make_group("Empty")
        make_group("Ops", 5, 1)
        tables = (Group.__table__, GroupMember.__table__)
        before = [self.rows(table) for table in tables]
        with mock.patch.multiple(backup, ROWS_PER_BATCH=2):
            self.back_up()
        for group_id in (1, 3):
            groups.delete_group(group_id)
        make_group("New", 2)

        backup.restore(self.path, replace=True)

        self.assertEqual([self.rows(table) for table in tables], before)
        self.assertEqual(len(before[1]), 7)

    def test_restore_over_the_same_rows_changes_nothing(self):
        make_users(25)
        before = self.rows()

        with mock.patch.multiple(backup, ROWS_PER_BATCH=10):
            self.back_up()
        with mock.patch.multiple(archive, ROWS_PER_BATCH=7):
            backup.restore(self.path, replace=True)

        self.assertEqual(self.rows(), before)

    def test_empty_tables_are_a_backup_too(self):
        self.back_up()

        self.assertEqual(backup.restore(self.path).tables[0].rows, 0)

    def test_restore_makes_the_schema_of_an_empty_database(self):
        make_user(email="a@example.com")
        self.back_up()
        flask_migrate.downgrade(revision="base")

        backup.restore(self.path)

        self.assertEqual(self.rows()[0][2], "a@example.com")
        self.assertEqual(database.current_revision(), head_revision())

    def test_restore_ends_every_sign_in_and_keeps_the_keys(self):
        user = make_user()
        self.add_key(user, "robot")
        times = {"created_at": datetime(2026, 1, 1), "expires_at": datetime(2126, 1, 1)}
        db.session.add(Session(token_id="t", user_id=user.id, password_version=0, **times))
        db.session.commit()
        self.back_up()

        restored = backup.restore(self.path, replace=True)

        self.assertEqual(self.rows(Session.__table__), [])
        self.assertEqual(len(self.rows(APIKey.__table__)), 1)
        self.assertEqual({table.name: table.rows for table in restored.tables}["sessions"], 1)

    def test_same_data_makes_the_same_file_but_for_the_time(self):
        make_users(3)
        with mock.patch.object(backup, "utcnow", return_value=datetime(2026, 1, 1)):
            self.assertEqual(self.back_up(), self.back_up())

    def test_backup_of_every_column_of_ours_has_a_form(self):
        for table in backup._tables():
            for column in table.columns:
                self.assertTrue(callable(archive.decoder(column)))

    def test_column_of_a_type_without_a_form_is_named(self):
        with self.assertRaisesRegex(NotImplementedError, "price: .* Decimal"):
            archive.decoder(sa.Column("price", sa.Numeric))


class ManyTablesTests(BackupTestCase):
    """Tables as later versions may have them."""

    def setUp(self) -> None:
        """Add a child of users, with a key of two columns and a column of each type."""
        super().setUp()
        metadata = sa.MetaData()
        self.users = User.__table__.to_metadata(metadata)
        self.notes = sa.Table(
            "a_notes",  # before users in the alphabet
            metadata,
            sa.Column("user_id", sa.ForeignKey("users.id"), primary_key=True),
            sa.Column("page", sa.String(10), primary_key=True),
            sa.Column("content", sa.LargeBinary),
            sa.Column("day", sa.Date),
            mysql_charset="utf8mb4",
            mariadb_charset="utf8mb4",
        )
        self.notes.create(db.engine)
        self.addCleanup(self.notes.drop, db.engine)
        self.enterContext(mock.patch.object(backup, "_tables", lambda: metadata.sorted_tables))
        make_users(3)
        self.ids = [row[0] for row in self.rows()]

    def add_note(self, user_id: int, page: str, *values) -> None:
        """Add a row to the child."""
        with db.engine.begin() as connection:
            connection.execute(sa.insert(self.notes).values((user_id, page, *values)))

    def test_parents_and_children_with_all_types_come_back(self):
        self.add_note(self.ids[0], "é", bytes(range(256)), date(2024, 2, 29))
        self.add_note(self.ids[1], "", b"", date(1999, 12, 31))
        self.add_note(self.ids[1], "b", None, None)
        before = self.rows(), self.rows(self.notes)
        self.back_up()

        backup.restore(self.path, replace=True)

        self.assertEqual((self.rows(), self.rows(self.notes)), before)
        self.assertEqual(
            [table["name"] for table in self.lines()[0]["tables"]], ["users", "a_notes"]
        )

    def test_keys_of_two_columns_are_read_once_each(self):
        for user_id in self.ids:
            for page in "abcde":
                self.add_note(user_id, page, None, None)

        with mock.patch.object(backup, "ROWS_PER_BATCH", 2):
            self.back_up()

        keys = [line[:2] for line in self.lines()[4:-1]]
        self.assertEqual(keys, [[user_id, page] for user_id in self.ids for page in "abcde"])

    def test_rows_beside_users_are_data_too(self):
        self.back_up()
        self.add_note(self.ids[0], "a", None, None)
        with mock.patch.object(backup, "_tables", lambda: [self.notes]):
            self.assertTrue(backup.has_data())


class ConsistencyTests(BackupTestCase):
    """Others write while a backup is made."""

    def test_backup_is_of_one_moment_while_a_thread_replaces_users(self):
        make_users(50)
        engine, went_on, done = db.engine, Event(), Event()

        def replace_users() -> None:
            """Take the oldest user away and add one, in one transaction: always 50 users."""
            while not done.is_set():
                with engine.begin() as connection:
                    oldest, newest = connection.execute(
                        sa.select(sa.func.min(User.id), sa.func.max(User.id))
                    ).one()
                    email = f"new-{newest}@example.com"
                    values = {
                        "username": "new",
                        "email": email,
                        "email_folded": email,
                        "created_at": datetime(2026, 1, 1),
                        "updated_at": datetime(2026, 1, 1),
                    }
                    connection.execute(sa.insert(User.__table__), values)
                    connection.execute(sa.delete(User).where(User.id == oldest))
                went_on.set()

        def and_wait_for_writes(connection):
            """Give the batches, and let the writer commit twice between any two of them."""
            for batch in select_all(connection):
                for _ in range(2):
                    went_on.clear()
                    self.assertTrue(went_on.wait(15), "the writer is held up")
                yield batch

        select_all = backup._select_all
        writer = Thread(target=replace_users)
        writer.start()
        try:
            with (
                mock.patch.object(backup, "ROWS_PER_BATCH", 10),
                mock.patch.object(backup, "_select_all", and_wait_for_writes),
            ):
                self.back_up()
        finally:
            done.set()
            writer.join()

        ids = [row[0] for row in self.lines()[1:-1]]
        self.assertEqual(ids, list(range(ids[0], ids[0] + 50)))
        self.assertNotEqual(ids, [row[0] for row in self.rows()])


class NextIdTests(BackupTestCase):
    """An id is never given twice, a restore in between or not."""

    def test_ids_go_on_above_the_highest(self):
        last = [make_user().id for _ in range(3)][-1]
        self.back_up()

        backup.restore(self.path, replace=True)

        self.assertEqual(make_user().id, last + 1)

    def test_ids_given_and_removed_before_the_backup_are_not_given_again(self):
        last = [make_user().id for _ in range(3)][-1]
        db.session.execute(sa.delete(User).where(User.id > last - 2))
        db.session.commit()
        self.back_up()
        flask_migrate.downgrade(revision="base")

        backup.restore(self.path)

        self.assertEqual(make_user().id, last + 1)

    def test_ids_given_after_the_backup_are_not_given_again(self):
        make_user()
        self.back_up()
        last = make_user().id

        backup.restore(self.path, replace=True)

        self.assertEqual(make_user().id, last + 1)

    def test_table_that_remembers_no_ids_has_no_next_one(self):
        column = sa.Column("id", sa.Integer, primary_key=True)
        plain = sa.Table("plain", sa.MetaData(), column)
        keyed = sa.Table("keyed", sa.MetaData(), sa.Column("key", sa.String(9), primary_key=True))
        plain.create(db.engine)
        self.addCleanup(plain.drop, db.engine)
        with db.engine.connect() as connection:
            remembered = None if db.engine.dialect.name == "sqlite" else 1

            self.assertEqual(backup._next_id(connection, plain), remembered)
            self.assertIsNone(backup._next_id(connection, keyed))


class WrittenFileTests(BackupTestCase):
    """The file itself, and what is in its place."""

    def test_file_is_for_its_owner_only(self):
        self.addCleanup(os.umask, os.umask(0))

        self.back_up()

        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), [self.path.name])

    def test_existing_file_is_not_replaced_without_force(self):
        self.path.write_text("mine")
        with self.assertRaisesRegex(BackupError, "already exists. To replace it, use --force."):
            backup.back_up(self.path)
        self.assertEqual(self.path.read_text(), "mine")

        backup.back_up(self.path, force=True)

        backup.restore(self.path)

    def test_place_that_takes_no_file_is_named(self):
        Path(self.folder, "file").touch()
        Path(self.folder, "dangling").symlink_to("nowhere")
        for name, reason in [
            ("", "is not a regular file"),
            ("dangling", "is not a regular file"),
            ("nowhere/x", "cannot be written: No such file or directory"),
            ("file/x", "cannot be written: Not a directory"),
        ]:
            with self.subTest(name), self.assertRaisesRegex(BackupError, reason):
                backup.back_up(self.folder / name, force=True)

    def test_failure_on_the_way_leaves_nothing(self):
        make_users(5)
        for error, raised in [
            (KeyboardInterrupt, KeyboardInterrupt),
            (OSError(28, "full"), BackupError),
        ]:
            with self.subTest(error):
                with mock.patch("os.fsync", side_effect=error), self.assertRaises(raised):
                    backup.back_up(self.path)

                self.assertEqual(os.listdir(self.folder), [])

    def test_file_that_does_not_read_back_is_removed(self):
        make_users(5)
        self.back_up()
        before = self.path.read_bytes()

        def spoil(path, header, batches):
            digest = write(path, header, batches)
            content = bytearray(path.read_bytes())
            content[-30] ^= 1
            path.write_bytes(content)
            return digest

        def swap(path, header, batches):
            digest = write(path, header, batches)
            path.write_bytes(before)
            return digest

        write = archive.write
        for fault in [spoil, swap]:
            make_user()
            with self.subTest(fault.__name__), mock.patch.object(archive, "write", fault):
                with self.assertRaises(BackupError):
                    backup.back_up(self.path, force=True)

                self.assertEqual(self.path.read_bytes(), before)
                self.assertEqual(os.listdir(self.folder), [self.path.name])

    def test_database_at_another_revision_is_not_backed_up(self):
        flask_migrate.downgrade(revision="base")

        with self.assertRaisesRegex(
            BackupError, f"at revision base, and this code requires {head_revision()}: "
        ):
            backup.back_up(self.path)

        self.assertEqual(os.listdir(self.folder), [])

    def test_database_that_cannot_be_copied_is_reported(self):
        if db.engine.dialect.name == "sqlite":
            error = sqlite3.OperationalError("disk I/O error")
            with mock.patch.object(sqlite3, "connect", side_effect=error):
                with self.assertRaisesRegex(BackupError, "cannot be copied: disk I/O error"):
                    backup.back_up(self.path)


class RefusedFileTests(BackupTestCase):
    """A file that is not a valid backup for this code changes nothing."""

    def setUp(self) -> None:
        super().setUp()
        make_users(3)
        self.content = self.back_up()
        make_user(username="newer")

    def test_file_cut_short_anywhere_is_refused(self):
        for length in range(len(self.content)):
            self.path.write_bytes(self.content[:length])
            with self.subTest(length), self.assertRaises(BackupError):
                backup.restore(self.path, replace=True)

        self.assertEqual(len(self.rows()), 4)

    def test_file_with_a_flipped_byte_is_refused(self):
        # The bytes 4 to 9 are gzip's own time, flags and system, which nobody reads.
        for place in [*range(4), *range(10, len(self.content))]:
            spoilt = bytearray(self.content)
            spoilt[place] ^= 0xFF
            self.path.write_bytes(spoilt)
            with self.subTest(place), self.assertRaises(BackupError):
                backup.restore(self.path, replace=True)

        self.assertEqual(len(self.rows()), 4)

    def test_file_with_something_after_its_end_is_refused(self):
        for more in [b"x", self.content, gzip.compress(b"[]\n")]:
            self.path.write_bytes(self.content + more)
            with self.subTest(more):
                self.refused("is not a valid backup: ")

    def test_file_packed_anew_is_taken(self):
        self.path.write_bytes(gzip.compress(gzip.decompress(self.content), 1))

        backup.restore(self.path, replace=True)

        self.assertEqual(len(self.rows()), 3)

    def test_edited_row_is_refused(self):
        edited = gzip.decompress(self.content).replace(b"user0", b"root0")
        self.path.write_bytes(gzip.compress(edited))

        self.refused("its rows do not match the checksum at its end")

    def test_other_files_are_refused(self):
        for content, reason in [
            (b"", "is not a valid backup: it is empty."),
            (b"SQLite format 3\x00", "Not a gzipped file"),
            (gzip.compress(b""), "is not a valid backup"),
            (gzip.compress(b"[]\n"), "it does not begin with the header of one"),
            (gzip.compress(b'{"format":1}\n'), "it does not begin with the header of one"),
            (gzip.compress(b"\xff\n"), "is not a valid backup"),
            (gzip.compress(b"CREATE TABLE users (\n"), "is not a valid backup"),
        ]:
            self.path.write_bytes(content)
            with self.subTest(content):
                self.refused(reason)

    def test_missing_file_and_folder_are_named(self):
        for path, reason in [
            (self.folder / "nowhere", "nowhere cannot be read: No such file or directory."),
            (self.folder, "cannot be read: Is a directory."),
        ]:
            with self.subTest(path), self.assertRaisesRegex(BackupError, reason):
                backup.restore(path)

    def test_header_for_other_code_is_refused(self):
        header, *rows = self.lines()[:-1]
        table = header["tables"][0]
        cases: list[tuple[dict[str, Any], str]] = [
            ({"version": 2}, "has format version 2; this code reads 1"),
            ({"version": "\x1b" * 99}, r"has format version '\\x1b"),
            ({"revision": "\x1b"}, "its header is incomplete"),
            ({"revision": "0999"}, f"revision 0999, and this code requires {head_revision()}"),
            ({"tables": []}, "but the schema has"),
            ({"tables": [table, {**table, "name": "robots"}]}, "robots"),
            ({"tables": [{**table, "columns": [*table["columns"], "shoes"]}]}, "shoes"),
            ({"tables": [{**table, "columns": table["columns"][1:]}]}, "but the schema has"),
            ({"tables": [{**table, "rows": -1}]}, "its header is incomplete"),
            ({"tables": [{"name": "users"}]}, "its header is incomplete"),
        ]
        for changes, reason in cases:
            self.write([{**header, **changes}, *rows])
            with self.subTest(changes):
                self.refused(reason)

    def test_more_rows_than_lines_is_a_file_that_ends_early(self):
        header, *rows = self.lines()[:-1]
        users = next(table for table in header["tables"] if table["name"] == "users")
        users["rows"] = 10**18
        for content in [self.content_of(header), self.content_of(header, *rows)]:
            self.path.write_bytes(gzip.compress(content))
            with self.subTest(lines=content.count(b"\n")):
                self.refused("is not a valid backup: it is truncated")

    def test_lines_without_end_are_refused_before_they_take_memory(self):
        header = self.lines()[0]
        header["tables"][0]["rows"] = 1000
        size = 64 * 2**20
        for start, reason in [
            (b"", "its header is longer than 65,536 bytes"),
            (self.content_of(header), r"a row of \w+ is longer than [\d,]+ bytes"),
        ]:
            with gzip.open(self.path, "wb") as file:
                file.write(start)
                for _ in range(3):
                    file.write(b"[" + b" " * size + b"\n")
            tracemalloc.start()
            with self.subTest(reason):
                self.refused(reason)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

            self.assertLess(peak, 16 * 2**20)

    def test_batches_are_bounded_by_their_bytes_too(self):
        with mock.patch.object(archive, "BYTES_PER_BATCH", 1):
            batches = [rows for table, rows in backup._reader(self.path, "Checking") if rows]

        self.assertEqual([len(rows) for rows in batches], [1] * 3)

    def test_longest_row_of_each_table_fits_its_line(self):
        for table in backup._tables():
            widest = {
                column.name: "\x00" * archive._max_length(column) or datetime.max
                for column in table.columns
            }
            with self.subTest(table.name):
                line = archive._line(tuple(widest.values()))
                self.assertLessEqual(len(line), archive.max_line_bytes(table.columns))

    def test_rows_that_do_not_fit_are_refused(self):
        header, *rows = self.lines()[:-1]
        users = next(table for table in header["tables"] if table["name"] == "users")
        place = users["columns"].index("updated_at")
        before, after = rows[0][:place], rows[0][place + 1 :]
        for row in [[], rows[0][:-1], [*before, "soon", *after], [*before, 7, *after], 7]:
            self.write([header, row, *rows[1:]])
            with self.subTest(row):
                self.refused("is not a valid backup: ")

    def test_rows_that_the_database_refuses_change_nothing(self):
        header, *rows = self.lines()[:-1]
        self.write([header, rows[0], *rows[:-1]])

        self.refused("Database error: ")

    def test_values_of_the_wrong_type_are_refused(self):
        self.add_key(make_user(), "robot")
        self.back_up()
        header, *rows = self.lines()[:-1]
        ends = accumulate(table["rows"] for table in header["tables"])
        for table, end in zip(header["tables"], ends, strict=True):
            for place, column in enumerate(table["columns"] if table["rows"] else []):
                for value in [[7], {}, 2**64 - 1, 1e300]:
                    row = [*rows[end - 1][:place], value, *rows[end - 1][place + 1 :]]
                    self.write([header, *rows[: end - 1], row, *rows[end:]])
                    with self.subTest(table["name"], column=column, value=value):
                        self.refused("")

    def test_file_that_changes_after_the_check_changes_nothing(self):
        header, *rows = self.lines()[:-1]
        delete = sa.delete

        def delete_and_spoil(table):
            self.path.write_bytes(self.content[:-20])
            return delete(table)

        with mock.patch.object(sa, "delete", delete_and_spoil):
            self.refused("is not a valid backup: ")


class RefusedDatabaseTests(BackupTestCase):
    """Databases that are left as they are."""

    def test_database_that_holds_users_is_not_replaced_unasked(self):
        make_user()
        self.back_up()

        with self.assertRaisesRegex(BackupError, "contains data. To replace it, use --yes."):
            backup.restore(self.path)

        self.assertEqual(len(self.rows()), 1)

    def test_database_at_another_revision_is_refused(self):
        self.back_up()
        make_user()
        with db.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM alembic_version"))
        self.addCleanup(flask_migrate.stamp)

        with self.assertRaisesRegex(
            BackupError, f"at revision base, and this code requires {head_revision()}: "
        ):
            backup.restore(self.path)

    def test_database_that_lacks_tables_is_refused(self):
        self.back_up()
        db.drop_all()

        with self.assertRaisesRegex(
            BackupError, "are missing: administrator_guard, api_keys, .* `manage.py recreate_db`"
        ):
            backup.restore(self.path)

        self.printed(database.recreate_db)

    def test_interrupted_restore_leaves_what_was_there(self):
        make_users(25)
        self.back_up()
        make_user()
        before = self.rows()
        insert = mock.Mock(side_effect=[sa.insert(User.__table__), KeyboardInterrupt])

        with (
            mock.patch.object(archive, "ROWS_PER_BATCH", 10),
            mock.patch.object(sa, "insert", insert),
            self.assertRaises(KeyboardInterrupt),
        ):
            backup.restore(self.path, replace=True)

        self.assertEqual(self.rows(), before)
        make_user()  # nothing is locked


class CommandLineTests(BackupTestCase):
    """manage.py backup and restore."""

    def test_backup_and_restore_say_what_they_did(self):
        make_users(1200)

        saved = self.manage("backup", str(self.path))
        restored = self.manage("restore", "--yes", str(self.path))

        for result, done in [(saved, "Wrote and verified"), (restored, "Restored")]:
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertRegex(
                result.stdout,
                r"users: 1,200 rows\n(?:\w+: 0 rows(?:, not restored: [\w ]+\.)?\n)*"
                rf"{done} {self.path} \([\d.]+kB\) in [\d.]+ s\.\n$",
            )
        self.assertEqual(len(self.rows()), 1200)

    def test_restore_says_what_became_of_sessions_and_which_keys_came(self):
        user = make_user(email="boss@example.com")
        self.add_key(user, "robot\x1b[2J")
        with mock.patch.object(backups, "SHOWN_KEYS", 1):
            alone = self.restored()
            for name in ["second", "third"]:
                self.add_key(user, name)
            all_three = self.restored()

        keys = "API keys in the backup, which are as valid as before:\n  key_12345678 "
        for printed in [alone, all_three]:
            self.assertIn(
                "\nsessions: 0 rows, not restored: everybody has to sign in again.\n", printed
            )
            self.assertIn(keys + r"robot\x1b[2J boss@example.com", printed)
        self.assertNotIn(" more", alone)
        self.assertIn("\n  and 2 more\n", all_three)

    def restored(self) -> str:
        """Return what restore prints of a backup that it has made."""
        self.back_up()
        return self.printed(backups.restore, str(self.path), True)

    def test_backup_goes_to_standard_output_and_comes_from_standard_input(self):
        make_users(3)

        saved = self.manage("backup", "-", text=False)
        self.path.write_bytes(saved.stdout)
        make_user()
        with self.path.open("rb") as file:
            refused = self.manage("restore", "-", stdin=file)
        with self.path.open("rb") as file:
            restored = self.manage("restore", "-", "--yes", stdin=file)

        self.assertEqual(saved.returncode, 0, saved.stderr)
        self.assertIn(b"Wrote and verified standard output (", saved.stderr)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("contains data. To replace it, use --yes.\n", refused.stderr)
        self.assertEqual(restored.returncode, 0, restored.stderr)
        self.assertIn("Restored standard input (", restored.stdout)
        self.assertEqual(len(self.rows()), 3)
        self.assertFalse((ROOT / "-").exists())

    def test_what_is_no_backup_on_standard_input_is_refused(self):
        for text, reason in [("", "it is empty"), ("mine", "Not a gzipped file")]:
            result = self.manage("restore", "-", stdin=None, input=text)

            self.assertEqual(result.returncode, 1)
            self.assertIn(f"standard input is not a valid backup: {reason}", result.stderr)
            self.assertNotIn("Traceback", result.stderr)

    def test_terminal_is_no_place_for_a_backup(self):
        keyboard, terminal = pty.openpty()
        self.addCleanup(os.close, keyboard)
        self.addCleanup(os.close, terminal)
        for command in ["backup", "restore"]:
            with self.subTest(command):
                streams: dict[str, Any] = {
                    "stdin": terminal,
                    "stdout": terminal,
                    "stderr": subprocess.PIPE,
                }
                result = self.manage(command, "-", capture_output=False, **streams)

                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr, r"^Standard (out|in)put is a terminal: [^\n]+\n$")

    def test_standard_output_that_takes_nothing_is_named(self):
        make_user()
        with open("/dev/full", "wb") as full:
            streams: dict[str, Any] = {"stdout": full, "stderr": subprocess.PIPE}
            result = self.manage("backup", "-", capture_output=False, **streams)

        self.assertEqual(result.returncode, 1)
        self.assertEqual(
            result.stderr, "standard output cannot be written: No space left on device.\n"
        )
        self.assertNotIn("Traceback", result.stderr)

    def test_what_is_no_backup_is_refused_before_the_question(self):
        make_user()
        self.path.write_text("mine")
        for name, reason in [("nowhere", "No such file"), (self.path.name, "Not a gzipped file")]:
            with (
                self.subTest(name),
                mock.patch("sys.stdin.isatty", return_value=True, create=True),
                mock.patch("builtins.input", side_effect=AssertionError),
                self.assertRaisesRegex(SystemExit, reason),
            ):
                backups.restore(str(self.folder / name))

    def test_restore_without_a_terminal_keeps_data(self):
        make_user()
        self.back_up()

        result = self.manage("restore", str(self.path))

        self.assertEqual(result.returncode, 1)
        self.assertIn("contains data. To replace it, use --yes.\n", result.stderr)

    def test_restore_on_a_terminal_asks(self):
        make_user()
        self.back_up()
        make_user()
        with mock.patch("sys.stdin.isatty", return_value=True, create=True):
            with mock.patch("builtins.input", return_value="n") as question:
                with self.assertRaisesRegex(SystemExit, "Nothing was changed."):
                    backups.restore(str(self.path))
            self.assertRegex(
                question.call_args.args[0], r" contains data\. Replace it all\? \[y/N\]"
            )
            self.assertEqual(len(self.rows()), 2)
            with mock.patch("builtins.input", return_value="y"):
                self.printed(backups.restore, str(self.path))

        self.assertEqual(len(self.rows()), 1)
        self.assertTrue(service.has_users())

    def test_what_is_refused_is_one_line_and_exit_code_1(self):
        self.path.write_text("mine")
        for arguments, reason in [
            (["backup", str(self.path)], "already exists"),
            (["restore", str(self.path)], "Not a gzipped file"),
            (["restore", str(self.folder)], "Is a directory"),
            (["restore", str(self.folder / "nowhere")], "No such file"),
        ]:
            with self.subTest(arguments):
                result = self.manage(*arguments)

                self.assertEqual(result.returncode, 1)
                self.assertIn(reason, result.stderr)
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

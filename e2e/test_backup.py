"""A backup moves a SQLite installation to MariaDB and back, with nothing lost or changed."""

import gzip
import json
import tempfile
import unittest
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from e2e.processes import manage, mariadb
from project import db
from project.api.models import Group, GroupMember, User

ODD = [
    ("𝔘𝔫𝔦 👩‍👩‍👧 é", "Zoë@bücher.example"),
    ('"quoted"\\\'\t\r\n\u2028 ', "o'neil@example.com"),
    ("x" * 128, "ı@example.com"),
]


class MoveTests(unittest.TestCase):
    """From SQLite to MariaDB to another SQLite file."""

    def test_users_move_from_sqlite_to_mariadb_and_back(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        databases = [
            f"sqlite:///{folder}/first.db",
            self.enterContext(mariadb()),
            f"sqlite:///{folder}/last.db",
        ]
        files = [str(folder / f"{number}.backup") for number in range(3)]
        manage("recreate_db", DATABASE_URL=databases[0])
        manage("seed_db", "--count", "3000", DATABASE_URL=databases[0])
        self.change(databases[0])

        manage("backup", files[0], DATABASE_URL=databases[0])
        for number in (1, 2):
            manage("restore", files[number - 1], DATABASE_URL=databases[number])
            manage("backup", files[number], DATABASE_URL=databases[number])

        first = self.content(files[0])
        tables = {table["name"]: table for table in first[0]["tables"]}
        self.assertEqual(tables["users"]["rows"], 3000 - 2 + len(ODD))
        self.assertEqual(tables["users"]["next_id"], 3000 + len(ODD) + 1)
        self.assertEqual(tables["audit_events"]["rows"], 1)
        self.assertEqual(tables["group_members"]["rows"], 3)
        self.assertEqual(self.content(files[1]), first)
        self.assertEqual(self.content(files[2]), first)
        self.assertEqual(self.rows(databases[1]), self.rows(databases[0]))
        self.assertEqual(self.rows(databases[2]), self.rows(databases[0]))

    def change(self, url: str) -> None:
        """Add odd users, and take away one in the middle and the last."""
        engine = sa.create_engine(url)
        with Session(engine) as session:
            signed_in = {"role": "editor", "last_sign_in_at": datetime(2026, 11, 24, 8, 30)}
            session.add_all(
                User(username=username, email=email, active=True, **signed_in)
                for username, email in ODD
            )
            session.execute(sa.delete(User).where(User.id.in_([17, 3000 + len(ODD)])))
            group = Group(display_name="Größe 👩‍👩‍👧", display_name_folded="grösse 👩‍👩‍👧")
            session.add(group)
            session.flush()
            session.add_all(GroupMember(group_id=group.id, user_id=each) for each in (1, 2, 99))
            session.commit()
        engine.dispose()

    def content(self, file: str) -> list[Any]:
        """Return the lines without the time of the backup, and the digest that depends on it.

        And without the next ids that SQLite does not remember.
        """
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            header, *rows, _trailer = map(json.loads, lines)
        del header["created_at"]
        for table in header["tables"]:
            if not db.metadata.tables[table["name"]].dialect_options["sqlite"]["autoincrement"]:
                del table["next_id"]
        return [header, *rows]

    def rows(self, url: str) -> list[Any]:
        """Return the users that a database holds, as the driver gives them."""
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execute(sa.select(User.__table__).order_by(User.id)).all()
        engine.dispose()
        return [tuple(row) for row in rows]

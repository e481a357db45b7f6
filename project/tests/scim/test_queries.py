"""No SELECT scans or sorts a table: the databases are asked for their plans."""

from typing import Any

from sqlalchemy import text

from project import db
from project.api.scim import places
from project.api.scim import user_queries as users
from project.tests.factories import make_users
from project.tests.plans import explain
from project.tests.scim.base import SCIMTestCase

START = {"start": "many-1", "end": "many-2", "limit": 5}
VALUES = {"values": ["a@example.com", "b@example.com"]}
PLACE = {"listing": "users key:1", "start": 101}
SELECTS: list[tuple[Any, dict[str, Any]]] = [
    (users._PAGE, {"after": 5, "limit": 100}),
    (users.IN_ORDER._skip, {"after": 5, "skipped": 50}),
    (users.BY_ID, {"user_id": 5}),
    (users._BY_IDS, {"values": [1, 2]}),
    (users._BY_EXTERNAL_IDS, {**VALUES, "limit": 5}),
    (users._BY_EMAILS, VALUES),
    (users._BY_NAMES, VALUES),
    (users._BY_NAME_START, START),
    (users._BY_USERNAME_START, START),
    (places._NEAREST, PLACE),
]
TABLES = ("users", "scim_users", "scim_emails", "scim_places")


class PlanTests(SCIMTestCase):
    """What the database plans with 3,000 users, most of whom SCIM knows."""

    def setUp(self) -> None:
        super().setUp()
        make_users(3000)
        for sql in (
            "INSERT INTO scim_users SELECT id, email, email_folded, id, '{}' FROM users"
            " WHERE id > 1000",
            "INSERT INTO scim_emails SELECT email_folded, id FROM users WHERE id > 1000",
        ):
            db.session.execute(text(sql))
        is_sqlite = db.engine.dialect.name == "sqlite"
        db.session.execute(text("ANALYZE" if is_sqlite else f"ANALYZE TABLE {', '.join(TABLES)}"))
        db.session.commit()

    def test_no_select_scans_or_sorts_a_table(self):
        for statement, parameters in SELECTS:
            with self.subTest(str(statement)[-300:], **parameters):
                plan = [" ".join(map(str, row)) for row in explain(statement, parameters)]

                self.assertEqual([step for step in plan if self.is_fault(step)], [])

    def is_fault(self, step: str) -> bool:
        """Return whether a step reads a whole table, or sorts."""
        if any(word in step for word in ("TEMP B-TREE", "filesort", "temporary")):
            return True
        names = [f" {table} {way} " for table in TABLES for way in ("ALL", "index")]
        scans = [f"SCAN {table}" for table in TABLES]
        return any(each in f"{step} " for each in (*names, *scans))

"""The imports of the pages: who works on one, and when it is forgotten."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from project import db
from project.api.models import Import, ImportChange
from project.api.transfer import imports, uploads
from project.api.transfer.imports import InUse, LeaseLost
from project.clock import utcnow
from project.database import in_transaction, write
from project.tests.base import BaseTestCase

ID = "0" * 32


class ImportsTestCase(BaseTestCase):
    """Has an import."""

    def setUp(self) -> None:
        super().setUp()
        imports.commit_import(ID, "people.csv", 9)

    def change(self, **values: Any) -> None:
        db.session.execute(update(Import).values(**values))
        db.session.commit()


class LeaseTests(ImportsTestCase):
    """One thread at a time works on an import."""

    def test_import_that_runs_cannot_be_claimed(self):
        imports.commit_claim(ID, "running", ["waiting"])

        with self.assertRaises(InUse):
            imports.commit_claim(ID, "running", ["waiting"])

    def test_import_whose_thread_is_gone_can_be_claimed(self):
        first = imports.commit_claim(ID, "running", ["waiting"])
        self.assertFalse(imports.is_stopped(imports.get_import(ID)))
        self.change(beat_at=utcnow() - timedelta(seconds=imports.LEASE_SECONDS))
        self.assertTrue(imports.is_stopped(imports.get_import(ID)))

        second = imports.commit_claim(ID, "running", ["waiting"])

        with self.assertRaises(LeaseLost):
            in_transaction(imports.save)(first, progress=3)
        in_transaction(imports.save)(second, progress=5)
        self.assertEqual(imports.get_import(ID).progress, 5)

    def test_what_a_thread_without_lease_writes_is_rolled_back(self):
        lease = imports.commit_claim(ID, "running", ["waiting"])
        self.change(runner="another")

        def work() -> None:
            write(insert(ImportChange.__table__), self.entry(1))
            imports.save(lease)

        with self.assertRaises(LeaseLost):
            in_transaction(work)()

        self.assertEqual(self.count(ImportChange), 0)

    def test_import_that_has_begun_cannot_be_changed_or_removed(self):
        imports.commit_claim(ID, "running", ["waiting"])

        with self.assertRaises(InUse):
            imports.commit_options(ID, imports.Options())
        with self.assertRaises(InUse):
            imports.commit_removal(ID)

    def entry(self, user_id: int) -> dict[str, Any]:
        return {"import_id": ID, "user_id": user_id, "kind": "created", "version": 1}

    def count(self, table: Any) -> int:
        return db.session.scalar(select(func.count()).select_from(table)) or 0

    def test_old_imports_are_forgotten_piece_by_piece(self):
        entries = [self.entry(user_id) for user_id in range(5)]
        db.session.execute(insert(ImportChange), entries)
        db.session.commit()
        remove = in_transaction(imports.remove_expired)
        self.assertEqual(remove(3), 0)
        self.change(created_at=utcnow() - timedelta(days=uploads.DAYS_LISTED))

        self.assertEqual([remove(3) for _ in range(4)], [3, 2, 1, 0])

        self.assertEqual([self.count(table) for table in (Import, ImportChange)], [0, 0])

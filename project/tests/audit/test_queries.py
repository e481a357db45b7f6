"""No SELECT of the trail scans or sorts it: the databases are asked for their plans."""

from datetime import datetime, timedelta
from itertools import compress, product

from sqlalchemy import insert, text

from project import db
from project.api.audit import queries
from project.api.models import AuditEvent
from project.tests.base import BaseTestCase
from project.tests.plans import explain, faults

EVENTS = 50_000
START = datetime(2026, 1, 1)
PARAMETERS = {
    "limit": 21,
    "user_id": 3,
    "actor": "user:1",
    "action": "user.updated",
    "since": START + timedelta(seconds=EVENTS // 2),
    "until": START + timedelta(seconds=EVENTS * 3 // 4),
    "key": START + timedelta(seconds=EVENTS // 2 + 500),
    "key_id": EVENTS // 2,
}


class PlanTests(BaseTestCase):
    """What the database plans for each combination of filters."""

    def setUp(self) -> None:
        super().setUp()
        with db.engine.begin() as connection:
            rows = [
                {
                    "created_at": START + timedelta(seconds=number),
                    "actor": f"user:{number % 7}",
                    "action": ("user.updated", "key.used", "session.started")[number // 100 % 3],
                    "user_id": number % 100,
                }
                for number in range(EVENTS)
            ]
            connection.execute(insert(AuditEvent), rows)
            sqlite = db.engine.dialect.name == "sqlite"
            connection.execute(text("ANALYZE" if sqlite else "ANALYZE TABLE audit_events"))

    def test_each_select_reads_the_index_of_its_filters_and_sorts_nothing(self):
        for chosen in product([False, True], repeat=7):
            *wanted, after, oldest_first = chosen
            names = [*queries.EQUAL, "since", "until"]
            filters = frozenset(compress(names, wanted))
            with self.subTest(filters=filters, after=after, oldest_first=oldest_first):
                statement = queries.page(filters, after, oldest_first)
                leading = [name for name in queries.EQUAL if name in filters][:2]
                index = "_".join(["ix_audit_events", *leading, "created_at_id"])

                self.assertEqual(faults(statement, PARAMETERS), [])
                sqlite = db.engine.dialect.name == "sqlite"
                [step] = explain(statement, PARAMETERS)
                self.assertIn(index, step.detail if sqlite else step.key)

    def test_what_is_old_is_a_range_of_an_index(self):
        parameters = {"before": START + timedelta(hours=1), "limit": 10}

        self.assertEqual(faults(queries.OLDER, parameters), [])

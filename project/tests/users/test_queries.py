"""No SELECT of users scans or sorts the table: the databases are asked for their plans."""

from datetime import datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import Select, insert, text

from project import db
from project.api.models import User
from project.api.transfer import importing
from project.api.users import queries, word_index
from project.tests.base import BaseTestCase
from project.tests.plans import faults

USERS = 100_000
SORTS: list[str] = [
    sign + name
    for name in ("id", "created_at", "username", "email", "last_sign_in_at")
    for sign in ("", "-")
]
PARAMETERS: dict[str, Any] = {
    "limit": 21,
    "user_id": 500,
    "ids": [1, 500, 70_000],
    "active": True,
    "role": "admin",
    "email_folded": "user00500@example.com",
    "key_id": 500,
    "exact_name": "user00500",
    "exact_email": "user00500@example.com",
    "from_0": "user005",
    "to_0": "user006",
    "from_1": "com",
    "to_1": "con",
}
KEYS = {
    "id": 500,
    "created_at": datetime(2026, 1, 1, 0, 8, 20),
    "last_sign_in_at": datetime(2026, 1, 1, 0, 8, 20),
    "username": "user00500",
    "email": "user00500@example.com",
}


class PlanTests(BaseTestCase):
    """What the database plans for each combination of order and filters."""

    def setUp(self) -> None:
        super().setUp()
        start = datetime(2026, 1, 1)
        with db.engine.begin() as connection:
            for first in range(0, USERS, 10_000):
                rows = [
                    {
                        "username": f"User{number:05}",
                        "username_folded": f"user{number:05}",
                        "email": f"user{number:05}@example.com",
                        "email_folded": f"user{number:05}@example.com",
                        "active": number % 2 == 0,
                        "role": "admin" if number % 1000 == 0 else None,
                        "created_at": start + timedelta(seconds=number),
                        "updated_at": start,
                        "last_sign_in_at": start + timedelta(seconds=number)
                        if number % 10 < 7
                        else None,
                    }
                    for number in range(first, first + 10_000)
                ]
                connection.execute(insert(User), rows)
                named = (
                    word_index.names_in({**row, "id": first + place})
                    for place, row in enumerate(rows, 1)
                )
                word_index.add(named, connection)
            sqlite = db.engine.dialect.name == "sqlite"
            connection.execute(text("ANALYZE" if sqlite else "ANALYZE TABLE users, user_words"))

    def test_no_select_scans_or_sorts_the_table(self):
        for name, statement, parameters in self.selects():
            with self.subTest(name):
                self.assertEqual(faults(statement, parameters), [])

    def selects(self) -> list[tuple[str, Select[Any], dict[str, Any]]]:
        """Return every SELECT but the counts, with a name and what fills it in."""
        rendered = ("json", "version")
        found: list[tuple[str, Select[Any], dict[str, Any]]] = [
            ("one", queries.by_id(), PARAMETERS),
            ("one, rendered", queries.by_id(rendered), PARAMETERS),
            ("some", queries.by_ids(), PARAMETERS),
            ("some, to import", importing.BY_IDS, PARAMETERS),
            ("the last id", queries.LAST_ID, {}),
        ]
        roles = ((), ("role",), ("no_role",))
        for active, email, role, after in product(
            ((), ("active",)), ((), ("email_folded",)), roles, [False, True]
        ):
            filters = (*active, *email, *role)
            name = f"{' '.join(filters)} after={after}"
            parameters = PARAMETERS | ({"no_role": None} if "no_role" in role else {})
            for sort in SORTS:
                filled = parameters | {"key": KEYS[sort.removeprefix("-")]}
                statement = queries.page(rendered, sort, filters, after)
                found.append((f"{sort} {name}", statement, filled))
                if sort.endswith("last_sign_in_at"):
                    for nulls in (False, True):
                        key = {"key": None} if nulls else {}
                        statement = queries.page(rendered, sort, filters, after, nulls=nulls)
                        found.append((f"{sort} {name} {nulls=}", statement, filled | key))
            part = "username" if after else "email"
            statement = queries.page(rendered, part, filters, after, part)
            found.append((f"search {part} {name}", statement, parameters))
            for words in (1, 2):
                for start, end in (("user005", "user006"), ("com", "con"), ("nobody", "nobodz")):
                    filled = parameters | {"key": start, "from_0": start, "to_0": end}
                    statement = queries.search(rendered, filters, after, words)
                    found.append((f"search {words} from {start} {name}", statement, filled))
        return found

    def test_near_search_reads_only_the_first_words(self):
        for filters, words in product(((), ("active",), ("active", "role")), (1, 2)):
            parameters = PARAMETERS | {"from_0": "com", "to_0": "con"}
            statement = queries.search(("json",), filters, False, words, near=True)
            with self.subTest(filters, words=words):
                self.assertEqual(
                    [fault for fault in faults(statement, parameters) if not may_sort(fault)], []
                )

    def test_search_among_few_users_reads_only_these(self):
        for words, after, role in product((1, 2), (False, True), ("role", "no_role")):
            filters = ("role",) if role == "role" else ("active", "no_role")
            parameters = PARAMETERS | {"key": "com", "from_0": "com", "to_0": "con"}
            parameters |= {"no_role": None} if role == "no_role" else {}
            statement = queries.search_among(("json",), filters, after, words)
            with self.subTest(words, after=after, role=role):
                self.assertEqual(
                    [fault for fault in faults(statement, parameters) if not may_sort(fault)], []
                )


def may_sort(fault: str) -> bool:
    """Return whether a step of a plan only sorts, or holds, the users who pass the filters."""
    held = (
        "'among'",
        "'page'",
        "<derived",
        "SCAN among",
        "SCAN page",
        "SCAN near",
        "USE TEMP B-TREE",
    )
    sorts = "filesort" in fault and "'users'" in fault and "'ref'" in fault
    return sorts or any(mark in fault for mark in held)

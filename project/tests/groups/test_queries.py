"""No SELECT of groups scans or sorts a table: the databases are asked for their plans."""

from itertools import product

from sqlalchemy import insert, text

from project import db
from project.api.groups import queries
from project.api.models import Group, GroupMember
from project.api.users import queries as user_queries
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_users
from project.tests.plans import faults

GROUPS = 2000
USERS = 2000


class PlanTests(BaseTestCase):
    """What the database plans."""

    def setUp(self) -> None:
        super().setUp()
        make_users(USERS)
        ids = [user.id for user in all_users()]
        names = [f"group {number:04}" for number in range(GROUPS)]
        rows = [
            {"display_name": name, "display_name_folded": name, "external_id": name}
            for name in names
        ]
        db.session.execute(insert(Group), rows)
        members = [{"group_id": 500, "user_id": user_id} for user_id in ids]
        members += [
            {"group_id": group_id, "user_id": user_id}
            for group_id in range(1, GROUPS + 1, 3)
            if group_id != 500
            for user_id in ids[:10]
        ]
        db.session.execute(insert(GroupMember), members)
        sqlite = db.engine.dialect.name == "sqlite"
        tables = "`groups`, group_members, users"
        db.session.execute(text("ANALYZE" if sqlite else f"ANALYZE TABLE {tables}"))
        db.session.commit()

    def test_no_select_scans_or_sorts_a_table(self):
        values = {
            **{"limit": 21, "group_id": 500, "of_group": 500, "group": 500, "user_id": 7},
            **{"key": 500, "key_id": 500, "after": 500, "last": 600, "ids": [3, 500, 900]},
            **{"display_name": "group 0500", "external_id": "group 0500"},
            **{"start": "group 05", "end": "group 06", "number": 900},
            "email_folded": all_users()[6].email,
        }
        statements = {
            "one": queries.BY_ID,
            "some": queries.BY_IDS,
            "by the start of the name": queries.BY_NAME_START,
            "known users": queries.KNOWN_USERS,
            "members": queries.MEMBER_IDS,
            "member beyond": queries.MEMBER_BEYOND,
            "members among": queries.MEMBER_IDS_AMONG,
            "members of": queries.MEMBERS_OF,
            "groups of": queries.GROUPS_OF,
            "exported groups": queries.EXPORTED_GROUPS,
            "exported members": queries.EXPORTED_MEMBERS,
            "of a user": queries.page_of_user(False),
            "of a user, later": queries.page_of_user(True),
        }
        for sort, after in product(("id", "-id"), (False, True)):
            for others in ((), ("email_folded",)):
                page = user_queries.page(("json",), sort, ("group", *others), after)
                statements[f"users {sort} {others} {after}"] = page
        for name, statement in statements.items():
            with self.subTest(name):
                self.assertEqual(faults(statement, values), [])
        for sort, after in product(("id", "display_name"), (False, True)):
            for sign, filters in product(("", "-"), ((), ("display_name",), ("external_id",))):
                if filters == ("external_id",) and sort != "id":
                    continue
                key = {"key": "group 0500"} if sort == "display_name" else {}
                statement = queries.page(f"{sign}{sort}", filters, after)
                with self.subTest(f"groups {sign}{sort} {filters} {after}"):
                    self.assertEqual(faults(statement, values | key), [])
        found = {"key": "group 0500", "from": "group 05", "to": "group 06"}
        for after in (False, True):
            with self.subTest(f"groups by the start of the name {after}"):
                statement = queries.page("display_name", ("q",), after)
                self.assertEqual(faults(statement, values | found), [])

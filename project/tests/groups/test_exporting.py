"""Export of groups and their members."""

import csv
import io
from unittest import mock

import orjson

from project.api.groups import exporting
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_group, make_user, make_users

HEADER = "group_id,display_name,external_id,user_id,username,email\r\n"


class ExportTests(BaseTestCase):
    """GET /groups/export."""

    def rows(self, query: str = "") -> list[list[str]]:
        """Return the rows of a CSV without its header."""
        response = self.client.get(f"/groups/export?{query}")
        self.assertEqual(response.status_code, 200)
        return list(csv.reader(io.StringIO(response.text)))[1:]

    def test_each_member_is_a_row_and_so_is_a_group_without_any(self):
        make_user(username="Ada", email="ada@example.com")
        make_user(username='Bob "B", é', email="bob@example.com")
        make_group("=Empty")
        make_group("Research", 1, 2, external_id="x")
        make_group("Last")

        response = self.client.get("/groups/export")

        self.assertEqual(response.headers["Content-Type"], "text/csv; charset=utf-8")
        self.assertIn('filename="groups.csv"', response.headers["Content-Disposition"])
        self.assertEqual(
            response.text,
            HEADER + "1,=Empty,,,,\r\n2,Research,x,1,Ada,ada@example.com\r\n"
            '2,Research,x,2,"Bob ""B"", é",bob@example.com\r\n3,Last,,,,\r\n',
        )
        safe = self.client.get("/groups/export?safe=true&bom=true").text
        self.assertEqual(safe.split("\r\n")[:2], ["\ufeff" + HEADER.strip(), "1,'=Empty,,,,"])
        lines = self.client.get("/groups/export?format=ndjson")
        self.assertEqual(lines.headers["Content-Type"], "application/x-ndjson")
        first, second, *_ = map(orjson.loads, lines.text.splitlines())
        self.assertEqual(
            first,
            {
                **{"group_id": 1, "display_name": "=Empty", "external_id": None},
                **{"user_id": None, "username": None, "email": None},
            },
        )
        self.assertEqual((second["user_id"], second["email"]), (1, "ada@example.com"))

    def test_without_groups_there_is_only_the_header(self):
        self.assertEqual(self.client.get("/groups/export").text, HEADER)
        self.assertEqual(self.client.get("/groups/export?format=ndjson").text, "")

    def test_all_parts_are_in_order_however_small_they_are(self):
        make_users(7)
        ids = [user.id for user in all_users()]
        expected = []
        for number, members in enumerate([[], ids, ids[:1], [], [], ids[3:], []], 1):
            make_group(f"g{number}", *members)
            expected += [[str(number), str(each)] for each in members or [""]]
        for size in (1, 2, 3, 7, 100):
            with self.subTest(size), mock.patch.object(exporting, "ROWS_PER_CHUNK", size):
                self.assertEqual([[row[0], row[3]] for row in self.rows()], expected)

    def test_wrong_parameters_and_methods_are_refused(self):
        for query in ("format=xlsx", "active=true", "bom=1"):
            self.assertEqual(self.client.get(f"/groups/export?{query}").status_code, 400)
        for method in ("POST", "PATCH", "DELETE"):
            response = self.client.open("/groups/export", method=method)
            self.assertEqual(response.status_code, 405)
            self.assertEqual(set(response.allow), {"GET", "HEAD", "OPTIONS"})
        self.assertEqual(self.client.head("/groups/export").status_code, 200)

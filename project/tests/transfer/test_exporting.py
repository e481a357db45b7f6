"""Export: the lines of all users, of which an import makes the same users again."""

import csv
import zipfile
from datetime import datetime
from io import BytesIO, StringIO
from types import SimpleNamespace
from typing import Any
from unittest import mock

import orjson
from python_calamine import CalamineWorkbook
from sqlalchemy import update

from project import database, db
from project.api.models import User
from project.api.transfer import exporting, workbook
from project.api.transfer.columns import Columns
from project.api.transfer.exporting import Layout, export_users
from project.api.transfer.importing import import_users
from project.api.transfer.row_reader import read_rows
from project.api.transfer.row_rules import importable_fields
from project.api.transfer.stream import Source
from project.api.users import service
from project.tests.base import BaseTestCase
from project.tests.factories import make_user, make_users
from project.tests.wire import recorded_commands

ODD = ["", '"', 'a "b" c', "a,b;c", "\\", "/", "'", "%s %(x)s", "é😀", " "]
ODD += ["tab\tnl\ncr\r\x01\x1f\x7f\u2028"]


def content(form: str) -> bytes:
    """Return a whole export."""
    return b"".join(chunk.data for chunk in export_users(Layout(form)))


def sheets(*layout: Any) -> dict[str, list[list[Any]]]:
    """Return the rows of each sheet of a whole export to Excel."""
    data = b"".join(chunk.data for chunk in export_users(Layout("xlsx", *layout)))
    book = CalamineWorkbook.from_filelike(BytesIO(data))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


class ExportTests(BaseTestCase):
    """The lines of both forms."""

    def test_lines_are_what_both_forms_say(self):
        then, later = datetime(1999, 12, 31, 23, 59, 59), datetime(2026, 11, 23, 15, 12, 58)
        make_user(username='Ada "A"', email="ada@example.com", created_at=then, updated_at=later)
        make_user(
            username="Bö",
            email="bö@example.com",
            active=True,
            created_at=then,
            role="editor",
            last_sign_in_at=later,
        )

        self.assertEqual(
            content("csv").decode(),
            "id,username,email,active,created_at,updated_at,role,last_sign_in_at\r\n"
            '1,"Ada ""A""","ada@example.com",false,1999-12-31T23:59:59Z,2026-11-23T15:12:58Z,,\r\n'
            '2,"Bö","bö@example.com",true,1999-12-31T23:59:59Z,1999-12-31T23:59:59Z'
            ',"editor",2026-11-23T15:12:58Z\r\n',
        )
        self.assertEqual(
            content("ndjson").decode(),
            '{"id":1,"username":"Ada \\"A\\"","email":"ada@example.com","active":false,'
            '"created_at":"1999-12-31T23:59:59Z","updated_at":"2026-11-23T15:12:58Z",'
            '"role":null,"last_sign_in_at":null}\n'
            '{"id":2,"username":"Bö","email":"bö@example.com","active":true,'
            '"created_at":"1999-12-31T23:59:59Z","updated_at":"1999-12-31T23:59:59Z",'
            '"role":"editor","last_sign_in_at":"2026-11-23T15:12:58Z"}\n',
        )

    def test_text_of_any_kind_comes_back_from_both_forms_and_from_lists(self):
        ids = [
            make_user(username=text, email=f"u{number}@example.com").id
            for number, text in enumerate(ODD)
        ]
        expected = [self.client.get(f"/users/{user_id}").json["data"] for user_id in ids]
        self.assertEqual([user["username"] for user in expected], ODD)

        table = list(csv.DictReader(StringIO(content("csv").decode(), newline=""), strict=True))
        objects = [orjson.loads(line) for line in content("ndjson").splitlines()]

        self.assertEqual(objects, expected)
        self.assertEqual(self.client.get("/users").json["data"]["users"], expected)
        self.assertEqual(
            table,
            [
                {name: "" if value is None else str(value) for name, value in user.items()}
                | {"active": str(user["active"]).lower()}
                for user in expected
            ],
        )

    def test_export_of_no_users_is_a_header_or_nothing(self):
        header = b"id,username,email,active,created_at,updated_at,role,last_sign_in_at\r\n"
        self.assertEqual(content("csv"), header)
        self.assertEqual(content("ndjson"), b"")

    def test_chunks_are_of_equal_size_and_one_select_each(self):
        for count, sizes in [(6, [3, 3, 0]), (7, [3, 3, 1])]:
            with self.subTest(count):
                make_users(count - len(service.list_users(9)))
                list(export_users(Layout("csv")))  # the connection is there
                with recorded_commands() as commands:
                    with mock.patch.object(exporting, "ROWS_PER_CHUNK", 3):
                        chunks = list(export_users(Layout("csv")))

                self.assertEqual([chunk.rows for chunk in chunks], sizes)
                self.assertEqual([command.split()[0] for command in commands], ["SELECT"] * 3)
        self.assertEqual(b"".join(chunk.data for chunk in chunks), content("csv"))

    def test_chunk_of_lines_is_one_row_however_long_the_lines_are(self):
        count = exporting.ROWS_PER_CHUNK + 1
        make_users(count)
        db.session.execute(update(User).values(username="😀" * 128))
        db.session.commit()

        with mock.patch.object(exporting, "read", wraps=database.read) as read:
            data = content("csv")

        rows = [*csv.DictReader(StringIO(data.decode(), newline=""))]
        self.assertEqual([int(row["id"]) for row in rows], [*range(1, count + 1)])
        self.assertEqual({row["username"] for row in rows}, {"😀" * 128})
        self.assertEqual(read.call_count, 2)
        read_again = database.read(*read.call_args.args)
        self.assertEqual([row.number for row in read_again], [1])

    def test_chunk_that_the_database_cut_off_is_not_taken_for_whole(self):
        make_user()
        cut = [SimpleNamespace(number=2, lines="1,x\r\n2,", last_id=2)]
        with mock.patch.object(exporting, "read", return_value=cut):
            with self.assertRaisesRegex(RuntimeError, "group_concat_max_len"):
                content("csv")

    def test_layout_and_filters_choose_what_is_written(self):
        make_user(username="=1+1", email="a@example.com", active=True, role="editor")
        make_user(username="Bo", email="b@example.com", role="editor")
        make_user(username="@Cy", email="c@example.com", active=True)

        def written(*layout: Any, **options: Any) -> str:
            chunks = export_users(Layout("csv", *layout), **options)
            return b"".join(chunk.data for chunk in chunks).decode()

        names = ("username", "id")
        self.assertEqual(written(names), 'username,id\r\n"=1+1",1\r\n"Bo",2\r\n"@Cy",3\r\n')
        self.assertEqual(
            written(names, True, True),
            '\ufeffusername,id\r\n"\'=1+1",1\r\n"Bo",2\r\n"\'@Cy",3\r\n',
        )
        for filters, ids, expected in [
            ({"active": True}, None, [1, 3]),
            ({"active": False}, None, [2]),
            ({"role": "editor"}, None, [1, 2]),
            ({"no_role": None}, None, [3]),
            ({"active": True, "role": "editor"}, None, [1]),
            ({}, [3, 1, 99], [1, 3]),
            ({"active": False}, [3, 1], []),
        ]:
            with self.subTest(filters=filters, ids=ids):
                lines = written(("id",), filters=filters, ids=ids).splitlines()
                self.assertEqual(lines, ["id", *map(str, expected)])

    def test_search_is_exported_in_its_order_each_user_once(self):
        for name in ["Zoe Ada", "Ada Z", "Ada", "Bo", "Adam", "Ada", "Ada B"]:
            make_user(username=name)
        for size in (1, 2, 3, 100):
            with self.subTest(size), mock.patch.object(exporting, "ROWS_PER_CHUNK", size):
                chunks = export_users(Layout("ndjson", ("id",)), words="ada")
                rows = b"".join(chunk.data for chunk in chunks).splitlines()

                found = service.search_users("ada", 99, None, {}, ("id",))
                self.assertEqual(
                    [orjson.loads(row)["id"] for row in rows], [user.id for _part, user in found]
                )
                self.assertEqual(len(rows), 6)

    def test_import_of_an_export_makes_the_same_users(self):
        for number, text in enumerate(["a", '"', ";,", "\\", "é😀", "a  b"]):
            email, role = f"Ü{number}@BÜCHER.example", (None, "editor", "admin")[number % 3]
            others = {"active": number % 2 == 0, "created_at": datetime(2000 + number, 1, 1)}
            make_user(username=text, email=email, role=role, **others)
        for form in ("csv", "ndjson", "xlsx"):
            with self.subTest(form):
                exported, users = content(form), content("ndjson")
                db.drop_all(None)
                db.create_all(None)

                columns = Columns(importable_fields(by_admin=True, with_id=False))
                batches = list(
                    import_users(read_rows(Source(BytesIO(exported).read), False, columns))
                )

                self.assertEqual(
                    [(batch.counts["created"], batch.outcomes) for batch in batches], [(6, [])]
                )
                self.assertEqual(content("ndjson"), users)


class SheetTests(BaseTestCase):
    """The Excel file, read by the library that imports use."""

    def test_cells_have_types_and_the_header_names_the_zone(self):
        then, later = datetime(1899, 12, 31, 23, 59, 59), datetime(2026, 11, 23, 15, 12, 58)
        make_user(
            username="=1+1", email="a@example.com", active=True, created_at=then, updated_at=later
        )
        make_user(
            username="Bö",
            email="b@example.com",
            created_at=datetime(1900, 3, 1),
            updated_at=datetime(9999, 12, 31, 23, 59, 59),
            role="editor",
            last_sign_in_at=later,
        )

        self.assertEqual(
            sheets(),
            {
                "Users": [
                    ["id", "username", "email", "active"]
                    + ["created_at (UTC)", "updated_at (UTC)", "role", "last_sign_in_at (UTC)"],
                    [1, "=1+1", "a@example.com", True, "1899-12-31T23:59:59Z", later, "", ""],
                    [2, "Bö", "b@example.com", False, datetime(1900, 3, 1).date()]
                    + [datetime(9999, 12, 31, 23, 59, 59), "editor", later],
                ]
            },
        )

    def test_each_second_of_a_day_is_exact(self):
        times = [
            datetime(2026, 2, 3, hour, second, 59 - second)
            for hour in range(24)
            for second in (0, 1, 7, 29, 31, 58, 59)
        ]
        for moment in times:
            make_user(created_at=moment)

        rows = sheets(("created_at",))["Users"][1:]

        self.assertEqual([row[0] for row in rows], times)

    def test_text_of_any_kind_comes_back(self):
        odd = [*ODD, "<b>&amp;</b>", "]]>", "_x0041_", "_x005F_x000d_", "a_xyz"]
        for text in odd:
            make_user(username=text)

        rows = sheets(("username",))["Users"][1:]

        self.assertEqual([row[0] for row in rows], odd)

    def test_more_users_than_a_sheet_has_rows_fill_further_sheets(self):
        make_users(7)
        for chunk_size in (1, 2, 3, 100):
            with (
                self.subTest(chunk_size),
                mock.patch.object(workbook, "ROWS_PER_SHEET", 4),
                mock.patch.object(exporting, "ROWS_PER_CHUNK", chunk_size),
            ):
                self.assertEqual(
                    sheets(("id",)),
                    {
                        "Users": [["id"], [1], [2], [3]],
                        "Users 2": [["id"], [4], [5], [6]],
                        "Users 3": [["id"], [7]],
                    },
                )
        with mock.patch.object(workbook, "ROWS_PER_SHEET", 8):
            self.assertEqual(list(sheets(("id",))), ["Users"])

    def test_file_is_complete_only_at_its_end(self):
        make_users(5)
        with mock.patch.object(exporting, "ROWS_PER_CHUNK", 2):
            chunks = list(export_users(Layout("xlsx")))

        self.assertEqual([chunk.rows for chunk in chunks], [2, 2, 1])
        self.assertTrue(chunks[0].data.startswith(b"PK"))
        whole = b"".join(chunk.data for chunk in chunks)
        self.assertIsNone(zipfile.ZipFile(BytesIO(whole)).testzip())
        with self.assertRaises(zipfile.BadZipFile):
            zipfile.ZipFile(BytesIO(whole[: -len(chunks[-1].data)]))

    def test_export_of_no_users_is_a_header(self):
        self.assertEqual(sheets(("id", "email")), {"Users": [["id", "email"]]})

"""Files as other systems and spreadsheets write them, sent to POST /users/import."""

import gzip
import io
import json
import warnings
import zipfile
from typing import Any

from project.tests.base import BaseTestCase
from project.tests.factories import all_users

UTF_8_MARK = "\ufeff"


def zipped(**files: str | bytes) -> bytes:
    """Return a zip file; two underscores in a name stand for a slash, one for a dot."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return packed.getvalue()


def xlsx(*rows: list[str | float | bool], cells: str = "") -> bytes:
    """Return an Excel file whose second sheet has these rows, and one of these cells as XML."""

    def cell(value: str | float | bool) -> str:
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    last = f"<row>{cells}</row>" if cells else ""
    table = last + "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels"'
            f' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1"'
            f' Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="Notes" sheetId="1"'
            f' r:id="s1"/><sheet name="People" sheetId="2" r:id="s2"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="s1"'
            f' Type="{office}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="s2"'
            f' Type="{office}/worksheet" Target="worksheets/sheet2.xml"/></Relationships>',
        )
        for number, data in [(1, "<row><c><v>7</v></c></row>"), (2, table)]:
            archive.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData></worksheet>',
            )
    return packed.getvalue()


class FormTestCase(BaseTestCase):
    """Sends a file, whose content alone tells what it is."""

    def post(self, body: str | bytes, query: str = "", **options: Any) -> Any:
        """Send a file as bytes of no stated form; return the answer."""
        options = {"content_type": "application/octet-stream", **options}
        return self.client.post(f"/users/import{query}", data=body, **options)

    def send(self, body: str | bytes, query: str = "") -> dict[str, Any]:
        """Import a file; return the answer's data."""
        response = self.post(body, query)
        self.assertEqual(response.status_code, 200, response.text)
        data: dict[str, Any] = response.json["data"]
        return data

    def users(self) -> list[tuple[str, str, bool]]:
        """Return name, email and activity of each user."""
        return [(user.username, user.email, user.active) for user in all_users()]


class TableTests(FormTestCase):
    """CSV of many dialects, and sheets."""

    def test_dialects(self):
        for body, line in [
            ("username,email,active\nZoë,z@example.com,yes\n", 1),
            (f"{UTF_8_MARK}username;email;active\r\nZoë;z@example.com;WAHR\r\n", 1),
            ("username\temail\tactive\nZoë\tz@example.com\t1\n", 1),
            ("active|username|email\ny|Zoë|z@example.com\n", 1),
            ("sep=;\nusername;email;active\nZoë;z@example.com;x\n", 2),
            ("version:v1.0\nusername,email,active\nZoë,z@example.com,on\n", 2),
            ('#TYPE Selected.User\n"username","email","active"\n"Zoë","z@example.com","True"\n', 2),
            ("People of 2026;;\n;;\nusername;email;active\nZoë;z@example.com;ja\n", 3),
            ("username,email,active\n,,\n  ,\t,\n\u200bZoë\u00a0, z@example.com ,true,,\n", 1),
            ('username, email, active\n"Zoë", "z@example.com", "t"\n', 1),
        ]:
            for data in (body.encode(), body.removeprefix(UTF_8_MARK).encode("utf-16")):
                with self.subTest(body):
                    report = self.send(data)

                    self.assertEqual((report["failed"], report["header_line"]), (0, line))
                    self.assertEqual(self.users(), [("Zoë", "z@example.com", True)])

    def test_cells_that_lack_at_the_end_are_empty_and_further_ones_fail_the_row(self):
        report = self.send("username,email,active\nA,a@example.com\nB,b@example.com,1,x\n")

        self.assertEqual(self.users(), [("A", "a@example.com", False)])
        self.assertEqual(report["rows"][0]["reason"], "Has 4 columns; the header has 3.")

    def test_wrong_optional_cell_is_a_warning(self):
        report = self.send("username,email,active\nA,a@example.com,perhaps\n")

        self.assertEqual((report["created"], report["failed"]), (1, 0))
        [row] = report["rows"]
        self.assertEqual((row["line"], row["result"]), (2, "created"))
        self.assertIn("active: “perhaps” was left out.", row["reason"])

    def test_sheet_with_the_columns_is_read(self):
        report = self.send(
            xlsx(
                ["Staff", "", ""],
                ["E-mail", "Full Name", "Enabled"],
                ["a@example.com", "Ada", True],
                ["b@example.com", 7, 0],
            )
        )

        self.assertEqual(report["header_line"], 2)
        self.assertEqual(
            self.users(), [("Ada", "a@example.com", True), ("7", "b@example.com", False)]
        )

    def test_gzip_and_zip_of_one_file_are_unpacked(self):
        body = "username,email\nA,a@example.com\n"
        for data in [gzip.compress(body.encode()), zipped(people_csv=body)]:
            with self.subTest(data[:2]):
                self.assertEqual(self.send(data)["failed"], 0)
                self.assertEqual(self.users(), [("A", "a@example.com", False)])

    def test_sheet_that_claims_a_cell_far_away_ends_no_process(self):
        for place in ["XFD1048576", "ALL100000", "A1048576"]:
            far = f'<c r="{place}"><v>1</v></c>'
            with self.subTest(place):
                response = self.post(xlsx(["username", "email"], cells=far))

                self.assertIn(response.status_code, {400, 413}, response.text)

    def test_sheets_may_be_compressed_once_more(self):
        people = xlsx(["username", "email"], ["Ada", "a@example.com"])
        for data in [people, gzip.compress(people), zipped(people_xlsx=people)]:
            self.assertEqual(self.send(data)["failed"], 0)
            self.assertEqual(self.users(), [("Ada", "a@example.com", False)])

    def test_archive_that_holds_too_much_is_refused(self):
        zeros = bytes(30_000_000)
        for data in [zipped(a_csv=zeros), gzip.compress(b"PK\x03\x04" + zeros)]:
            self.assertEqual(self.post(data).status_code, 413)

    def test_damaged_archives_are_refused(self):
        for whole in [zipped(a_csv="username,email\nA,a@example.com\n" * 99), xlsx(["a"], ["b"])]:
            for place in range(0, len(whole), max(1, len(whole) // 60)):
                data = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
                with self.subTest(place), warnings.catch_warnings(action="ignore"):
                    self.assertLess(
                        self.post(data, query_string={"dry_run": "true"}).status_code, 500
                    )

    def test_header_has_a_bounded_number_of_columns(self):
        names = ",".join(map(str, range(1000)))

        response = self.post(f"username,email,{names}\n")

        self.assertEqual(response.status_code, 400)
        self.assertIn("The header has 1,002 columns", response.json["message"])

    def test_other_files_are_refused_by_what_they_seem_to_be(self):
        for data, reason in [
            (b"%PDF-1.7\n", "PDF"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file"),
            (b"<!doctype html>\n", "HTML or XML"),
            (zipped(a_csv="x", b_csv="y"), "holds 2 files"),
            (b"PK\x03\x04broken", "corrupt"),
            (xlsx(["a", "b"]), "No sheet"),
            (gzip.compress(gzip.compress(b"x")), "compressed twice"),
        ]:
            with self.subTest(reason):
                response = self.post(data)
                self.assertEqual(response.status_code, 400, response.text)
                self.assertIn(reason, response.json["message"])


class ColumnTests(FormTestCase):
    """Columns by the names that other systems give them."""

    def test_columns_of_other_systems(self):
        for header, row, columns in [
            (  # Google Workspace
                "First Name [Required],Last Name [Required],Email Address [Required],"
                "Status [READ ONLY]",
                "Zoë,Orr,z@example.com,Active",
                {"active": ["Status [READ ONLY]"]},
            ),
            (  # Microsoft Entra, bulk
                "Name [displayName] Required,User name [userPrincipalName] Required,"
                "Block sign in (Yes/No) [accountEnabled] Required",
                "Zoë Orr,z@example.com,No",
                {"username": ["Name [displayName] Required"]},
            ),
            ("userPrincipalName,displayName,accountEnabled", "z@example.com,Zoë Orr,TRUE", {}),
            ("login,firstName,email,displayName,suspended", "z,Z,z@example.com,Zoë Orr,0", {}),
            ("user_login,user_email,display_name,is_active", "z,z@example.com,Zoë Orr,1", {}),
            ("firstname,lastname,email,suspended", "Zoë,Orr,z@example.com,0", {}),  # Moodle
            ("email,first_name,last_name,is_active,date_joined", "z@example.com,Zoë,Orr,True,", {}),
            ("Name,E-mail,State", "Zoë Orr,z@example.com,active", {}),  # GitLab
            ("First Name,Last Name,Email,Activated", "Zoë,Orr,z@example.com,1", {}),  # Snipe-IT
            ("email,nickname,fullname,delete_at", "z@example.com,zo,Zoë Orr,0", {}),  # Mattermost
            ("Vorname;Nachname;E-Mail-Adresse;Aktiv", "Zoë;Orr;z@example.com;ja", {}),
            ("name,email,status", "Zoë Orr,z@example.com,PASSWORD_EXPIRED", {}),  # Okta
        ]:  # fmt: skip
            with self.subTest(header):
                report = self.send(f"{header}\n{row}\n")

                self.assertEqual(report["failed"], 0)
                self.assertEqual(self.users(), [("Zoë Orr", "z@example.com", True)])
                self.assertLessEqual(columns.items(), report["columns"].items())

    def test_next_column_counts_where_the_better_one_is_empty(self):
        report = self.send("email,name,nickname\na@example.com,,ada\nb@example.com,Bo,b\n")

        self.assertEqual(report["columns"]["username"], ["name", "nickname"])
        self.assertEqual([name for name, *_ in self.users()], ["ada", "Bo"])

    def test_role_of_another_system_is_not_ours(self):
        report = self.send("user_login,user_email,role\nada,a@example.com,admin\n")

        self.assertEqual(report["ignored"], ["role"])

    def test_table_of_our_own_gives_what_it_may(self):
        report = self.send(
            "id,username,email,email_folded,active,created_at,version,password_hash,role\n"
            "7,Ada,a@example.com,a@example.com,1,2026-11-25 20:03:14,1,NULL,NULL\n"
        )

        self.assertEqual(self.users(), [("Ada", "a@example.com", True)])
        ignored = ["id", "email_folded", "version", "password_hash", "role"]
        self.assertEqual(report["ignored"], ignored)


class JSONTests(FormTestCase):
    """JSON documents, and LDIF."""

    def test_documents_that_hold_users(self):
        ada = {"username": "Ada", "email": "a@example.com", "active": True}
        for document in [
            [ada],
            {"users": [ada]},
            {"status": "success", "data": {"users": [ada], "next": None}},
            {"realm": "demo", "enabled": False, "roles": [{"name": "x"}], "users": [ada]},
            {
                "Resources": [
                    {
                        "displayName": "Ada",
                        "emails": [
                            {"value": "x@example.com"},
                            {"value": "a@example.com", "primary": True},
                        ],
                        "active": True,
                        "meta": {"created": "2026-11-25T20:03:14Z"},
                    }
                ]
            },
            [{"profile": {"displayName": "Ada", "email": "a@example.com"}, "status": "ACTIVE"}],
        ]:  # fmt: skip
            for indent in (None, 2):
                with self.subTest(document):
                    self.assertEqual(self.send(json.dumps(document, indent=indent))["failed"], 0)
                    self.assertEqual(self.users(), [("Ada", "a@example.com", True)])

    def test_document_with_users_by_their_names(self):
        users = {
            "ada": {"user_id": "ada", "display_name": "Ada", "email": "a@example.com"},
            "bo": {"user_id": "bo", "display_name": "Bo", "email": "b@example.com", "enabled": 1},
        }
        for document in [users, {"mail": {"from": "x@example.com"}, **users}]:
            for indent in (None, 2):
                with self.subTest(document, indent=indent):
                    report = self.send(json.dumps(document, indent=indent))

                    self.assertEqual((report["failed"], report["rows_omitted"]), (0, 0))
                    self.assertEqual([name for name, *_ in self.users()], ["Ada", "Bo"])

    def test_lines_of_objects_alone_are_no_document(self):
        row = {"profile": {"name": "Ada", "email": "a@example.com"}, "credentials": {"x": {}}}
        other = {**row, "profile": {"name": "Bo", "email": "b@example.com"}}

        report = self.send(f"{json.dumps(row)}\n{json.dumps(other)}\n")

        self.assertEqual((report["created"], report["failed"]), (2, 0))

    def test_user_by_a_name_with_too_many_values_is_refused(self):
        data: dict[str, object] = {str(number): 1 for number in range(20_000)}
        users = {name: {"name": name, "email": "a@example.com"} for name in ("ada", "bo")}
        users["bo"] |= data  # type: ignore[arg-type]

        response = self.post(json.dumps(users))

        self.assertEqual(response.status_code, 400, response.text)
        self.assertIn("User 2 has more than 10,000 values", response.json["message"])

    def test_many_users_by_their_names_are_read_from_one_line(self):
        users = {
            f"u{number}": {"name": f"U {number}", "email": f"u{number}@example.com"}
            for number in range(3000)
        }

        report = self.send(json.dumps(users))

        self.assertEqual((report["created"], report["failed"]), (3000, 0))

    def test_export_of_phpmyadmin(self):
        table = [{"id": "1", "username": "Ada", "email": "a@example.com", "active": "1"}]
        for indent in (None, 1):
            report = self.send(
                json.dumps(
                    [
                        {"type": "header", "version": "5.2.1", "comment": "x"},
                        {"type": "database", "name": "shop"},
                        {"type": "table", "name": "users", "database": "shop", "data": table},
                    ],
                    indent=indent,
                )
            )

            self.assertEqual(report["failed"], 0)
            self.assertEqual(self.users(), [("Ada", "a@example.com", True)])

    def test_lines_about_something_else_are_passed_over(self):
        report = self.send(
            '{"type":"version","version":1}\n'
            '{"type":"team","team":{"name":"t"}}\n'
            '{"type":"user","user":{"username":"Ada","email":"a@example.com","delete_at":0}}\n'
        )

        self.assertEqual((report["created"], report["failed"]), (1, 0))
        self.assertIn("version", report["ignored"])
        self.assertEqual(self.users(), [("Ada", "a@example.com", True)])

    def test_name_within_json_in_a_cell(self):
        for known, name in [
            ({"full_name": " Ada ", "name": "x"}, "Ada"),
            ({"name": "Ada"}, "Ada"),
            ({"email": "ada@example.com", "sub": "1"}, "ada"),
        ]:
            cell = json.dumps(known).replace('"', '""')
            with self.subTest(known):
                self.send(f'email,raw_user_meta_data\na@example.com,"{cell}"\n')
                self.assertEqual(self.users(), [(name, "a@example.com", False)])
        for cell in ["{}", "[]", "7", "{", "", '{"name":7}']:
            with self.subTest(cell):
                quoted = cell.replace('"', '""')
                report = self.send(f'email,raw_user_meta_data\na@example.com,"{quoted}"\n')
                self.assertEqual(report["rows"][0]["reason"][:9], "username ")

    def test_column_may_give_two_fields(self):
        report = self.send("email,x\na@example.com,y\n", "?map=username:email")

        self.assertEqual(self.users(), [("a@example.com", "a@example.com", False)])
        self.assertEqual(report["columns"]["username"], ["email"])

    def test_wrong_items_are_numbered(self):
        report = self.send('[{"username": "A", "email": "a@example.com"}, 7, {"username": "B"}]')

        self.assertEqual([row["line"] for row in report["rows"]], [2, 3])
        self.assertEqual(self.users(), [("A", "a@example.com", False)])

    def test_lines_with_objects_in_them_are_no_document(self):
        for data in [{"x": 1}, {}, {"users": 7}]:
            row = {"username": "A", "email": "a@example.com", "data": data}
            lines = f"{json.dumps(row)}\n{json.dumps(row | {'email': 'b@example.com'})}\n"
            with self.subTest(data):
                self.assertEqual(self.send(lines)["failed"], 0)
                self.assertEqual(len(self.users()), 2)

    def test_nesting_is_bounded(self):
        for data in ["[" * 1_000_000, '{"a":' * 200_000, '{"users": [' + "[" * 100_000]:
            with self.subTest(data[:20]):
                response = self.post(data)
                self.assertEqual(response.status_code, 400)
                self.assertIn("nested more than 30 deep", response.json["message"])

    def test_document_that_is_broken_or_holds_no_users_is_refused(self):
        for data, reason in [
            ('[{"username": "A"}, {"user', "incomplete or corrupt, after 1 users"),
            ('{\n"people": []}', "holds no users"),
            ('["' + "x" * 400_000 + '"]', "longer than"),
            (json.dumps([{str(number): 1 for number in range(20_000)}]), "more than 10,000 values"),
        ]:
            with self.subTest(reason):
                response = self.post(data)
                self.assertEqual(response.status_code, 400, response.text)
                self.assertIn(reason, response.json["message"])

    def test_ldif(self):
        report = self.send(
            "version: 1\n# people\n\ndn: uid=zo,dc=example,dc=com\nuid: zo\ncn:: Wm/DqyBPcnI=\n"
            "mail: z@exam\n ple.com\nmail: other@example.com\nnsAccountLock: x\n\n"
            "dn: ou=people\nou: people\n\ndn: uid=x\nbroken\n"
        )

        self.assertEqual(self.users(), [("Zoë Orr", "z@example.com", False)])
        self.assertEqual([row["line"] for row in report["rows"]], [12, 16])

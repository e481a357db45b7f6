"""import_users and export_users, as bodies and as a person calls them."""

import csv
import gzip
import json
import os
import stat
import tempfile
from pathlib import Path
from threading import Thread
from unittest import mock

from project.api.transfer import exporting
from project.commands import transfer
from project.commands.transfer import export_users, import_users
from project.tests.commands.base import CommandTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user, make_users
from project.tests.wire import recorded_commands

CSV = "username,email\r\nAda,ada@example.com\r\nBo,bo@example.com\r\n"
BAD = CSV + "Ada L,ada@example.com\r\nCy,nobody\r\n"
NDJSON = '{"username": "Ada", "email": "ada@example.com"}\n'


class TransferCommandTestCase(CommandTestCase):
    """Has a folder for files."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def emails(self) -> list[str]:
        return [row.email for row in all_users()]

    def refused(self, command, *arguments) -> str:
        """Return the reason that a command gives for its failure."""
        with self.assertRaises(SystemExit) as caught:
            self.printed(command, *arguments)
        return str(caught.exception.code)


class ImportUsersTests(TransferCommandTestCase):
    """import_users."""

    def test_file_of_every_form_is_imported(self):
        cases: list[tuple[str, str | bytes, int]] = [
            ("users.csv", CSV, 2),
            ("Users.CSV", CSV, 2),
            ("users.csv.gz", gzip.compress(CSV.encode()), 2),
            ("users.ndjson", NDJSON, 1),
            ("users.jsonl.gz", gzip.compress(NDJSON.encode()), 1),
        ]
        for name, content, count in cases:
            with self.subTest(name):
                printed = self.printed(import_users, self.file(name, content), True)

                self.assertRegex(printed, rf"^created +{count}\nupdated +0\n")

    def test_summary_tells_what_became_of_the_rows(self):
        self.file("users.csv", BAD)

        result = self.manage("import_users", self.path("users.csv"))

        self.assertEqual(result.returncode, 1)
        self.assertRegex(
            result.stdout,
            r"^created +2\nupdated +1\nskipped +0\nfailed +1\nrows +4\n"
            r"in [\d.]+ s \([\d,]+ rows/s\)\n$",
        )
        self.assertEqual(
            result.stderr,
            "These rows failed:\nline 5: email: “nobody” was refused. An email address must have an"
            " @-sign.\n",
        )
        self.assertEqual(self.emails(), ["ada@example.com", "bo@example.com"])

    def test_import_without_failed_rows_exits_zero(self):
        result = self.manage("import_users", self.file("users.csv", CSV))

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")

    def test_dry_run_changes_nothing_and_says_so(self):
        result = self.manage("import_users", "--dry-run", self.file("users.csv", CSV))

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"created +2\n(.*\n)+This was a dry run: nothing was chan")
        self.assertEqual(self.emails(), [])

    def test_report_has_the_failed_rows_as_they_came(self):
        source, report = self.file("users.csv", BAD), self.path("report.csv")
        with mock.patch.object(transfer, "SHOWN_FAILURES", 0):
            reason = self.refused(import_users, source, False, report)

        self.assertIn("Use --report FILE to get all", reason)
        error = "email: “nobody” was refused. An email address must have an @-sign."
        with open(report, newline="", encoding="utf-8") as lines:
            self.assertEqual(
                list(csv.reader(lines)), [["error", "username", "email"], [error, "Cy", "nobody"]]
            )
        self.assertEqual(stat.S_IMODE(os.stat(report).st_mode), 0o600)

    def test_report_that_was_mended_is_imported(self):
        source, report = self.file("users.csv", BAD), self.path("report.csv")
        self.refused(import_users, source, False, report)
        mended = Path(report).read_text().replace("Cy,nobody", "Cy,cy@example.com")

        printed = self.printed(import_users, self.file("mended.csv", mended))

        self.assertIn("Ignored columns: error.\n", printed)
        self.assertIn("cy@example.com", self.emails())

    def test_report_of_a_report_still_has_every_row(self):
        rows = 'error,username,email\r\nold,Bo,nobody\r\n"old"x,Cy,cy@example.com\r\n'
        report = self.path("report.csv")

        self.refused(import_users, self.file("users.csv", rows), False, report)

        with open(report, newline="", encoding="utf-8") as lines:
            header, wrong, broken = csv.reader(lines)
        self.assertEqual((header, wrong[1:]), (["error", "username", "email"], ["Bo", "nobody"]))
        self.assertEqual(broken[1:], ['"old"x,Cy,cy@example.com'])

    def test_names_of_columns_are_printed_without_control_characters(self):
        rows = "username,\x1bE-Mail\r\nBo,nobody\r\n"

        reason = self.refused(import_users, self.file("users.csv", rows))

        self.assertIn("line 2: email (\\x1bE-Mail): “nobody” was refused.", reason)

    def test_report_of_json_is_json(self):
        lines = NDJSON + '{"username": "Bo", "email": 7, "tags": ["a"]}\n{"x\n'
        source, report = self.file("users.ndjson", lines), self.path("report.ndjson")

        self.refused(import_users, source, False, report)

        self.assertEqual(
            [json.loads(line) for line in Path(report).read_text().splitlines()],
            [
                {
                    "username": "Bo",
                    "email": 7,
                    "tags": ["a"],
                    "error": "email: “7” is no text.",
                },
                {"row": '{"x', "error": "Is not valid JSON, from character 4 on."},
            ],
        )

    def test_missing_users_are_deactivated_where_that_is_asked_for(self):
        for number in range(20):
            make_user(email=f"u{number}@example.com", active=True)
        source = self.file("users.csv", CSV + "".join(f"u,u{i}@example.com\r\n" for i in range(17)))
        wanted = ["import_users", "--deactivate-missing", source]

        refused = self.manage(*wanted)
        dry = self.manage(*wanted, "--max-deactivate", "3", "--dry-run")
        done = self.manage(*wanted, "--max-deactivate", "3")

        self.assertEqual((refused.returncode, dry.returncode, done.returncode), (1, 0, 0))
        self.assertIn("Nobody was deactivated: 3 of 20 active users", refused.stderr)
        for result in (dry, done):
            self.assertIn("not in the file: 3.\nDeactivated: 3.\n", result.stdout)
        self.assertEqual(len([user for user in all_users() if user.active]), 17)
        alone = self.manage("import_users", "--max-deactivate", "3", source)
        self.assertIn("--max-deactivate is for --deactivate-missing only.", alone.stderr)

    def test_ignored_columns_are_printed(self):
        rows = "id,username,email,\x1b[2J\r\n7,Ada,ada@example.com,x\r\n"

        printed = self.printed(import_users, self.file("users.csv", rows))

        self.assertIn("Ignored columns: id, \\x1b[2J.\n", printed)

    def test_users_are_matched_by_id_where_that_is_asked_for(self):
        user = make_user(username="Ada", email="aad@example.com")
        file = self.file("users.csv", f"id,username,email\r\n{user.id},Ada,ada@example.com\r\n")

        result = self.manage("import_users", "--match", "id", file)

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"updated +1\n")
        self.assertNotIn("not used", result.stdout)
        self.assertEqual(self.emails(), ["ada@example.com"])
        result = self.manage("import_users", "--match", "name", file)
        self.assertEqual(result.returncode, 2)

    def test_report_replaces_no_file(self):
        source = self.file("users.csv", CSV)

        for report in [source, self.file("report.csv", "mine")]:
            with self.subTest(report):
                self.assertEqual(
                    self.refused(import_users, source, False, report), f"{report}: File exists."
                )
        self.assertEqual(self.emails(), [])

    def test_what_cannot_be_imported_is_said_in_a_line(self):
        for name, content, reason in [
            ("nowhere.csv", None, f"{self.path('nowhere.csv')}: No such file or directory."),
            ("users.pdf", "%PDF-1.7", "This seems to be a PDF."),
            (
                "header.csv",
                "a,email\n",
                "The header is invalid. No row was imported. username: This",
            ),
            (
                "users.csv.gz",
                gzip.compress(CSV.encode())[:40],
                "The compressed data is incomplete or corrupt.",
            ),
        ]:
            with self.subTest(name):
                path = self.path(name) if content is None else self.file(name, content)
                self.assertIn(reason, self.refused(import_users, path))
        result = self.manage("import_users", self.path("nowhere.csv"))
        self.assertEqual(result.returncode, 1)
        self.assertNotIn("Traceback", result.stderr)

    def test_gzip_file_that_unpacks_to_too_much_is_refused(self):
        self.app.config["IMPORT_MAX_BYTES"] = 1000
        bomb = self.file("users.csv.gz", gzip.compress((CSV + "\n" * 10_000).encode()))

        self.assertEqual(
            self.refused(import_users, bomb),
            "The data is larger than 1,000 bytes. No row was imported. The setting IMPORT_MAX_BYTES"
            " limits the size of decompressed gzip files.",
        )
        self.assertEqual(self.emails(), [])

    def test_gzip_file_that_would_cost_too_much_is_refused(self):
        for name, rows, reason in [
            ("lines", "\n" * 1_000_000, "The data decompresses to more than one line per 2 bytes"),
            ("failures", "".join(f"{number}\n" for number in range(200_000)), "More than one row"),
        ]:
            file = self.file(f"{name}.csv.gz", gzip.compress((CSV + rows).encode()))
            with self.subTest(name):
                self.assertIn(reason, refused := self.refused(import_users, file, True))
                self.assertNotIn("IMPORT_MAX_BYTES", refused)

    def test_uncompressed_file_may_have_any_number_of_failures(self):
        file = self.file("users.csv", CSV + "x\n" * 40_000)

        self.assertIn("line 4: email: Must not be blank.", self.refused(import_users, file))

    def test_content_tells_the_form_and_names_of_columns_may_be_chosen(self):
        body = "Work Email;Full Name;E-Mail\nada@example.com;Ada;x\n"
        for name, data in [("people", body.encode()), ("people.csv", gzip.compress(body.encode()))]:
            file = self.file(name, data)
            maps = ["email:Work Email", "username:Full Name"]
            with self.subTest(name):
                printed = self.printed(import_users, file, False, None, "email", maps)

                self.assertIn("email is from: Work Email.", printed)
                self.assertIn("Ignored columns: E-Mail.", printed)
                self.assertEqual(self.emails(), ["ada@example.com"])
        for maps, reason in [
            (["email"], "--map: Must be FIELD:COLUMN"),
            (["phone:x"], "--map: Must be FIELD:COLUMN"),
            (["email:x", "email:y"], "--map: Must be FIELD:COLUMN"),
            (["email:Nothing"], "email: There is no column 'Nothing'."),
        ]:
            with self.subTest(maps):
                self.assertIn(reason, self.refused(import_users, file, False, None, "email", maps))

    def test_standard_input_is_read(self):
        result = self.manage("import_users", "-", stdin=None, input=CSV)

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("created", result.stdout)

    def test_uncompressed_file_may_have_any_size(self):
        self.app.config["IMPORT_MAX_BYTES"] = 10

        self.printed(import_users, self.file("users.csv", CSV))

        self.assertEqual(len(self.emails()), 2)

    def test_pipe_is_imported(self):
        pipe = self.path("users.csv")
        os.mkfifo(pipe)
        writer = Thread(target=Path(pipe).write_text, args=[CSV])
        writer.start()

        printed = self.printed(import_users, pipe)

        writer.join()
        self.assertRegex(printed, r"created +2\n")


class ExportUsersTests(TransferCommandTestCase):
    """export_users."""

    def test_file_of_every_form_is_written(self):
        make_user(username="Ada", email="ada@example.com")
        for name in ["users.csv", "users.csv.gz", "users.ndjson", "users.JSONL.gz", "users.xlsx"]:
            with self.subTest(name):
                printed = self.printed(export_users, self.path(name))

                content = (self.folder / name).read_bytes()
                if name.endswith(".gz"):
                    content = gzip.decompress(content)
                form = next((each for each in ("csv", "xlsx") if each in name), "ndjson")
                chunks = exporting.export_users(exporting.Layout(form))
                self.assertEqual(content, b"".join(chunk.data for chunk in chunks))
                self.assertRegex(
                    printed, rf"^Wrote 1 users to .*{name} \(\d+\.?\d*k?B\) in [\d.]+ s"
                )
                self.assertEqual(stat.S_IMODE((self.folder / name).stat().st_mode), 0o600)

    def test_standard_output_and_part_of_the_users_may_be_chosen(self):
        make_user(username="=1", email="a@example.com", active=True)
        make_user(username="Bo", email="b@example.com")
        options = ["--columns", "id,username", "--active", "true", "--safe", "--role", "none"]

        result = self.manage("export_users", "-", *options)

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, 'id,username\n1,"\'=1"\n')
        lines = self.manage("export_users", "-", "--columns", "id", "--format", "ndjson")
        self.assertEqual(lines.stdout, '{"id":1}\n{"id":2}\n')
        refused = self.manage("export_users", "-", "--columns", "phone")
        self.assertIn("--columns: Must be comma-separated and once each, of", refused.stderr)

    def test_export_can_be_imported_again(self):
        make_users(30)
        for name in ["users.csv.gz", "users.xlsx"]:
            with self.subTest(name):
                result = self.manage("export_users", self.path(name))
                self.assertEqual(result.returncode, 0, result.stderr)

                printed = self.printed(import_users, self.path(name))

                self.assertRegex(printed, r"skipped +30\n")

    def test_format_may_be_chosen_whatever_the_name(self):
        make_users(1)

        self.printed(export_users, self.path("users"), form="xlsx")

        self.assertTrue((self.folder / "users").read_bytes().startswith(b"PK"))

    def test_file_that_is_there_is_replaced_only_by_force(self):
        path = self.file("users.csv", "mine")

        reason = self.refused(export_users, path)
        self.assertEqual(reason, f"{path} already exists. To replace it, use --force.")
        self.assertEqual(Path(path).read_text(), "mine")

        self.printed(export_users, path, True)
        self.assertTrue(Path(path).read_text().startswith("id,username,"))

    def test_what_cannot_be_written_is_said_in_a_line(self):
        os.mkdir(self.path("folder.csv"))
        with recorded_commands() as commands:
            for path, reason in [
                (self.path("nowhere/users.csv"), "No such file or directory."),
                (self.path("users.xls"), "the name must end in"),
                (self.path("folder.csv"), "already exists."),
            ]:
                with self.subTest(path):
                    self.assertIn(reason, self.refused(export_users, path, True))
        self.assertEqual(commands, [])

    def test_failed_export_leaves_no_file(self):
        path = self.file("users.csv", "mine")
        lost = driver_error(2013, "Lost connection", lost=True)
        with mock.patch.object(exporting, "read", side_effect=lost):
            with self.assertRaises(type(lost)):
                self.printed(export_users, path, True)

        self.assertEqual(Path(path).read_text(), "mine")
        self.assertEqual(os.listdir(self.folder), ["users.csv"])

"""The rules of an imported row."""

import re
import unittest
from datetime import datetime
from typing import Any

from project.api.transfer.cells import FLAG_REASON, TIME_REASON
from project.api.transfer.row_rules import importable_fields, read_row
from project.api.users.schemas import UserCreate
from project.errors import Invalid
from project.web.contract import validate

TIME = datetime(2026, 11, 23, 15, 12, 58)


def problems(read, values) -> dict[str, str]:
    """Return what is wrong with a row, by field."""
    try:
        read(values)
    except Invalid as error:
        return {problem.field: problem.message for problem in error.errors}
    return {}


class ReadRowTests(unittest.TestCase):
    """What a row may say."""

    def row(self, **values: object) -> dict[str, Any]:
        """Return what is read of a row without a warning."""
        row, warnings = read_row({"username": "a", "email": "a@example.com", **values})
        self.assertEqual(warnings, [])
        return row

    def test_row_that_says_least_leaves_the_rest_open(self):
        self.assertEqual(self.row(), {"username": "a", "email": "a@example.com"})

    def test_row_that_says_all_is_read(self):
        for email in ["a@example.com", "ä@example.com"]:  # plain, and not
            with self.subTest(email):
                row = self.row(
                    email=email,
                    active="TRUE",
                    created_at="2026-11-23T15:12:58Z",
                    updated_at="2026-11-23T15:12:58Z",
                    role="editor",
                    id="7",
                )

                told = {"active": True, "role": "editor", "created_at": TIME, "updated_at": TIME}
                self.assertEqual(row, {"username": "a", "email": email, **told})

    def test_role_and_password_hash_are_columns_for_administrators_only(self):
        others = ("username", "email", "active", "created_at", "updated_at")

        self.assertEqual(importable_fields(by_admin=False, with_id=False), others)
        self.assertEqual(
            set(importable_fields(by_admin=True, with_id=True)),
            {*others, "role", "password_hash", "id"},
        )

    def test_wrong_password_hash_is_left_out_and_not_shown(self):
        row, warnings = read_row({"username": "a", "email": "a@example.com", "password_hash": "pw"})

        self.assertNotIn("password_hash", row)
        self.assertEqual(
            [each.message for each in warnings],
            [
                "The value was left out. Must be a hash by bcrypt, argon2id or Django's"
                " pbkdf2_sha256."
            ],
        )
        row, warnings = read_row({"username": "a", "email": "a@example.com", "password_hash": None})
        self.assertNotIn("password_hash", row)

    def test_name_that_changes_the_direction_of_text_is_refused(self):
        values = {"username": "Ada\u202enimda", "email": "a@example.com"}

        self.assertEqual(list(problems(read_row, values)), ["username"])

    def test_flag_is_read_as_people_write_it(self):
        for value, flag in [
            ("true", True), ("False", False), (True, True), (False, False), (1, True), (0.0, False),
            ("YES", True), ("n", False), ("x", True), ("off", False), ("Suspended", False),
            ("WAHR", True), ("Nein", False), ("Vrai", True), ("inactif", False), ("Sí", True),
            ("FALSO", False), ("Verdadeiro", True), ("não", False), ("Onwaar", False),
            ("Истина", True), ("нет", False), ("はい", True), ("無効", False), ("是", True),
            ("停用", False), ("\uff11", True),
        ]:  # fmt: skip
            with self.subTest(value):
                self.assertIs(self.row(active=value)["active"], flag)

    def test_time_in_any_usual_form_is_read_as_utc_in_whole_seconds(self):
        for text in [
            "2026-11-23T15:12:58Z",
            "2026-11-23 15:12:58",
            "2026-11-23T15:12:58.999999",
            "2026-11-23T17:12:58+02:00",
            "20261123T151258Z",
            "2026-11-23 15:12:58 UTC",
            "2026-11-23 15:12:58.123 +00",
            "2026-11-23 15:12:58+00",
            "2026/11/23 15:12:58",
            "1795446778",
            "1795446778000",
            1795446778,
            1795446778123,
            1795446778.5,
        ]:
            with self.subTest(text):
                self.assertEqual(self.row(created_at=text)["created_at"], TIME)

    def test_date_is_its_midnight(self):
        for text in ["2026-11-23", "20261123", "2026/11/23"]:
            with self.subTest(text):
                self.assertEqual(self.row(created_at=text)["created_at"], datetime(2026, 11, 23))

    def test_optional_cell_that_says_nothing_is_as_if_not_there(self):
        for value in ["", None, "NULL", "\\N"]:
            with self.subTest(value):
                row = self.row(active=value, created_at=value, updated_at=value)
                self.assertEqual(row, {"username": "a", "email": "a@example.com"})

    def test_null_takes_a_role_away(self):
        self.assertIsNone(self.row(role=None)["role"])
        self.assertNotIn("role", self.row(role="NULL"))

    def test_wrong_optional_value_is_left_out_with_a_warning(self):
        for email in ["a@example.com", "ä@example.com"]:
            for name, value, warning in [
                ("active", "perhaps", f"“perhaps” was left out. {FLAG_REASON}"),
                ("active", 2, f"“2” was left out. {FLAG_REASON}"),
                ("active", [], f"“[]” was left out. {FLAG_REASON}"),
                ("active", "x" * 99, f"“{'x' * 39}…” was left out. {FLAG_REASON}"),
                ("active", "a\nb", f"“'a\\nb'” was left out. {FLAG_REASON}"),
                ("created_at", "yesterday", f"“yesterday” was left out. {TIME_REASON}"),
                (
                    "created_at",
                    "0999-12-31",
                    f"“0999-12-31” was left out. {TIME_REASON}",
                ),
                ("updated_at", 7, f"“7” was left out. {TIME_REASON}"),
                ("updated_at", "1e400", f"“1e400” was left out. {TIME_REASON}"),
                (
                    "role",
                    "owner",
                    "“owner” was left out. Must be one of viewer, editor, admin",
                ),
            ]:
                with self.subTest(f"{name} {value}"):
                    row, warnings = read_row({"username": "a", "email": email, name: value})

                    self.assertEqual(row, {"username": "a", "email": email})
                    [found] = warnings
                    self.assertEqual(found.field, name)
                    self.assertTrue(found.message.startswith(warning), found)

    def test_error_is_named_whether_the_rest_is_simple_or_not(self):
        for email in ["a@example.com", "ä@example.com"]:
            for value, reason in [
                ("", "Must not be blank."),
                (7, "“7” is no text."),
            ]:
                with self.subTest(f"{value}"):
                    values = {"username": value, "email": email, "active": "perhaps"}
                    self.assertEqual(problems(read_row, values), {"username": reason})
        none: dict[str, object] = {"username": None, "email": None}
        for values in [{}, none]:
            expected = {"username": "Is missing.", "email": "Is missing."}
            self.assertEqual(problems(read_row, values), expected)

    def test_rules_are_those_of_adding_a_user(self):
        for values in [{"username": "\x00", "email": "a"}, {"username": "x" * 129, "email": ""}]:
            with self.subTest(values):
                expected = problems(lambda row: validate(UserCreate, row), values)
                found = problems(read_row, values)
                for name, reason in expected.items():
                    self.assertRegex(found[name], rf"^(“.+” was refused\. )?{re.escape(reason)}$")
                self.assertEqual((len(expected), len(found)), (2, 2))

"""The rules of an imported row."""

import unittest
from datetime import datetime
from typing import Any

from project.api.transfer.row_rules import optional_columns, read_row
from project.api.users.schemas import UserCreate
from project.errors import Invalid
from project.web.contract import validate

TIME = datetime(2026, 11, 23, 15, 12, 58)
TIME_REASON = "Must be a time such as 2026-11-23T15:12:58Z, not before the year 1000."


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
        return read_row({"username": "a", "email": "a@example.com", **values})

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

    def test_role_is_a_column_for_administrators_only(self):
        others = ("active", "created_at", "updated_at")

        self.assertEqual(optional_columns(by_admin=False), others)
        self.assertEqual(set(optional_columns(by_admin=True)), {*others, "role"})

    def test_name_that_changes_the_direction_of_text_is_refused(self):
        values = {"username": "Ada\u202enimda", "email": "a@example.com"}

        self.assertEqual(list(problems(read_row, values)), ["username"])

    def test_flag_in_any_letter_case_is_read(self):
        for value, flag in [("true", True), ("False", False), (True, True), (False, False)]:
            with self.subTest(value):
                self.assertIs(self.row(active=value)["active"], flag)

    def test_time_with_any_zone_is_read_as_utc_in_whole_seconds(self):
        for text in [
            "2026-11-23T15:12:58Z",
            "2026-11-23 15:12:58",
            "2026-11-23T15:12:58.999999",
            "2026-11-23T17:12:58+02:00",
            "20261123T151258Z",
        ]:
            with self.subTest(text):
                self.assertEqual(self.row(created_at=text)["created_at"], TIME)

    def test_error_is_named_whether_the_rest_is_simple_or_not(self):
        for email in ["a@example.com", "ä@example.com"]:
            for name, value, reason in [
                ("active", "yes", "Must be true or false."),
                ("active", 1, "Must be true or false."),
                ("active", None, "Must be true or false."),
                ("active", [], "Must be true or false."),
                ("created_at", "yesterday", TIME_REASON),
                ("created_at", "0999-12-31T23:59:59Z", TIME_REASON),
                ("created_at", "9999-12-31T23:59:59-01:00", TIME_REASON),
                ("updated_at", 7, TIME_REASON),
                ("updated_at", None, TIME_REASON),
                ("username", "", "Must not be blank."),
                ("username", 7, "Input should be a valid string"),
            ]:
                with self.subTest(f"{name} {value}"):
                    values = {"username": "a", "email": email, name: value}
                    self.assertEqual(problems(read_row, values), {name: reason})
        self.assertEqual(
            problems(read_row, {}), {"username": "Field required", "email": "Field required"}
        )

    def test_rules_are_those_of_adding_a_user(self):
        for values in [{"username": "\x00", "email": "a"}, {"username": "x" * 129, "email": ""}]:
            with self.subTest(values):
                expected = problems(lambda row: validate(UserCreate, row), values)
                self.assertEqual(problems(read_row, values), expected)
                self.assertEqual(len(expected), 2)

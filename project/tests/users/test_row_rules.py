"""The rules of an imported row, and that the glance at plain rows lets through nothing else."""

import random
import unittest
from datetime import datetime

from project.api.users import row_rules
from project.api.users.row_rules import ImportedUser, UserImport, read_row
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

    def row(self, **values: object) -> ImportedUser:
        return read_row({"username": "a", "email": "a@example.com", **values})

    def test_row_that_says_least_leaves_the_rest_open(self):
        self.assertEqual(self.row(), ("a", "a@example.com", None, None, None))

    def test_row_that_says_all_is_read(self):
        for email in ["a@example.com", "ä@example.com"]:  # plain, and not
            with self.subTest(email):
                row = self.row(
                    email=email,
                    active="TRUE",
                    created_at="2026-11-23T15:12:58Z",
                    updated_at="2026-11-23T15:12:58Z",
                    id="7",
                )

                self.assertEqual(row, ("a", email, True, TIME, TIME))

    def test_flag_in_any_letter_case_is_read(self):
        for value, flag in [("true", True), ("False", False), (True, True), (False, False)]:
            with self.subTest(value):
                self.assertIs(self.row(active=value).active, flag)

    def test_time_with_any_zone_is_read_as_utc_in_whole_seconds(self):
        for text in [
            "2026-11-23T15:12:58Z",
            "2026-11-23 15:12:58",
            "2026-11-23T15:12:58.999999",
            "2026-11-23T17:12:58+02:00",
            "20261123T151258Z",
        ]:
            with self.subTest(text):
                self.assertEqual(self.row(created_at=text).created_at, TIME)

    def test_what_is_wrong_is_named_whether_the_rest_is_plain_or_not(self):
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


class PlainTests(unittest.TestCase):
    """What is taken for plain, the schema accepts too: tried on a great many made-up texts."""

    def setUp(self) -> None:
        self.random = random.Random(20261123)

    def text(self, pieces: list[str], longest: int) -> str:
        return "".join(self.random.choices(pieces, k=self.random.randint(0, longest)))

    def assert_no_laxer(self, is_plain, field: str, texts: list[str]) -> None:
        plain = [text for text in texts if is_plain(text)]
        self.assertGreater(len(plain), len(texts) / 50)
        self.assertLess(len(plain), len(texts))
        for text in plain:
            values = {"username": "a", "email": "a@example.com", field: text}
            self.assertEqual(problems(lambda row: validate(UserImport, row), values), {}, text)

    def test_plain_emails_are_accepted_by_the_schema(self):
        usual = [*"aZ9_+-.", "b", "example", "x" * 50]
        odd = [*"@'\"\\/ \n\x00é", "xn--", "--", "x" * 63, "b@c."]
        pieces = usual * 8 + odd
        texts = [
            f"{self.text(pieces, 3)}@{self.text(pieces, 3)}{self.random.choice(['.com', '.C', ''])}"
            for _ in range(20_000)
        ]

        self.assert_no_laxer(row_rules._is_plain_email, "email", texts)

    def test_plain_usernames_are_accepted_by_the_schema(self):
        usual = [chr(code) for code in range(0x250)]
        any_character = [chr(self.random.randrange(0x110000)) for _ in range(2_000)]
        texts = [self.text(usual + any_character, 3) for _ in range(20_000)]
        texts += ["\ufffd", *("x" * length for length in (0, 127, 128, 129))]

        self.assert_no_laxer(row_rules._is_plain_username, "username", texts)

    def test_usual_rows_are_plain(self):
        for email in ["ada@example.com", "A.B+c_d-1@mail.my-host.co.uk"]:
            self.assertTrue(row_rules._is_plain_email(email), email)
        for username in ["cnych", "Dagný Novák", "名前", "😀"]:
            self.assertTrue(row_rules._is_plain_username(username), username)

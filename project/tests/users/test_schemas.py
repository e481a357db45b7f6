"""The rules of each field."""

import unittest

from project.api.users.schemas import UserCreate
from project.errors import Invalid
from project.web.contract import validate


def messages(**values: object) -> dict[str, str]:
    """Return what is wrong with a user, by field."""
    values = {"username": "a", "email": "a@example.com", **values}
    try:
        validate(UserCreate, values)
    except Invalid as error:
        return {problem.field: problem.message for problem in error.errors}
    return {}


class UserCreateTests(unittest.TestCase):
    """What a user may be made of."""

    def test_text_of_any_script_is_accepted(self):
        for username in [
            "x",
            "x" * 128,
            "😀" * 128,
            "名前",
            "  spaced  ",
            "a\u200db",
            "<b>",
            "%_\\'",
        ]:
            with self.subTest(username):
                self.assertEqual(messages(username=username), {})

    def test_wrong_text_is_refused_with_the_reason(self):
        for username, reason in [
            ("", "Must not be blank."),
            (" \u3000\u200b", "Must not be blank."),
            ("x" * 129, "Must have at most 128 characters; this has 129."),
            ("a\x00", "Must not contain control characters."),
            ("a\nb", "Must not contain control characters."),
            ("a\x9f", "Must not contain control characters."),
            ("a\ufffdb", "Must not contain U+FFFD, which stands for what was not valid UTF-8."),
            (None, "Input should be a valid string"),
            (7, "Input should be a valid string"),
            (b"x", "Input should be a valid string"),
            (["x"], "Input should be a valid string"),
        ]:
            with self.subTest(username):
                self.assertEqual(messages(username=username), {"username": reason})

    def test_wrong_email_is_refused_with_the_reason(self):
        for email, reason in [
            ("", "Must not be blank."),
            (
                "a\ufffd@example.com",
                "Must not contain U+FFFD, which stands for what was not valid UTF-8.",
            ),
            ("example.com", "An email address must have an @-sign."),
            ("a" * 120 + "@example.com", "Must have at most 128 characters; this has 132."),
        ]:
            with self.subTest(email):
                self.assertEqual(messages(email=email), {"email": reason})

    def test_email_of_128_characters_is_accepted(self):
        self.assertEqual(messages(email="a@" + "b" * 60 + "." + "c" * 61 + ".com"), {})

    def test_lone_surrogate_is_refused(self):
        self.assertEqual(list(messages(username="a\ud800")), ["username"])

    def test_every_wrong_field_is_named(self):
        self.assertEqual(list(messages(username="", email="")), ["username", "email"])

    def test_text_is_kept_as_sent(self):
        user = validate(UserCreate, {"username": " A ", "email": "Bü@BÜCHER.example", "x": 1})

        self.assertEqual((user.username, user.email), (" A ", "Bü@BÜCHER.example"))

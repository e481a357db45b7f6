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

    def test_wrong_email_is_refused_with_the_reason(self):
        for email, reason in [
            ("", "Must not be blank."),
            (
                "a\ufffd@example.com",
                "Must not contain U+FFFD, the replacement for invalid UTF-8.",
            ),
            ("example.com", "An email address must have an @-sign."),
            ("a" * 120 + "@example.com", "Must have at most 128 characters; this has 132."),
        ]:
            with self.subTest(email):
                self.assertEqual(messages(email=email), {"email": reason})

    def test_text_that_changes_its_direction_is_refused(self):
        reason = "Must not contain characters that change the direction of the text."
        for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
            for text in [chr(code), f"Ada{chr(code)}nimda", f"שלום{chr(code)}"]:
                with self.subTest(text):
                    wrong = messages(username=text, email=f"{text}@example.com")
                    self.assertEqual(wrong, {"username": reason, "email": reason})

    def test_email_of_128_characters_is_accepted(self):
        self.assertEqual(messages(email="a@" + "b" * 60 + "." + "c" * 61 + ".com"), {})

    def test_every_wrong_field_is_named(self):
        self.assertEqual(list(messages(username="", email="")), ["username", "email"])

    def test_text_is_kept_as_sent(self):
        user = validate(UserCreate, {"username": " A ", "email": "Bü@BÜCHER.example", "x": 1})

        self.assertEqual((user.username, user.email), (" A ", "Bü@BÜCHER.example"))

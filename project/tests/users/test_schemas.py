"""The rules of each field."""

import random
import re
import unicodedata
import unittest

from project.api.users.schemas import DIRECTIONS, UserCreate, is_plain_text
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


class PlainTextTests(unittest.TestCase):
    """What is known at a glance to be right."""

    def test_usual_texts_are_plain(self):
        for text in ["cnych", "Dagný Novák", "名前", "😀"]:
            self.assertTrue(is_plain_text(text), text)

    def test_what_is_plain_breaks_no_rule(self):
        made_up = random.Random(20261123)
        pieces = [chr(code) for code in range(0x250)]
        pieces += [chr(made_up.randrange(0x110000)) for _ in range(2_000)]
        texts = ["".join(made_up.choices(pieces, k=made_up.randint(0, 3))) for _ in range(20_000)]
        texts += ["\ufffd", *DIRECTIONS, *("x" * length for length in (0, 127, 128, 129))]

        plain = [text for text in texts if is_plain_text(text)]

        self.assertGreater(len(plain), len(texts) / 50)
        self.assertLess(len(plain), len(texts))
        for text in plain:
            categories = {unicodedata.category(character) for character in text}
            self.assertTrue(0 < len(text) <= 128, text)
            self.assertFalse(categories & {"Cc", "Cs"}, text)
            self.assertTrue(any(category[0] not in "ZC" for category in categories), text)
            self.assertFalse({"\ufffd", *DIRECTIONS} & set(text), text)


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

    def test_text_that_changes_its_direction_is_refused(self):
        reason = "Must not contain characters that change the direction of the text."
        for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
            for text in [chr(code), f"Ada{chr(code)}nimda", f"שלום{chr(code)}"]:
                with self.subTest(text):
                    self.assertEqual(messages(username=text), {"username": reason})
                    self.assertEqual(list(messages(email=f"{text}@example.com")), ["email"])
        for text in ["שלום עולם", "مرحبا", "שלום Ada", "a\u200eb"]:
            self.assertEqual(messages(username=text), {})

    def test_pattern_says_the_same(self):
        pattern = re.compile(UserCreate.model_json_schema()["properties"]["username"]["pattern"])
        for code in range(0x3000):
            text = f"a{chr(code)}"
            with self.subTest(text):
                self.assertEqual(bool(pattern.fullmatch(text)), not messages(username=text))

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

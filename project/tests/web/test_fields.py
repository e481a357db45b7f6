"""The types that several features share."""

import random
import re
import unicodedata
import unittest
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from project.web.fields import (
    DIRECTIONS,
    AnyUserId,
    Flag,
    Text,
    WrongId,
    is_simple_text,
    parse_id,
    read_id,
    read_time,
)

TIME = datetime(2026, 11, 23, 15, 12, 58)
TEXT: TypeAdapter[str] = TypeAdapter(Text)
FLAG: TypeAdapter[bool] = TypeAdapter(Flag)
USER_ID: TypeAdapter[int] = TypeAdapter(AnyUserId)


def messages(value: object, kind: TypeAdapter[Any] = TEXT) -> list[str]:
    """Return what is wrong with a value of a type."""
    try:
        kind.validate_python(value)
    except ValidationError as error:
        return [problem["msg"] for problem in error.errors()]
    return []


class IdTests(unittest.TestCase):
    """An id in a path or a text."""

    def test_parse_id_reads_ascii_decimal_integers_only(self):
        for text, number in [("7", 7), ("-7", -7), ("007", 7), ("9999999999", 9999999999)]:
            with self.subTest(text):
                self.assertEqual(parse_id(text), number)
        for text in ["٧", "", "-", "+7", "7.0", "7\n", "0x7"]:
            with self.subTest(text), self.assertRaises(WrongId):
                parse_id(text)

    def test_id_of_too_many_digits_is_no_row(self):
        for digits, number in [("9" * 11, 0), ("-" + "9" * 5_000, 0), ("0" * 5_000 + "7", 7)]:
            with self.subTest(digits[:12]):
                self.assertEqual(read_id(digits), number)


class SimpleTextTests(unittest.TestCase):
    """What is known at a glance to be right."""

    def test_usual_texts_are_simple(self):
        for text in ["cnych", "Dagný Novák", "名前", "😀"]:
            self.assertTrue(is_simple_text(text), text)

    def test_simple_text_is_valid(self):
        made_up = random.Random(20261123)
        pieces = [chr(code) for code in range(0x250)]
        pieces += [chr(made_up.randrange(0x110000)) for _ in range(2_000)]
        texts = ["".join(made_up.choices(pieces, k=made_up.randint(0, 3))) for _ in range(20_000)]
        texts += ["\ufffd", *DIRECTIONS, *("x" * length for length in (0, 127, 128, 129))]

        plain = [text for text in texts if is_simple_text(text)]

        self.assertGreater(len(plain), len(texts) / 50)
        self.assertLess(len(plain), len(texts))
        for text in plain:
            categories = {unicodedata.category(character) for character in text}
            self.assertTrue(0 < len(text) <= 128, text)
            self.assertFalse(categories & {"Cc", "Cs"}, text)
            self.assertTrue(any(category[0] not in "ZC" for category in categories), text)
            self.assertFalse({"\ufffd", *DIRECTIONS} & set(text), text)


class TextTests(unittest.TestCase):
    """A text of one line."""

    def test_text_of_any_script_is_accepted(self):
        for text in [
            "x",
            "x" * 128,
            "😀" * 128,
            "名前",
            "  spaced  ",
            "a\u200db",
            "<b>",
            "%_\\'",
        ]:
            with self.subTest(text):
                self.assertEqual(messages(text), [])

    def test_wrong_text_is_refused_with_the_reason(self):
        for text, reason in [
            ("", "Must not be blank."),
            (" \u3000\u200b", "Must not be blank."),
            ("x" * 129, "Must have at most 128 characters; this has 129."),
            ("a\x00", "Must not contain control characters."),
            ("a\nb", "Must not contain control characters."),
            ("a\x9f", "Must not contain control characters."),
            ("a\ufffdb", "Must not contain U+FFFD, the replacement for invalid UTF-8."),
            (None, "Input should be a valid string"),
            (7, "Input should be a valid string"),
            (b"x", "Input should be a valid string"),
            (["x"], "Input should be a valid string"),
        ]:
            with self.subTest(text):
                self.assertEqual(messages(text), [reason])

    def test_text_that_changes_its_direction_is_refused(self):
        reason = "Must not contain characters that change the direction of the text."
        for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
            for text in [chr(code), f"Ada{chr(code)}nimda", f"שלום{chr(code)}"]:
                with self.subTest(text):
                    self.assertEqual(messages(text), [reason])
        for text in ["שלום עולם", "مرحبا", "שלום Ada", "a\u200eb"]:
            self.assertEqual(messages(text), [])

    def test_pattern_says_the_same(self):
        pattern = re.compile(TEXT.json_schema()["pattern"])
        for code in range(0x3000):
            text = f"a{chr(code)}"
            with self.subTest(text):
                self.assertEqual(bool(pattern.fullmatch(text)), not messages(text))

    def test_lone_surrogate_is_refused(self):
        self.assertEqual(len(messages("a\ud800")), 1)


class ReadTimeTests(unittest.TestCase):
    """A date or a time in ISO 8601."""

    def test_time_with_any_zone_is_read_as_utc_in_whole_seconds(self):
        for text, moment in [
            ("2026-11-23T15:12:58Z", TIME),
            ("2026-11-23 15:12:58.999999", TIME),
            ("2026-11-23T17:12:58+02:00", TIME),
            ("20261123T151258Z", TIME),
            ("2026-11-23", datetime(2026, 11, 23)),
            ("0001-01-01", datetime.min),
        ]:
            with self.subTest(text):
                self.assertEqual(read_time(text, message=""), moment)

    def test_anything_else_is_refused_with_the_message(self):
        for value in ["", "yesterday", "2026-02-30", "9999-12-31T23:59:59-01:00", 7, None]:
            with (
                self.subTest(value),
                self.assertRaisesRegex(PydanticCustomError, "Must be a time."),
            ):
                read_time(value, message="Must be a time.")

    def test_time_before_the_first_year_is_refused(self):
        self.assertEqual(read_time("1000-01-01", message="", first_year=1000), datetime(1000, 1, 1))
        for text in ["0999-12-31T23:59:59Z", "1000-01-01T00:00:00+00:01"]:
            with self.subTest(text), self.assertRaises(PydanticCustomError):
                read_time(text, message="Too early.", first_year=1000)


class QueryTests(unittest.TestCase):
    """What stands in a query string."""

    def test_flag_is_true_or_false(self):
        self.assertIs(FLAG.validate_python("true"), True)
        self.assertIs(FLAG.validate_python("false"), False)
        for text in ["", "True", "1", "yes"]:
            with self.subTest(text):
                self.assertEqual(messages(text, FLAG), ["Must be true or false."])

    def test_user_id_has_at_most_ten_digits(self):
        self.assertEqual(USER_ID.validate_python("9999999999"), 9_999_999_999)
        for text in ["", "-7", "٧", "x", "7" * 11]:
            with self.subTest(text):
                self.assertEqual(messages(text, USER_ID), ["Must be a user's id."])

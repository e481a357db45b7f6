"""The form of addresses, and which of them are one mailbox."""

import random
import sys
import unicodedata
import unittest

import email_validator

from project.api.users.folding import (
    check_email,
    fold_email,
    fold_username,
    is_simple_email,
    prefix_range,
)
from project.api.users.models import FOLDED_EMAIL_LENGTH


class CheckEmailTests(unittest.TestCase):
    """What is an address."""

    def test_addresses_are_accepted(self):
        for email in [
            "a@example.com",
            "first.last+tag@sub.example.co",
            "a@example.test",
            "a@printer.local",
            "a@service.invalid",
            "üser@example.com",
            "用户@例え.jp",
            "a@bücher.example",
            "a@xn--bcher-kva.example",
            "o'neil@example.com",
        ]:
            with self.subTest(email):
                check_email(email)

    def test_what_is_no_address_is_refused(self):
        for email in [
            "a",
            "@example.com",
            "a@",
            "a@b",
            "a@localhost",
            "a b@example.com",
            " a@example.com",
            "a@example.com ",
            "a@@example.com",
            "a@exa mple.com",
            "a@-example.com",
            "a@example..com",
            ".a@example.com",
            "a@[127.0.0.1]",
            '"a b"@example.com',
            "A <a@example.com>",
            "a@example.com\n",
            "a\u200b@example.com",
            "a\u202e@example.com",
            "a@xn--a.example",
        ]:
            with self.subTest(email), self.assertRaises(ValueError):
                check_email(email)


class SimpleEmailTests(unittest.TestCase):
    """What is known at a glance to be an address."""

    def test_usual_addresses_are_simple(self):
        for email in ["ada@example.com", "A.B+c_d-1@mail.my-host.co.uk"]:
            self.assertTrue(is_simple_email(email), email)

    def test_simple_email_is_valid(self):
        made_up = random.Random(20261123)
        pieces = [*"aZ9_+-.", "b", "example", "x" * 50] * 8
        pieces += [*"@'\"\\/ \n\x00é", "xn--", "--", "x" * 63, "b@c."]

        def part() -> str:
            return "".join(made_up.choices(pieces, k=made_up.randint(0, 3)))

        texts = [f"{part()}@{part()}{made_up.choice(['.com', '.C', ''])}" for _ in range(20_000)]

        plain = [text for text in texts if is_simple_email(text)]

        self.assertGreater(len(plain), len(texts) / 50)
        self.assertLess(len(plain), len(texts))
        for text in plain:
            email_validator.validate_email(text, check_deliverability=False)


class FoldEmailTests(unittest.TestCase):
    """When two spellings are one mailbox."""

    def test_spellings_of_one_mailbox_are_equal(self):
        for one, other in [
            ("A@B.com", "a@b.COM"),
            ("üser@example.com", "ÜSER@example.com"),
            ("u\u0308ser@example.com", "\u00fcser@example.com"),
            ("straße@example.com", "STRASSE@example.com"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u0308cher.example", "a@XN--BCHER-KVA.example"),
            ("ὈΔΥΣΣΕΎΣ@example.com", "ὀδυσσεύσ@example.com"),
        ]:
            with self.subTest(one):
                self.assertEqual(fold_email(one), fold_email(other))

    def test_different_mailboxes_differ(self):
        for one, other in [
            ("a@example.com", "b@example.com"),
            ("a@example.com", "a@example.org"),
            ("a.b@example.com", "ab@example.com"),
            ("a+b@example.com", "a@example.com"),
            ("ü@example.com", "u@example.com"),
            ("ß@example.com", "s@example.com"),
            ("ａ@example.com", "a@example.com"),
        ]:
            with self.subTest(one):
                self.assertNotEqual(fold_email(one), fold_email(other))

    def test_folding_twice_changes_nothing(self):
        for email in ["STRASSE@B.com", "ΐ@bücher.example", "İ@example.com", "ǰ\u0323@example.com"]:
            with self.subTest(email):
                self.assertEqual(fold_email(fold_email(email)), fold_email(email))

    def test_no_local_part_outgrows_the_column(self):
        """A local part of 123 characters, folded, and the shortest domain fit in the column."""
        longest = 0
        for character in map(chr, range(sys.maxunicode + 1)):
            normal = unicodedata.normalize("NFC", character)
            folded = unicodedata.normalize("NFC", normal.casefold())
            longest = max(longest, len(folded))

        self.assertLessEqual(123 * longest + len("@a.bc"), FOLDED_EMAIL_LENGTH)


class PrefixRangeTests(unittest.TestCase):
    """From the first text with a prefix to the first without it."""

    def test_range_ends_where_the_prefix_does(self):
        for prefix, end in [
            ("a", "b"),
            ("ab", "ac"),
            ("\ud7ff", "\ue000"),
            ("a\U0010ffff", "b"),
            ("\U0010ffff", "\U0010ffff\U0010ffff"),
        ]:
            with self.subTest(prefix):
                self.assertEqual(prefix_range(prefix), (prefix, end))

    def test_usernames_are_folded_without_case_and_space_at_the_end(self):
        for one, other in [("ÀB  ", "a\u0300b"), ("STRASSE", "straße")]:
            with self.subTest(one):
                self.assertEqual(fold_username(one), fold_username(other))

"""The words of names, addresses and searches."""

import unittest

from project.api.users.folding import fold_email
from project.api.users.words import MAX_WORDS, WORD_LENGTH, search_words, words_of


def finds(search: str, username: str = "x", email: str = "x@example.org") -> bool:
    """Return whether a search finds a user."""
    words = words_of(username, email, fold_email(email))
    searched = search_words(search)
    return bool(searched) and all(any(word.startswith(each) for word in words) for each in searched)


class WordTests(unittest.TestCase):
    """Which searches find which user."""

    def test_words_of_a_name_are_found(self):
        for username, searches in {
            "Ada Lovelace": ["ada", "LOVE", "lovelace", "lovelace ada", "Lovelace, Ada", "ada a"],
            "Jean-Luc O'Brien": ["jean", "luc", "jean-luc", "o'brien", "O’Brien", "brien"],
            "ada.lovelace_1815": ["ada.love", "lovelace_1", "1815"],
            "Grace (Amazing) Hopper": ["amazing", "(amazing)", "hopper"],
            "王小明": ["王", "王小", "小明", "明"],
            "エイダ・ラブレス": ["エイダ", "ラブレス", "ブレス", "ｴｲﾀﾞ"],
            "김철수": ["김철", "철수"],
            "สมชาย ใจดี": ["สมชาย", "ชาย", "ใจดี"],
            "អេដា": ["ដា"],
            "မောင်": ["မောင်"],
            "王Ada": ["ada", "王ada"],
            "अमिता कुमार": ["अमि", "कुमार"],
            "José Núñez": ["jose", "JOSÉ", "nunez", "núñ", "jose\u0301"],
            "Zoe": ["zoë"],
            "Søren Łukasz Æsir": ["soren", "lukasz", "aesir", "æsir"],
            "STRASSE": ["straße"],
            "ＡＤＡ": ["ada"],
            "İpek": ["ipek"],
            "Ёлкин": ["елкин", "ЁЛ"],
            "100%": ["100%"],
            "a_b": ["a_"],
            "🦊 Fox": ["🦊", "fox"],
            "\U0010ffff": ["\U0010ffff"],
        }.items():
            for search in searches:
                with self.subTest(username, search=search):
                    self.assertTrue(finds(search, username))

    def test_parts_of_an_address_are_found(self):
        for email, searches in {
            "Ada.Love-Lace_x+tag@Mail.Example.co.uk": [
                *("ada", "love", "lace", "x+tag", "tag", "mail.example.co.uk", "EXAMPLE.co"),
                *("co", "uk", "@mail.example", "ada.love-lace_x+tag@mail.example.co.uk", "ada.l"),
            ],
            "Bü.x@BÜCHER.example": [
                *("bü.x@bücher.example", "bu.x@bucher", "bücher", "xn--bcher-kva.example"),
                *("BÜ.X@xn--bch", "x", "example"),
            ],
            "x@xn--bcher-kva.example": ["bücher.example", "xn--bcher"],
            "x@xn--0.example": ["xn--0.example"],
        }.items():
            for search in searches:
                with self.subTest(email, search=search):
                    self.assertTrue(finds(search, email=email))

    def test_other_searches_find_nobody(self):
        for username, search in [
            ("Ada Lovelace", "ovelace"),
            ("Ada Lovelace", "ada byron"),
            ("a.b@c.d", "b@c"),
            ("a_b", "a%"),
            ("axb", "a_"),
            ("1000", "100%"),
            ("Ada", "'"),
            ("Ada", "%"),
            ("Ada", ", ;"),
            ("ハハ", "パパ"),
            ("अमिता", "मिता"),
        ]:
            with self.subTest(username, search=search):
                self.assertFalse(finds(search, username))

    def test_word_that_begins_another_is_not_stored(self):
        self.assertEqual(
            words_of("Ada Lovelace", "ada.lovelace@example.com", "ada.lovelace@example.com"),
            ["ada.lovelace@example.com", "com", "example.com", "lovelace"],
        )

    def test_words_are_limited_in_length_and_number(self):
        for username in ["明" * 128, "ﷺ" * 128, "a " * 64, "a." * 64, "x" * 128]:
            with self.subTest(username):
                words = words_of(username, "x@example.org", "x@example.org")

                self.assertLessEqual(len(words), MAX_WORDS)
                self.assertLessEqual(max(map(len, words)), WORD_LENGTH)
                self.assertIn("example.org", words)
                self.assertTrue(finds(username, username))

    def test_fast_path_has_the_words_of_the_slow_one(self):
        for username in ["Ada Lovelace", "a.b-c_d+e@f", "(x) [y]", "100% \\a's", "a" * 100 + " b"]:
            with self.subTest(username):
                ascii_words = set(words_of(username, "", ""))
                others = set(words_of(f"{username} 明", "", ""))

                self.assertEqual(ascii_words - {""}, others - {"明"})

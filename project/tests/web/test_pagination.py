"""Cursors: the key that was signed comes back."""

from string import ascii_letters

from itsdangerous import URLSafeSerializer

from project.errors import Invalid
from project.tests.base import BaseTestCase
from project.web.pagination import make_cursor, read_cursor


class CursorTests(BaseTestCase):
    """Across versions and keys; that other cursors are refused, the lists' own tests see."""

    def test_key_comes_back_as_it_was(self):
        for key in ([7], ["2026-01-02T03:04:05.000006", 7], ["grüße" * 50, 2**31 - 1]):
            with self.subTest(key):
                self.assertEqual(read_cursor("list", make_cursor("list", key)), key)

    def test_cursor_of_an_earlier_version_is_read_or_refused(self):
        earlier = URLSafeSerializer(self.app.config["SECRET_KEY"], salt="cursor:list")

        self.assertEqual(read_cursor("list", str(earlier.dumps(["a", 7]))), ["a", 7])
        for length in range(12):  # long keys were compressed
            with self.subTest(length), self.assertRaises(Invalid):
                read_cursor("list", str(earlier.dumps(["a" * 200 + ascii_letters[:length], 7])))

    def test_cursor_signed_by_a_former_key_is_read(self):
        cursor = make_cursor("list", [7])
        former, self.app.config["SECRET_KEY"] = self.app.config["SECRET_KEY"], "new" * 12
        with self.assertRaises(Invalid):
            read_cursor("list", cursor)

        self.app.config["SECRET_KEY_FALLBACKS"] = [former]

        self.assertEqual(read_cursor("list", cursor), [7])

"""JSON as the service writes and reads it."""

from datetime import datetime

from flask import current_app, jsonify

from project.tests.base import BaseTestCase


class OrjsonProviderTests(BaseTestCase):
    """Flask's JSON, by orjson."""

    def test_times_are_utc_without_fraction(self):
        time = datetime(2026, 11, 23, 15, 12, 58, 999999)

        self.assertEqual(current_app.json.dumps([time]), '["2026-11-23T15:12:58Z"]')

    def test_text_is_written_as_utf_8(self):
        response = jsonify(name="ü😀")

        self.assertEqual(response.data, '{"name":"ü😀"}\n'.encode())

    def test_what_is_not_json_is_refused(self):
        texts: list[str | bytes] = ["", "{", "NaN", '"\\ud800"', b"\xff", "[" * 2000 + "]" * 2000]
        for text in texts:
            with self.subTest(text[:20]), self.assertRaises(ValueError):
                current_app.json.loads(text)

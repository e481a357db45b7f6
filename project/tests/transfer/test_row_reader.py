"""Rows out of bytes: the form of CSV and NDJSON, and what is left of what is broken."""

import gzip
import json
import tracemalloc
import unittest
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from project.api.transfer.columns import Columns
from project.api.transfer.row_reader import read_rows
from project.api.transfer.stream import MAX_ROW_BYTES, BadRow, OutOfProportion, Row, Source
from project.errors import Invalid, TooLarge

ADA = {"username": "Ada", "email": "ada@example.com"}
BO = {"username": "Bo", "email": "bo@example.com"}


def columns(with_id: bool = False) -> Columns:
    """Return which columns these tests know."""
    fields = ("username", "email", "active", "created_at", "updated_at", "a")
    return Columns((*fields, "id") if with_id else fields)


def rows(data: bytes, form: str = "csv", gzipped: bool = False, **options: int) -> list[Any]:
    """Return all rows of these bytes."""
    source = Source(BytesIO(data).read, **options)
    return list(read_rows(source, gzipped, columns(), form == "ndjson"))


class CSVTests(unittest.TestCase):
    """RFC 4180, and what spreadsheets make of it."""

    def test_columns_are_known_by_their_names_in_any_order_and_letter_case(self):
        data = (
            b"id, E-Mail,EMAIL, Username \r\n1,x,ada@example.com,Ada\r\n2,x,bo@example.com,Bo\r\n"
        )

        self.assertEqual(rows(data), [Row(2, ADA), Row(3, BO)])

    def test_byte_order_mark_semicolons_and_a_missing_line_end_are_taken(self):
        data = b"\xef\xbb\xbfusername;email\nAda;ada@example.com\nBo;bo@example.com"

        self.assertEqual(rows(data), [Row(2, ADA), Row(3, BO)])

    def test_quoted_cells_hold_commas_quotes_and_line_ends(self):
        data = b'"username","note",email\r\n"A, ""B""","x\r\ny\nz",a@b.c\r\nBo,,bo@example.com\r\n'

        first = {"username": 'A, "B"', "email": "a@b.c"}
        self.assertEqual(rows(data), [Row(2, first), Row(5, BO)])

    def test_row_of_empty_cells_is_passed_over(self):
        data = b"username,email,active,created_at\n,,,\nAda,ada@example.com,true,\n"

        self.assertEqual(rows(data), [Row(3, {**ADA, "active": "true", "created_at": ""})])

    def test_empty_lines_are_passed_over(self):
        data = b"\n\r\nusername,email\n\nAda,ada@example.com\n\n\n"

        self.assertEqual(rows(data), [Row(5, ADA)])

    def test_nothing_and_a_header_alone_are_no_rows(self):
        for data in [b"", b"\n", b"\xef\xbb\xbf", b"username,email", b"username,email\r\n"]:
            with self.subTest(data):
                self.assertEqual(rows(data), [])

    def test_wrong_header_is_refused_and_the_columns_named(self):
        for data, columns in [
            (b"a,b\n", ["username", "email"]),
            (b"username;phone\n", ["email"]),
            (b"Ada,ada@example.com\n", ["username", "email"]),
            (b"username,email,USERNAME,active,active\n", ["username", "active"]),
        ]:
            with self.subTest(data), self.assertRaises(Invalid) as caught:
                rows(data)
            self.assertCountEqual([error.field for error in caught.exception.errors], columns)

    def test_header_that_cannot_be_read_is_refused(self):
        for data in [b"\xffusername,email\n", b'"username,email\n', b"x" * 70_000]:
            with self.subTest(data[:9]), self.assertRaises(Invalid) as caught:
                rows(data)
            self.assertRegex(caught.exception.message, r"^The header cannot be read: .+\.$")

    def test_broken_row_is_reported_and_the_next_is_read(self):
        for broken, reason in [
            (b"a,b,c", "Has 3 columns; the header has 2."),
            (b"\xff,b", "Is not valid UTF-8."),
            (b'"a"b,c', "A quoted cell must end at a ',' or at the end of the line."),
            (b"a\rb,c", None),
            (b"x" * 99_999, "Is longer than 65,536 bytes."),
            (b"x" * 999_999, "Is longer than 65,536 bytes."),
            (b'"a,b', "A quoted cell has no closing quote."),
            (b'a,"b', "A quoted cell has no closing quote."),
        ]:
            with self.subTest(broken[:9]):
                first, second = rows(b"username,email\n" + broken + b"\nBo,bo@example.com\n")

                self.assertEqual(first, BadRow(2, reason or first.reason))
                self.assertEqual(second, Row(3, BO))

    def test_quote_without_an_end_costs_one_row_however_many_follow(self):
        many = b"Bo,bo@example.com\n" * 9_000

        found = rows(b'username,email\n"Ada,ada@example.com\n' + many)

        self.assertEqual(found[0], BadRow(2, "Has no closing quote within 65,536 bytes."))
        self.assertEqual(found[1:], [Row(line, BO) for line in range(3, 9_003)])

    def test_quotes_without_an_end_on_every_line_take_no_more_than_their_length(self):
        data = b"username,email\n" + b'"x,y\n' * 20_000

        found = rows(data)

        self.assertGreater(len(found), 9_000)
        self.assertEqual({type(row) for row in found}, {BadRow})

    def test_nul_is_a_character_for_the_rules_to_refuse(self):
        self.assertEqual(
            rows(b"username,email\na\x00,b\n"), [Row(2, {"username": "a\x00", "email": "b"})]
        )


class NDJSONTests(unittest.TestCase):
    """A JSON object a line."""

    def test_objects_are_given_with_the_keys_that_are_known(self):
        data = b'\xef\xbb\xbf{"username": "Ada", "x": 1, "a": [1]}\r\n\n{"email": null}'

        self.assertEqual(
            rows(data, "ndjson"), [Row(1, {"username": "Ada", "a": [1]}), Row(3, {"email": None})]
        )

    def test_broken_row_is_reported_and_the_next_is_read(self):
        for broken, reason in [
            (b"x", None),
            (b"[]", "Must be a JSON object."),
            (b"null", "Must be a JSON object."),
            (b"\xff", "Is not valid UTF-8."),
            (b"[" * 2_000, None),
            (b'{"a": "' + b"x" * 70_000 + b'"}', "Is longer than 65,536 bytes."),
        ]:
            with self.subTest(broken[:9]):
                first, second = rows(broken + b'\n{"a": 1}\n', "ndjson")

                self.assertEqual(first, BadRow(1, reason or first.reason))
                self.assertRegex(first.reason, r"^(Is|Must) .*\.$")
                self.assertEqual(second, Row(2, {"a": 1}))

    def test_line_of_just_the_limit_is_read(self):
        line = b'{"a": 1}'.ljust(MAX_ROW_BYTES)

        for data in [line, line + b"\n"]:
            self.assertEqual(rows(data, "ndjson"), [Row(1, {"a": 1})])


class ColumnsTests(unittest.TestCase):
    """Which columns are read, and how ignored ones are reported."""

    def read(self, data: str, form: str, with_id: bool = False) -> tuple[list[Any], list[str]]:
        """Return the rows' values, and the names that were ignored."""
        known = columns(with_id)
        read = read_rows(Source(BytesIO(data.encode()).read), False, known, form == "ndjson")
        return [row.values for row in read if isinstance(row, Row)], known.ignored

    def test_ignored_columns_are_reported_once_as_written(self):
        csv = "ID,username, Note ,EMAIL,,note,Role\n7,Ada,n,ada@example.com,x,m,admin\n"
        ndjson = "\n".join(
            json.dumps({**ADA, **more})
            for more in ({"id": 7}, {"ID": 7, "": 1}, {}, {"role": "x", "id": 8}, {"active": "no"})
        )

        self.assertEqual(self.read(csv, "csv"), ([ADA], ["ID", "Note", "note", "Role"]))
        self.assertEqual(self.read(ndjson, "ndjson")[1], ["id", "ID", "role"])
        self.assertEqual(self.read("username,email\nAda,ada@example.com\n", "csv"), ([ADA], []))

    def test_ids_are_read_where_they_are_asked_for(self):
        csv = "ID,username,email,x\n7,Ada,ada@example.com,\n,Bo,bo@example.com,\n"
        ndjson = json.dumps({"id": 7, **ADA, "x": 1})

        self.assertEqual(self.read(csv, "csv", True), ([{**ADA, "id": "7"}, BO], ["x"]))
        self.assertEqual(self.read(ndjson, "ndjson", True), ([{"id": 7, **ADA}], ["x"]))

    def test_csv_must_have_the_ids_that_are_asked_for_once(self):
        for header in ["username,email", "id,username,email,ID"]:
            with self.subTest(header), self.assertRaises(Invalid) as caught:
                self.read(f"{header}\n", "csv", True)
            self.assertEqual([error.field for error in caught.exception.errors], ["id"])
        self.assertEqual(self.read("", "csv", True), ([], []))

    def test_names_are_bounded_in_number_and_length(self):
        names = [f"{number}{'x' * 999}" for number in range(999)]
        csv = f"username,email,{','.join(names)}\n"
        ndjson = "\n".join(json.dumps({name: 1}) for name in names)
        for data, form in [(csv[:60_000] + "\n", "csv"), (ndjson, "ndjson")]:
            with self.subTest(form):
                ignored = self.read(data, form)[1]

                self.assertLessEqual(len(ignored), 100)
                self.assertEqual(ignored[0], f"0{'x' * 98}…")
        self.assertEqual(len(ignored), 100)


class SourceTests(unittest.TestCase):
    """Compressed, too large, cut off, damaged."""

    CSV = b"username,email\nAda,ada@example.com\n"

    def test_gzip_of_any_number_of_parts_is_unpacked(self):
        for data in [
            gzip.compress(self.CSV),
            gzip.compress(self.CSV[:20]) + gzip.compress(self.CSV[20:]),
        ]:
            with self.subTest(len(data)):
                self.assertEqual(rows(data, gzipped=True), [Row(2, ADA)])
        self.assertEqual(rows(b"", gzipped=True), [])

    def test_gzip_that_is_none_cut_off_or_damaged_is_refused(self):
        packed = gzip.compress(self.CSV)
        for data in [b"username", packed[:5], packed[:-1], packed[:-12], packed[:-5] + b"x" * 5]:
            with self.subTest(data), self.assertRaises(Invalid) as caught:
                rows(data, gzipped=True)
            self.assertIn("The compressed data is incomplete or corrupt.", caught.exception.message)

    def test_rows_before_the_damage_are_given(self):
        lines = b"".join(b"u%d,u%d@example.com\n" % (n, n) for n in range(50_000))
        packed = gzip.compress(b"username,email\n" + lines)
        reader = read_rows(Source(BytesIO(packed[: len(packed) // 2]).read), True, columns())

        found = self.until_refused(reader)

        self.assertGreater(len(found), 10_000)
        self.assertEqual(found[0], Row(2, {"username": "u0", "email": "u0@example.com"}))

    def until_refused(self, reader: Iterator[Any]) -> list[Any]:
        """Return the rows until the data turns out to be wrong."""
        found = []
        with self.assertRaises(Invalid):
            for row in reader:
                found.append(row)
        return found

    def test_data_that_ends_early_is_refused(self):
        with self.assertRaises(Invalid) as caught:
            rows(self.CSV, size=1_000)

        self.assertEqual(caught.exception.message, "The data ends after 35 of 1,000 bytes.")

    def test_limit_is_on_the_bytes_read_and_on_those_unpacked(self):
        size = len(self.CSV)
        self.assertEqual(len(rows(self.CSV, max_bytes=size)), 1)
        self.assertEqual(len(rows(gzip.compress(self.CSV), gzipped=True, max_bytes=size + 40)), 1)
        packed = gzip.compress(self.CSV * 100)
        cases: list[tuple[bytes, bool, dict[str, int]]] = [
            (self.CSV, False, {"max_bytes": size - 1}),
            (self.CSV, False, {"max_bytes": size - 1, "size": size}),
            (packed, True, {"max_bytes": size * 100 - 1}),
            (packed, True, {"max_bytes": len(packed) - 1}),
        ]
        for data, gzipped, options in cases:
            with self.subTest(options), self.assertRaises(TooLarge) as caught:
                rows(data, "csv", gzipped, **options)
            self.assertIn(f"larger than {options['max_bytes']:,} bytes", caught.exception.message)

    def test_bomb_of_one_line_fills_no_memory(self):
        bomb = gzip.compress(bytes(100_000_000))
        self.assertLess(len(bomb), 200_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

        with self.assertRaises(TooLarge):
            rows(bomb, "ndjson", gzipped=True, max_bytes=50_000_000)

        self.assertLess(tracemalloc.get_traced_memory()[1], 2_000_000)

    def test_bomb_is_refused_before_it_has_cost_more_than_it_may(self):
        lines = "The data decompresses to more than one line per 2 bytes received."
        unpacked = "The data decompresses to more than 200 bytes per byte received."
        header = b"username,email\n"
        for name, data, form, reason in [
            ("empty lines", header + b"\n" * 3_000_000, "csv", lines),
            ("empty lines", b"\n" * 3_000_000, "ndjson", lines),
            ("empty objects", b"{}\n" * 1_000_000, "ndjson", lines),
            ("short rows", header + b"x\n" * 1_000_000, "csv", lines),
            ("lines in quotes", header + (b'"' + b"\n" * 60_000 + b'"\n') * 50, "csv", lines),
            ("one row again and again", header + b"u,u@e.cc\n" * 300_000, "csv", lines),
            ("long lines", header + (b"x" * 9_999 + b"\n") * 300, "csv", unpacked),
            ("one line", b"x" * 3_000_000, "ndjson", unpacked),
        ]:
            packed = gzip.compress(data)
            source = Source(BytesIO(packed).read, max_bytes=10**9)
            lines_taken = 0
            with self.subTest(name, form=form), self.assertRaises(OutOfProportion) as caught:
                for row in read_rows(source, True, columns(), form == "ndjson"):
                    lines_taken = row.line
            self.assertEqual(caught.exception.message, reason)
            self.assertLessEqual(lines_taken, 10_000 + len(packed) // 2)

    def test_honest_data_is_in_proportion_however_tightly_it_is_packed(self):
        time = "2026-11-23T15:12:58Z"
        same = f'"x","{{0}}@example.com",false,"{time}","{time}"\r\n'
        wide = f'{{{{"username":"x","email":"{{0}}@e.cc","note":"{"x" * 400}"}}}}\n'
        for form, header, row in [
            ("csv", "username,email\n", "{0},{0}@e.cc\n"),
            ("csv", "username,email\n", "{0},{0}@e.cc\r\n\r\n"),
            ("csv", "username,email,active,created_at,updated_at\r\n", same),
            ("ndjson", "", wide),
        ]:
            data = header + "".join(row.format(number) for number in range(50_000))
            with self.subTest(row[:9], form=form):
                found = rows(gzip.compress(data.encode(), 9), form, True, max_bytes=10**9)

                self.assertEqual([type(row) for row in found], [Row] * 50_000)

    def test_quotes_that_make_one_read_all_again_are_refused_in_time(self):
        open_again = b'x","\n'  # opens a quote, on a line of its own and within a quote
        for count in (5_000, 200_000):
            source = Source(BytesIO(b"username,email\n" + open_again * count).read)
            found: list[Row | BadRow] = []
            with self.subTest(count), self.assertRaises(OutOfProportion) as caught:
                for row in read_rows(source, False, columns()):
                    found.append(row)
            self.assertEqual(
                caught.exception.message, "Too many quotes in the data are not closed."
            )
            self.assertTrue(0 < len(found) < 100, len(found))

    def test_failures_are_allowed_in_proportion_to_what_came(self):
        source = Source(BytesIO(b"x" * 1000).read, max_bytes=10**6)
        source.refuse_failures(10_000)
        with self.assertRaises(OutOfProportion) as caught:
            source.refuse_failures(10_001)
        self.assertEqual(
            caught.exception.message, "More than one row has failed per 4 bytes received."
        )

        source.read()

        source.refuse_failures(10_250)
        self.assertRaises(OutOfProportion, source.refuse_failures, 10_251)
        Source(BytesIO().read).refuse_failures(10**9)

    def test_position_tells_how_far_the_reading_is(self):
        source = Source(BytesIO(self.CSV).read)

        list(read_rows(source, False, columns()))

        self.assertEqual(source.position, len(self.CSV))

"""POST /users/import and GET /users/export over HTTP."""

import gzip
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from unittest import mock

import structlog
from sqlalchemy.exc import DBAPIError
from structlog.testing import LogCapture

from project import db
from project.api.transfer import exporting, importing, views
from project.api.transfer.row_reader import read_rows
from project.api.users import queries
from project.database import read
from project.errors import AppError, Forbidden, Unauthenticated
from project.tests.audit.base import PASSWORD, AuditTestCase
from project.tests.base import BaseTestCase
from project.tests.database.test_failures import driver_error
from project.tests.factories import all_users, make_user, make_users
from project.tests.wire import recorded_commands
from project.web import downloads

CSV = "username,email,active\r\nAda,ada@example.com,true\r\nBo,bo@example.com,\r\n"
NDJSON = '{"username": "Ada", "email": "ada@example.com", "active": true}\n'


@contextmanager
def captured_log() -> Iterator[list[MutableMapping[str, Any]]]:
    """Give the lines that imports and exports log."""
    capture = LogCapture()
    every_level = structlog.make_filtering_bound_logger("DEBUG")
    log = structlog.wrap_logger(None, processors=[capture], wrapper_class=every_level)
    with mock.patch.object(downloads, "log", log):
        yield capture.entries


class ImportTests(BaseTestCase):
    """POST /users/import."""

    def post(self, body: str | bytes, content_type: str = "text/csv", query: str = "", **more: Any):
        """Send a body; return the answer."""
        return self.client.post(
            f"/users/import{query}", data=body, content_type=content_type, **more
        )

    def assert_fails(self, response, status: int, field: str | None = None) -> None:
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.json["status"], "fail")
        if field:
            self.assertEqual([error["field"] for error in response.json["errors"]], [field])

    def emails(self) -> list[str]:
        return [row.email for row in all_users()]

    def test_rows_become_users_and_the_others_are_reported(self):
        make_user(username="B", email="bo@example.com")
        body = CSV + "Ada,ADA@example.com,true\r\nCy,nobody,\r\nBo,bo@example.com,false\r\n"

        response = self.post(body)

        reason = "email: “nobody” was refused. An email address must have an @-sign."
        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.json,
            {
                "status": "success",
                "data": {
                    "created": 1,
                    "updated": 2,
                    "skipped": 1,
                    "failed": 1,
                    "deactivated": 0,
                    "missing": None,
                    "refusal": None,
                    "columns": {name: [name] for name in ("active", "email", "username")},
                    "ignored": [],
                    "header_line": 1,
                    "rows": [
                        {"line": 3, "result": "updated", "reason": "Changed: username."},
                        {"line": 4, "result": "updated", "reason": "Changed: email."},
                        {
                            "line": 5,
                            "result": "failed",
                            "reason": reason,
                        },
                        {"line": 6, "result": "skipped", "reason": "Nothing to change."},
                    ],
                    "rows_omitted": 0,
                    "failed_rows": [
                        {"username": "Cy", "email": "nobody", "active": "", "error": reason}
                    ],
                },
            },
        )
        self.assertEqual(self.emails(), ["bo@example.com", "ADA@example.com"])

    def test_every_usual_type_is_taken(self):
        for body, content_type in [
            (CSV, "text/csv"),
            (CSV, "text/csv; charset=UTF-8; header=present"),
            (NDJSON, "application/x-ndjson"),
            (NDJSON, "application/ndjson"),
            (NDJSON, "application/jsonl"),
            (NDJSON, "application/json"),
            (CSV, "application/vnd.ms-excel"),
            (CSV, "application/octet-stream"),
            (CSV, "text/plain"),
        ]:
            with self.subTest(content_type):
                response = self.post(body, content_type, "?dry_run=true")

                self.assertEqual(response.status_code, 200)
                self.assertGreater(response.json["data"]["created"], 0)

    def test_other_types_are_refused(self):
        for content_type in ["image/png", "", "text/csv; charset=latin1", "x"]:
            with self.subTest(content_type):
                self.assert_fails(self.post(CSV, content_type), 415, "Content-Type")
        self.assertEqual(self.emails(), [])

    def test_columns_may_be_chosen(self):
        body = "Work Email,Full Name,email\nada@example.com,Ada,x\n"
        query = "?map=email:Work%20Email&map=username:Full%20Name"

        data = self.post(body, query=query).json["data"]

        self.assertEqual(data["columns"], {"email": ["Work Email"], "username": ["Full Name"]})
        self.assertEqual((data["created"], data["ignored"]), (1, ["email"]))
        both = self.post("x\nb@example.com\n", query="?map=email:x&map=username:x").json["data"]
        self.assertEqual(both["columns"], {"email": ["x"], "username": ["x"]})
        for wrong in ["?map=email", "?map=phone:x", "?map=email:a&map=email:b", "?map=email:"]:
            with self.subTest(wrong):
                self.assert_fails(self.post(body, query=wrong), 400, "map")
        self.assert_fails(self.post(body, query="?map=email:Nothing"), 400, "email")

    def test_file_of_a_form_is_taken(self):
        fields = {"note": "x" * 1_000, "file": (BytesIO(CSV.encode()), "people.csv")}

        response = self.client.post("/users/import", data=fields)

        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(response.json["data"]["created"], 2)

    def test_form_without_one_whole_file_is_refused(self):
        kind = "multipart/form-data; boundary=b"
        file = '--b\r\nContent-Disposition: form-data; name="f"; filename="a.csv"\r\n\r\n' + CSV
        field = '--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx'
        for body, content_type, reason in [
            (f"{file}\r\n--b--", "multipart/form-data", "no boundary"),
            (f"{field}\r\n--b--", kind, "has no file"),
            (f"{file}\r\n{file}\r\n--b--", kind, "several files"),
            (file, kind, "incomplete or corrupt"),
            ("x" * 1_000_000, kind, "incomplete or corrupt"),
            (f"{field}\r\n" * 30 + "--b--", kind, "incomplete or corrupt"),
        ]:
            with self.subTest(reason):
                response = self.post(body, content_type)
                self.assert_fails(response, 400)
                self.assertIn(reason, response.json["message"])

    def test_page_of_another_site_imports_nothing(self):
        for site, status in [("cross-site", 403), ("same-site", 403), ("same-origin", 200)]:
            with self.subTest(site):
                headers = {"Sec-Fetch-Site": site}
                response = self.post(CSV, "text/plain", "?dry_run=true", headers=headers)
                self.assertEqual(response.status_code, status)

    def test_gzip_is_unpacked_and_other_encodings_are_refused(self):
        for encoding, body in [
            ("gzip", gzip.compress(CSV.encode())),
            ("X-Gzip", gzip.compress(CSV.encode())),
            ("identity", CSV.encode()),
        ]:
            with self.subTest(encoding):
                headers = {"Content-Encoding": encoding}
                response = self.post(body, query="?dry_run=true", headers=headers)
                self.assertEqual(response.json["data"]["created"], 2)
        for encoding in ["br", "deflate", "gzip, gzip", "x"]:
            with self.subTest(encoding):
                response = self.post(CSV, headers={"Content-Encoding": encoding})
                self.assert_fails(response, 415, "Content-Encoding")

    def test_body_in_chunks_is_taken(self):
        environ = {"wsgi.input": BytesIO(CSV.encode()), "wsgi.input_terminated": True}

        response = self.post(b"", environ_overrides={**environ, "CONTENT_LENGTH": ""})

        self.assertEqual(response.json["data"]["created"], 2)

    def test_nothing_is_no_rows(self):
        for body in ["", "username,email\r\n"]:
            response = self.post(body)

            self.assertEqual(response.status_code, 200)
            self.assertEqual(set(response.json["data"]), self.keys())

    def keys(self) -> set[str]:
        counts = {"created", "updated", "skipped", "failed", "deactivated", "missing", "refusal"}
        rows = {"rows", "rows_omitted", "failed_rows"}
        return counts | {"columns", "ignored", "header_line"} | rows

    def test_limit_is_that_of_imports_alone(self):
        body = CSV + "\n" * 2_000_000  # over the limit of the other endpoints
        self.assertEqual(self.post(body).json["data"]["created"], 2)

        self.app.config["IMPORT_MAX_BYTES"] = len(CSV)
        self.assertEqual(self.post(CSV).status_code, 200)
        bomb = gzip.compress(body.encode())
        self.app.config["IMPORT_MAX_BYTES"] = len(bomb)
        for large, encoding in [((CSV * 100).encode(), "identity"), (bomb, "gzip")]:
            with self.subTest(encoding):
                response = self.post(large, headers={"Content-Encoding": encoding})

                self.assert_fails(response, 413)
                self.assertRegex(
                    response.json["message"], r"^The data is larger than [\d,]+ bytes\."
                )

    def test_body_that_would_cost_too_much_is_refused_with_the_imported_rows(self):
        good = "".join(f"u{number},u{number}@example.com\n" for number in range(5000))
        head = ("username,email\n" + good).encode()
        for name, body, encoding, taken in [
            ("packed lines", gzip.compress(head + b"\n" * 2_000_000), "gzip", "one line per"),
            ("packed bytes", gzip.compress(head + b" " * 9_000_000), "gzip", "200 bytes per"),
            ("failures", head + b"x\n" * 100_000, "identity", "one row has failed per 4 by"),
            ("quotes", head + b'x","\n' * 20_000, "identity", "Too many quotes"),
        ]:
            with self.subTest(name):
                headers = {"Content-Encoding": encoding}
                response = self.post(body, query="?dry_run=true", headers=headers)

                self.assert_fails(response, 413)
                self.assertIn(taken, response.json["message"])
                self.assertRegex(
                    response.json["message"], r"up to line [\d,]+ would be imported\.$"
                )

    def test_broken_body_is_refused_with_the_imported_rows(self):
        short = {"CONTENT_LENGTH": "1000"}
        cases: list[tuple[str | bytes, dict[str, str], dict[str, Any], str]] = [
            ("a,b", {}, {}, "The header is invalid. No row was imported."),
            (
                gzip.compress(b"x" * 99)[:-9],
                {"Content-Encoding": "gzip"},
                {},
                "The compressed data is",
            ),
            (
                CSV,
                {},
                short,
                "The body is incomplete, or its chunked encoding is invalid. No row was imported.",
            ),
            (CSV, {}, {**short, "wsgi.input_terminated": True}, "The body is incomplete"),
        ]
        for body, headers, environ, message in cases:
            with self.subTest(message):
                response = self.post(body, headers=headers, environ_overrides=environ)

                self.assert_fails(response, 400)
                self.assertIn(message, response.json["message"])

    def test_dry_run_tells_and_saves_nothing(self):
        for value in ["true", "false"]:
            response = self.post(CSV, query=f"?dry_run={value}")

            self.assertEqual(response.json["data"]["created"], 2)
            self.assertEqual(len(self.emails()), 0 if value == "true" else 2)

    def test_corrected_export_changes_the_user_it_came_from(self):
        make_user(username="Ada", email="ada@example.com")
        ignored = ["role", "last_sign_in_at"]  # the first is for administrators
        for form, content_type in [("csv", "text/csv"), ("ndjson", "application/x-ndjson")]:
            exported = self.client.get(f"/users/export?format={form}").get_data(as_text=True)
            corrected = exported.replace("@", "x@")
            with self.subTest(form):
                by_mailbox, rehearsed, by_id = [
                    self.post(corrected, content_type, query).json["data"]
                    for query in ["?dry_run=true", "?match=id&dry_run=true", "?match=id"]
                ]

                self.assertEqual(
                    (by_mailbox["created"], by_mailbox["ignored"]), (1, ["id", *ignored])
                )
                self.assertEqual((by_id["updated"], by_id["ignored"]), (1, ignored))
                self.assertEqual(rehearsed, by_id)
        self.assertEqual(self.emails(), ["adaxx@example.com"])

    def test_csv_without_the_ids_to_match_by_is_refused(self):
        response = self.post(CSV, query="?match=id")

        self.assert_fails(response, 400, "id")
        self.assertEqual(response.json["message"], "The header is invalid. No row was imported.")

    def test_wrong_parameter_is_named(self):
        for query, field in [
            ("?match=username", "match"),
            ("?match=", "match"),
            ("?dry_run=1", "dry_run"),
            ("?dry_run=", "dry_run"),
            ("?dry_run=true&dry_run=true", "dry_run"),
            ("?force=true", "force"),
        ]:
            with self.subTest(query):
                self.assert_fails(self.post(CSV, query=query), 400, field)

    def test_database_away_is_503_and_tells_that_all_may_be_sent_again(self):
        lost = driver_error(2003, "Cannot connect", lost=True)
        with mock.patch.object(db.session, "execute", side_effect=lost):
            response = self.post(CSV)

        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json["status"], "error")
        self.assertIn("Send the whole file again", response.json["message"])

    def test_other_methods_are_not_allowed(self):
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"]:
            with self.subTest(method):
                response = self.client.open("/users/import", method=method)

                self.assertEqual(response.status_code, 405)
                self.assertEqual(set(response.allow), {"OPTIONS", "POST"})
        self.assertEqual(set(self.client.options("/users/import").allow), {"OPTIONS", "POST"})
        self.assertEqual(self.client.options("/users/import").status_code, 200)


SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ExportTests(BaseTestCase):
    """GET /users/export."""

    def test_users_are_sent_as_a_file(self):
        make_user(username="Ada", email="ada@example.com")
        for query, content_type, name, start in [
            ("", "text/csv; charset=utf-8", "users.csv", "id,username,email,"),
            ("?format=csv", "text/csv; charset=utf-8", "users.csv", "id,username,email,"),
            ("?format=ndjson", "application/x-ndjson", "users.ndjson", '{"id":1,"username":"Ada"'),
            ("?format=xlsx", SHEET_TYPE, "users.xlsx", "PK"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/users/export{query}")

                self.assertEqual(response.status_code, 200)
                self.assertEqual(response.content_type, content_type)
                disposition = response.headers["Content-Disposition"]
                self.assertEqual(disposition, f'attachment; filename="{name}"')
                self.assertNotIn("Content-Length", response.headers)
                self.assertTrue(response.data.startswith(start.encode()), response.data)

    def test_columns_filters_and_layout_may_be_chosen(self):
        make_user(username="=1", email="a@example.com", active=True, role="editor")
        make_user(username="Bo", email="b@example.com")
        for query, expected in [
            ("columns=username,id", 'username,id\r\n"=1",1\r\n"Bo",2\r\n'),
            ("columns=username&columns=id&active=true", 'username,id\r\n"=1",1\r\n'),
            ("columns=id&active=true", "id\r\n1\r\n"),
            ("columns=id&role=none", "id\r\n2\r\n"),
            ("columns=id&ids=2,7", "id\r\n2\r\n"),
            ("columns=username&bom=true&safe=true&role=editor", '\ufeffusername\r\n"\'=1"\r\n'),
            ("columns=id&q=b", "id\r\n2\r\n"),
            ("columns=id&q=example.com", "id\r\n1\r\n2\r\n"),
            ("columns=id,username&q=EXAMPLE&active=true&safe=true", 'id,username\r\n1,"\'=1"\r\n'),
            ("columns=id&q=b@example.com&format=ndjson", '{"id":2}\n'),
            ("columns=id&q=nobody", "id\r\n"),
            ("columns=id&q=", "id\r\n1\r\n2\r\n"),
            ("columns=id&format=ndjson", '{"id":1}\n{"id":2}\n'),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/users/export?{query}")
                self.assertEqual(response.data.decode(), expected)
        for query, field in [
            ("columns=phone", "columns"),
            ("columns=id,id", "columns"),
            ("columns=", "columns"),
            ("role=owner", "role"),
            ("ids=x", "ids"),
            ("ids=1&q=a", "ids"),
            ("q=%00", "q"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/users/export?{query}")
                self.assertEqual(response.status_code, 400, response.text)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])

    def test_head_is_answered_without_reading_rows(self):
        with recorded_commands() as commands:
            response = self.client.head("/users/export")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.content_type, "text/csv; charset=utf-8")
        self.assertEqual(commands, [])

    def test_database_that_is_away_is_503(self):
        lost = driver_error(2003, "Cannot connect", lost=True)
        with mock.patch.object(exporting, "read", side_effect=lost):
            response = self.client.get("/users/export")

        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json["status"], "error")

    def test_database_that_goes_away_later_cuts_the_answer_off(self):
        make_users(2)
        lost = driver_error(2013, "Lost connection", lost=True)
        statement = queries.lines(exporting._line(exporting.Layout("csv")), (), False, joined=True)
        answers = [read(statement, {"after": 0, "limit": 1}), lost]
        with (
            mock.patch.object(exporting, "ROWS_PER_CHUNK", 1),
            mock.patch.object(exporting, "read", side_effect=answers),
            captured_log() as entries,
            self.assertRaises(DBAPIError),
        ):
            self.client.get("/users/export").get_data()

        self.assertEqual([entry["event"] for entry in entries], ["export cut off"])
        self.assertEqual(entries[0]["reason"], "(2013, 'Lost connection')")

    def test_wrong_parameter_is_named(self):
        for query, field in [
            ("?format=xml", "format"),
            ("?format=", "format"),
            ("?format=csv&format=csv", "format"),
            ("?email=a@example.com", "email"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/users/export{query}")

                self.assertEqual(response.status_code, 400)
                self.assertEqual([error["field"] for error in response.json["errors"]], [field])

    def test_other_methods_are_not_allowed(self):
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"]:
            with self.subTest(method):
                response = self.client.open("/users/export", method=method)

                self.assertEqual(response.status_code, 405)
                self.assertEqual(set(response.allow), {"GET", "HEAD", "OPTIONS"})
        allowed = set(self.client.options("/users/export").allow)
        self.assertEqual(allowed, {"GET", "HEAD", "OPTIONS"})


def elsewhere(request: Callable[[], Any]) -> None:
    """Send a request in a thread, as those of others are, which shares nothing with this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(request).result()


class LostRightTests(AuditTestCase):
    """A caller loses the right while an import or export of theirs is under way."""

    ROWS = "".join(f"u{number},u{number}@example.com\n" for number in range(5))

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(importing, "ROWS_PER_BATCH", 2))
        self.enterContext(mock.patch.object(exporting, "ROWS_PER_CHUNK", 2))
        self.admin, self.token = self.sign_in("boss", "admin"), self.sign_in("editor", "editor")
        key = {"name": "robot", "scopes": ["users:read", "users:write"]}
        self.key = self.call("POST", "/auth/keys", self.token, json=key).json["data"]["key"]
        self.app.config["ACCESS"] = "protected"

    def losses(self) -> Iterator[tuple[str, str, Callable[[], object], type[AppError]]]:
        """Give each way in which the editor loses the right, once they have it again."""

        def change(**fields: Any) -> None:
            """Change the editor as an administrator does, in a request of its own."""
            response = self.call("PATCH", "/users/2", self.admin, json=fields)
            self.assertEqual(response.status_code, 200, response.text)

        def sign_out() -> None:
            self.assertEqual(self.call("POST", "/auth/logout", self.token).status_code, 200)

        def revoke() -> None:
            self.assertEqual(self.call("DELETE", "/auth/keys/1", again).status_code, 200)

        def remove() -> None:
            self.assertEqual(self.call("DELETE", "/users/2", self.admin).status_code, 200)

        for name, token in [("token", self.token), ("key", self.key)]:
            yield f"{name}: demoted", token, lambda: change(role=None), Forbidden
            change(role="editor")
            yield f"{name}: deactivated", token, lambda: change(active=False), Unauthenticated
            change(active=True)
            resumed = {"suspended": False}
            self.call("PATCH", "/auth/keys/1", self.admin, json=resumed)
        login = {"email": "editor@example.com", "password": PASSWORD}
        self.token = again = self.client.post("/auth/login", json=login).json["auth_token"]
        yield "token: signed out", self.token, sign_out, Unauthenticated
        self.token = again = self.client.post("/auth/login", json=login).json["auth_token"]
        yield "key: revoked", self.key, revoke, Unauthenticated
        yield "token: removed", self.token, remove, Unauthenticated

    def test_import_ends_when_the_next_batch_is_there(self):
        for number, (name, token, lose, kind) in enumerate(self.losses()):

            def rows(*arguments: Any) -> Iterator[Any]:
                for row in read_rows(*arguments):
                    if row.line == 5:  # the last of the second batch
                        elsewhere(lose)  # noqa: B023  (called at once)
                    yield row

            body = "username,email\n" + self.ROWS.replace("@", f"@{number}.")
            there = len(self.events())
            with self.subTest(name), mock.patch.object(views, "read_rows", rows):
                response = self.call(
                    "POST", "/users/import", token, data=body, content_type="text/csv"
                )

                self.assertEqual(response.status_code, 401 if kind is Unauthenticated else 403)
                self.assertEqual(
                    response.json["message"],
                    f"{kind.message} The rows up to line 3 were imported."
                    " So far: created 2, updated 0, skipped 0, failed 0.",
                )
                saved = [user.username for user in all_users() if f"@{number}." in user.email]
                self.assertEqual(saved, ["u0", "u1"])
                events = [e for e in self.events()[there:] if e.action == "users.imported"]
                self.assertEqual(
                    [event.after for event in events],
                    [{"created": 2, "updated": 0, "skipped": 0, "failed": 0}],
                )

    def test_import_of_a_demoted_administrator_gives_no_more_roles(self):
        boss = self.sign_in("second", "admin")

        def demote() -> None:
            demoted = self.call("PATCH", "/users/1", boss, json={"role": "editor"})
            self.assertEqual(demoted.status_code, 200)

        def rows(*arguments: Any) -> Iterator[Any]:
            for row in read_rows(*arguments):
                if row.line == 5:  # the last of the second batch
                    elsewhere(demote)
                yield row

        for access in ("protected", "open"):
            self.call("PATCH", "/users/1", boss, json={"role": "admin"})
            self.app.config["ACCESS"] = access
            body = "username,email,role\n" + "".join(
                f"Ada,{access}{number}@example.com,admin\n" for number in range(5)
            )
            with self.subTest(access), mock.patch.object(views, "read_rows", rows):
                response = self.call(
                    "POST", "/users/import", self.admin, data=body, content_type="text/csv"
                )

                self.assertEqual(response.status_code, 403)
                made = [user.email for user in all_users() if user.email.startswith(access)]
                self.assertEqual(made, [f"{access}{number}@example.com" for number in (0, 1)])

    def test_export_is_cut_off_before_the_next_chunk(self):
        make_users(5)
        for name, token, lose, kind in self.losses():
            with self.subTest(name), captured_log() as entries:
                response = self.call("GET", "/users/export", token, buffered=False)
                chunks = response.iter_encoded()
                self.assertIn(b"boss", next(chunks))
                lose()

                with self.assertRaises(kind):
                    next(chunks)

                self.assertEqual(
                    [(entry["event"], entry["reason"]) for entry in entries],
                    [("export cut off", kind.message)],
                )

    def test_nobody_is_asked_where_access_is_open(self):
        self.app.config["ACCESS"] = "open"
        self.call("PATCH", "/users/2", self.admin, json={"active": False})
        body = "username,email\n" + self.ROWS

        imported = self.call(
            "POST", "/users/import", self.token, data=body, content_type="text/csv"
        )
        exported = self.call("GET", "/users/export", self.token)

        self.assertEqual(imported.json["data"]["created"], 5)
        self.assertEqual(len(exported.get_data().splitlines()), 1 + 2 + 5)

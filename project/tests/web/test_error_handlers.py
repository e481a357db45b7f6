"""Every error is an answer in the envelope, or a page where a person asks for one."""

from unittest import mock

import structlog
from structlog.processors import format_exc_info
from structlog.testing import LogCapture
from werkzeug.exceptions import ServiceUnavailable

from project.api.users import service
from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.web import error_handlers

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class ClientErrorTests(BaseTestCase):
    """What the client did wrong, where no view runs."""

    def test_unknown_path_is_not_found_in_json(self):
        for path in ["/nowhere", "/users/1/2", "/users/", "/Users", "/users//1", "/ping/", "/%00"]:
            with self.subTest(path):
                response = self.client.get(path)

                self.assertEqual(response.status_code, 404)
                self.assertEqual(response.content_type, "application/json")
                self.assertEqual(list(response.json), ["status", "message"])
                self.assertEqual(response.json["status"], "fail")

    def test_unknown_method_is_not_allowed_in_json(self):
        for method in ["PUT", "DELETE", "PATCH", "TRACE", "FOO"]:
            with self.subTest(method):
                response = self.client.open("/users", method=method)

                self.assertEqual(response.status_code, 405)
                self.assertEqual(response.json["status"], "fail")
                allowed = set(response.headers["Allow"].split(", "))
                self.assertEqual(allowed, {"GET", "HEAD", "OPTIONS", "POST"})

    def test_answer_names_a_hundred_errors_and_counts_the_others(self):
        user = make_user()
        unknown = {f"key{number}": 1 for number in range(2500)}
        for send in (
            lambda: self.client.patch(f"/users/{user.id}", json=unknown),
            lambda: self.client.get("/users", query_string=unknown),
            lambda: self.client.get("/users", query_string=[("a", "1"), *unknown.items()] * 2),
        ):
            with self.subTest():
                response = send()

                self.assertEqual(response.status_code, 400)
                self.assertEqual(len(response.json["errors"]), 100)
                self.assertIn(response.json["errors_omitted"], {2400, 2401})
                self.assertLess(len(response.data), 20_000)

    def test_answer_repeats_the_start_of_a_long_name_only(self):
        user = make_user()
        for send in (
            lambda: self.client.patch(f"/users/{user.id}", json={"x" * 50_000: 1}),
            lambda: self.client.get("/users", query_string={"x" * 50_000: 1}),
        ):
            with self.subTest():
                response = send()

                self.assertEqual(response.json["errors"][0]["field"], "x" * 100 + "…")
                self.assertLess(len(response.data), 5000)

    def test_browser_gets_a_page_except_on_the_apis_paths(self):
        for path, mimetype in [
            ("/nowhere", "text/html"),
            ("/usersx", "text/html"),
            ("/users/x", "application/json"),
            ("/users/1/2", "application/json"),
            ("/ping/x", "application/json"),
        ]:
            with self.subTest(path):
                response = self.client.get(path, headers=BROWSER)

                self.assertIn(response.status_code, {400, 404})
                self.assertEqual(response.mimetype, mimetype)
        page = self.client.get("/nowhere", headers=BROWSER).text
        self.assertIn("<h1>Not found</h1>", page)
        self.assertIn("Back to all users", page)

    def test_client_without_preference_gets_json(self):
        for accept in ["*/*", "", "application/json", "text/csv", "\xff", "text/html;q=x"]:
            with self.subTest(accept):
                response = self.client.get("/nowhere", headers={"Accept": accept})

                self.assertEqual(response.mimetype, "application/json")

    def test_form_with_too_many_fields_is_refused(self):
        fields = {f"f{number}": "x" for number in range(101)}

        response = self.client.post("/", data=fields, content_type="multipart/form-data")

        self.assertEqual(response.status_code, 413)
        self.assertEqual(response.json["message"], "The form has more than 100 fields.")

    def test_form_that_is_too_large_is_refused(self):
        data = {"username": "x" * 65_536}
        for terminated in [{}, {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}]:
            response = self.client.post(
                "/", data=data, content_type="multipart/form-data", environ_overrides=terminated
            )

            self.assertEqual(response.status_code, 413)
            message = "The body is larger than 65,536 bytes."
            self.assertEqual(response.json["message"], message)

    def test_form_takes_64_kib_whatever_the_setting_says(self):
        self.app.config["MAX_CONTENT_LENGTH"] = 10_000_000
        for path in ["/sign-in", "/", "/account", "/users"]:
            for data in [{"username": "x" * 65_536}, {f"f{number}": "x" for number in range(9000)}]:
                with self.subTest(path, fields=len(data)):
                    response = self.client.post(path, data=data)

                    self.assertIn(response.status_code, {400, 413} if path == "/users" else {413})
        self.assertEqual(self.client.post("/users", json={"x": "x" * 70_000}).status_code, 400)

    def test_body_in_chunks_over_the_limit_is_refused_and_not_cut(self):
        chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        for path, sent in [
            ("/sign-in", {"data": {"email": "a@example.com", "password": "x" * 65_536}}),
            ("/users", {"json": {"username": "x", "email": "a@example.com", "more": "x" * 65_536}}),
        ]:
            with self.subTest(path):
                response = self.client.post(path, environ_overrides=chunked, **sent)

                self.assertEqual(response.status_code, 413)

    def test_odd_headers_do_no_harm(self):
        for name, value in [
            ("Host", "a b"),
            ("Host", "]["),
            ("Host", ""),
            ("Cookie", "session=x; session=.eJx"),
            ("Cookie", "\xff=;;"),
            ("X-Forwarded-Host", "evil.example"),
            ("Content-Length", "0"),
            ("Accept-Language", "\xff" * 1000),
            ("Range", "bytes=x"),
            ("If-Modified-Since", "x"),
        ]:
            for path in ["/users", "/", "/nowhere", "/static/page.css"]:
                with self.subTest(f"{name}: {value[:9]}", path=path):
                    with self.client.get(path, headers={name: value}) as response:
                        self.assertLess(response.status_code, 500)


class ServerErrorTests(BaseTestCase):
    """What went wrong on our side."""

    def failing(self, error: Exception, headers: dict[str, str] | None = None):
        """Return the answer to a request during which this error is raised, and the log."""
        capture = LogCapture()
        log = structlog.wrap_logger(
            None,
            processors=[format_exc_info, capture],
            wrapper_class=structlog.make_filtering_bound_logger("DEBUG"),
        )
        with (
            mock.patch.object(service, "list_users", side_effect=error),
            mock.patch.object(error_handlers, "log", log),
        ):
            response = self.client.get("/" if headers else "/users", headers=headers)
        return response, str(capture.entries)

    def test_unexpected_error_tells_nothing_but_the_number_in_the_log(self):
        response, log = self.failing(RuntimeError("password of the database"))

        self.assertEqual(response.status_code, 500)
        self.assertEqual(list(response.json), ["status", "message", "request_id"])
        self.assertEqual(response.json["status"], "error")
        self.assertEqual(response.json["message"], "Something went wrong on our side.")
        self.assertIn(response.json["request_id"], log)
        self.assertIn("password of the database", log)

    def test_unexpected_error_is_a_page_for_a_browser(self):
        response, log = self.failing(RuntimeError("password of the database"), BROWSER)

        self.assertEqual(response.status_code, 500)
        self.assertIn("<h1>Something went wrong</h1>", response.text)
        self.assertNotIn("password", response.text)
        number = response.text.split("<code>")[1].split("</code>")[0]
        self.assertIn(number, log)

    def test_http_error_of_ours_keeps_its_status_and_headers(self):
        response, _log = self.failing(ServiceUnavailable("Come back later.", retry_after=7))

        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json["status"], "error")
        self.assertEqual(response.json["message"], "Come back later.")
        self.assertEqual(response.headers["Retry-After"], "7")
        self.assertEqual(response.content_type, "application/json")

"""Headers that every answer has."""

from project.tests.base import BaseTestCase
from project.tests.factories import make_user
from project.web.response_headers import CONTENT_SECURITY_POLICY


class ResponseHeadersTests(BaseTestCase):
    """The headers for browsers and caches."""

    def test_responses_with_personal_data_are_not_cached(self):
        make_user()

        for method, path in [
            ("GET", "/"),
            ("GET", "/users"),
            ("GET", "/users/export"),
            ("POST", "/users"),
            ("GET", "/users/999"),
            ("GET", "/audit"),
            ("GET", "/auth/status"),
            ("POST", "/auth/login"),
            ("GET", "/sign-in"),
            ("GET", "/nowhere"),
        ]:
            with self.subTest(path, method=method):
                response = self.client.open(path, method=method)

                self.assertEqual(response.headers.getlist("Cache-Control"), ["no-store"])

    def test_user_may_be_asked_for_again_by_its_etag(self):
        user = make_user()

        first = self.client.get(f"/users/{user.id}")
        again = self.client.get(
            f"/users/{user.id}", headers={"If-None-Match": first.headers["ETag"]}
        )

        self.assertEqual([first.status_code, again.status_code], [200, 304])
        for response in [first, again]:
            self.assertEqual(response.headers.getlist("Cache-Control"), ["private, no-cache"])

    def test_static_files_keep_their_own(self):
        response = self.client.get("/static/page.css")

        self.assertNotIn("no-store", response.headers["Cache-Control"])
        self.assertEqual(len(response.headers.getlist("Cache-Control")), 1)
        response.close()

    def test_security_headers_are_on_every_answer_once(self):
        for path in [
            "/",
            "/users",
            "/users/xxx",
            "/metrics",
            "/docs",
            "/static/page.css",
            "/nowhere",
        ]:
            response = self.client.get(path)
            response.close()
            for name, value in {
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
            }.items():
                with self.subTest(path, name=name):
                    self.assertEqual(response.headers.getlist(name), [value])
            self.assertNotIn("Strict-Transport-Security", response.headers)

    def test_tls_is_asked_for_where_it_is_in_use(self):
        response = self.client.get("/ping", base_url="https://localhost")

        self.assertEqual(
            response.headers.getlist("Strict-Transport-Security"), ["max-age=31536000"]
        )

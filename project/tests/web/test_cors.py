"""Requests of pages of other origins (CORS)."""

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from project import create_app
from project.config import TestingConfig
from project.errors import TooManyRequests
from project.tests.base import BaseTestCase
from project.tests.factories import make_user

CLIENT, OTHER_CLIENT, STRANGER = "https://client.example", "http://[::1]:3000", "https://a.example"
SHARED = ["/ping", "/users", "/auth/status", "/audit", "/openapi.json", "/users/1/2/3"]
NOT_SHARED = ["/", "/docs", "/sign-in", "/static/page.css", "/health/live", "/metrics", "/nowhere"]
NOT_SHARED += ["/userst", "//users"]
NAMES = ["Origin", "Methods", "Headers", "Max-Age", "Credentials", "Private-Network"]


def shared(response: TestResponse) -> dict[str, list[str]]:
    """Return the headers of an answer that concern other origins."""
    names = [f"Access-Control-Allow-{name}" for name in NAMES]
    names += ["Access-Control-Max-Age", "Access-Control-Expose-Headers", "Vary"]
    return {name: found for name in names if (found := response.headers.getlist(name))}


class CORSTestCase(BaseTestCase):
    """The app with two listed origins."""

    origins: list[str] | None = [CLIENT, OTHER_CLIENT]

    def create_app(self) -> Flask:
        class Settings(TestingConfig):
            CORS_ORIGINS: Any = self.origins

        return create_app(Settings)

    def ask(
        self, path: str, origin: str | None = CLIENT, method: str = "GET", **headers: str
    ) -> TestResponse:
        """Send a request of a page of this origin."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if origin is not None:
            sent["Origin"] = origin
        response: TestResponse = self.client.open(path, method=method, headers=sent)
        response.close()
        return response

    def preflight(self, path: str, method: str, *names: str, origin: str = CLIENT) -> TestResponse:
        """Ask, as browsers do, whether a request with this method and these headers may be sent."""
        headers = {"Access-Control-Request-Method": method}
        if names:
            headers["Access-Control-Request-Headers"] = ",".join(names)
        return self.ask(path, origin, "OPTIONS", **headers)


class CORSTests(CORSTestCase):
    """``CORS_ORIGINS`` with two origins."""

    def test_listed_origin_reads_answers_of_the_api(self):
        for path in SHARED:
            for origin in [CLIENT, OTHER_CLIENT]:
                with self.subTest(path, origin=origin):
                    self.assertEqual(
                        shared(self.ask(path, origin)),
                        {
                            "Access-Control-Allow-Origin": [origin],
                            "Access-Control-Expose-Headers": [
                                "ETag, Link, Location, Retry-After, X-Request-ID"
                            ],
                            "Vary": ["Origin"],
                        },
                    )

    def test_no_other_origin_does(self):
        for origin in [
            None, STRANGER, "null", "*", f"{CLIENT}.a.example", f"{CLIENT}:8443",
            "http://client.example", "https://xclient.example", "https://clientxexample",
            "HTTPS://CLIENT.EXAMPLE", f"{CLIENT}/", f"{CLIENT}, {STRANGER}", f"{CLIENT}\x0b", "",
            "http://:", "http://1:3000",
        ]:  # fmt: skip
            for path in SHARED:
                with self.subTest(path, origin=origin):
                    self.assertEqual(shared(self.ask(path, origin)), {"Vary": ["Origin"]})
                    preflight = self.ask(
                        path, origin, "OPTIONS", Access_Control_Request_Method="GET"
                    )
                    self.assertEqual(shared(preflight), {"Vary": ["Origin"]})

    def test_pages_and_paths_of_operators_are_not_shared(self):
        for path in NOT_SHARED:
            for method in ["GET", "OPTIONS"]:
                with self.subTest(path, method=method):
                    response = self.ask(path, method=method, Access_Control_Request_Method="GET")
                    self.assertLessEqual(set(shared(response)), {"Vary"})
                    self.assertNotIn("Origin", response.headers.get("Vary", ""))

    def test_every_kind_of_answer_is_shared(self):
        @self.app.get("/users/busy/1")
        def busy():
            raise TooManyRequests(7)

        @self.app.get("/users/broken/1")
        def broken():
            raise RuntimeError

        user = make_user()
        tag = self.client.get(f"/users/{user.id}").headers["ETag"]
        for status, response in {
            200: self.ask(f"/users/{user.id}"),
            304: self.ask(f"/users/{user.id}", If_None_Match=tag),
            400: self.ask("/users", method="POST"),
            401: self.ask("/auth/status", Authorization="Bearer x"),
            403: self.ask("/auth/status"),
            404: self.ask("/users/999"),
            405: self.ask("/users", method="DELETE"),
            412: self.ask(f"/users/{user.id}", method="DELETE", If_Match='"9"'),
            415: self.ask(f"/users/{user.id}", method="PATCH"),
            429: self.ask("/users/busy/1"),
            500: self.ask("/users/broken/1"),
        }.items():
            with self.subTest(status):
                self.assertEqual(response.status_code, status)
                self.assertEqual(shared(response)["Access-Control-Allow-Origin"], [CLIENT])
                self.assertEqual(shared(response)["Vary"], ["Origin"])
        self.assertEqual(shared(self.ask("/users/export"))["Vary"], ["Origin"])

    def test_vary_of_a_view_stays(self):
        @self.app.get("/users/varying/1")
        def varying():
            return "", {"Vary": "Accept-Language"}

        self.assertEqual(shared(self.ask("/users/varying/1"))["Vary"], ["Accept-Language, Origin"])

    def test_preflight_names_the_methods_of_the_path(self):
        for path, methods in {
            "/users": "GET, HEAD, OPTIONS, POST",
            "/users/1": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            "/users/import": "OPTIONS, POST",
            "/auth/login": "OPTIONS, POST",
        }.items():
            with self.subTest(path):
                response = self.preflight(path, "POST")

                self.assertEqual(response.status_code, 200)
                self.assertEqual(
                    shared(response),
                    {
                        "Access-Control-Allow-Origin": [CLIENT],
                        "Access-Control-Allow-Methods": [methods],
                        "Access-Control-Max-Age": ["600"],
                        "Access-Control-Expose-Headers": [
                            "ETag, Link, Location, Retry-After, X-Request-ID"
                        ],
                        "Vary": ["Origin"],
                    },
                )

    def test_preflight_allows_the_headers_of_the_api_and_no_others(self):
        names = ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key"]
        for asked, allowed in [
            (names, ", ".join(sorted(names))),
            (["authorization", "x-other"], "authorization"),
            (["cookie"], None),
        ]:
            with self.subTest(asked):
                response = self.preflight("/users/1", "PATCH", *asked)
                self.assertEqual(response.headers.get("Access-Control-Allow-Headers"), allowed)

    def test_private_network_is_not_opened(self):
        response = self.ask(
            "/users",
            method="OPTIONS",
            Access_Control_Request_Method="GET",
            Access_Control_Request_Private_Network="true",
        )

        self.assertEqual(response.headers["Access-Control-Allow-Private-Network"], "false")

    def test_preflight_needs_no_sign_in(self):
        self.app.config["ACCESS"] = "protected"

        response = self.preflight("/users", "GET", "authorization")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Access-Control-Allow-Headers"], "authorization")
        refused = self.ask("/users")
        self.assertEqual(refused.status_code, 403)
        self.assertEqual(refused.headers["Access-Control-Allow-Origin"], CLIENT)

    def test_page_of_a_listed_origin_imports_users(self):
        for origin, status in [(CLIENT, 200), (STRANGER, 403)]:
            with self.subTest(origin):
                response = self.client.post(
                    "/users/import",
                    data=b"username,email\nAda,ada@example.com\n",
                    content_type="text/csv",
                    headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"},
                )
                self.assertEqual(response.status_code, status)


class OneOriginTests(CORSTestCase):
    """``CORS_ORIGINS`` with one origin."""

    origins = [CLIENT]

    def test_answers_vary_all_the_same(self):
        for origin, allowed in [(CLIENT, [CLIENT]), (STRANGER, []), (None, [])]:
            with self.subTest(origin):
                headers = self.ask("/users", origin).headers
                self.assertEqual(headers.getlist("Access-Control-Allow-Origin"), allowed)
                self.assertEqual(headers.getlist("Vary"), ["Origin"])


class OffTests(CORSTestCase):
    """Without ``CORS_ORIGINS``."""

    origins = None

    def test_nothing_is_added(self):
        for path in SHARED:
            with self.subTest(path):
                self.assertEqual(shared(self.ask(path)), {})
                self.assertEqual(shared(self.preflight(path, "GET", "authorization")), {})

    def test_no_function_runs_for_it(self):
        with_it = CORSTests("create_app").create_app()

        for app, count in [(self.app, 0), (with_it, 2)]:
            names = [hook.__module__ for hook in app.after_request_funcs[None]]
            found = [name for name in names if name in {"flask_cors.extension", "project.web.cors"}]
            self.assertEqual(len(found), count)

"""Health and metrics."""

import re
from unittest import mock

import flask_migrate
from flask import Flask, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import BadGateway

from project import create_app, db
from project.api.users import service
from project.config import ProductionConfig, TestingConfig
from project.errors import OutcomeUnknown
from project.tests.base import BaseTestCase
from project.tests.factories import make_user


class Unreachable(TestingConfig):
    """Settings with a database that nobody answers for."""

    SQLALCHEMY_DATABASE_URI = "mysql+pymysql://u:p@127.0.0.1:1/users"


class UnreachableDatabaseTests(BaseTestCase):
    """What is answered while the database is away."""

    def create_app(self) -> Flask:
        return create_app(Unreachable)

    def setUp(self) -> None:
        """Need no database."""

    def test_ping_answers_pong(self):
        response = self.client.get("/ping")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.content_type, "application/json")
        self.assertEqual(response.json, {"status": "success", "message": "pong!"})

    def test_process_is_alive(self):
        response = self.client.get("/health/live")

        self.assertEqual(response.status_code, 200)
        message = "The process is alive."
        self.assertEqual(response.json, {"status": "success", "message": message})

    def test_service_is_not_ready(self):
        response = self.client.get("/health/ready")

        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json["status"], "error")
        self.assertEqual(response.json["message"], "The database does not respond.")

    def test_requests_that_need_it_get_retry_after(self):
        user = {"username": "a", "email": "a@example.com"}
        for response in [
            self.client.get("/users"),
            self.client.get("/users/1"),
            self.client.post("/users", json=user),
        ]:
            self.assertEqual(response.status_code, 503)
            self.assertEqual(response.headers["Retry-After"], "2")
            self.assertEqual(response.json["status"], "error")
            self.assertIn("Please try again.", response.json["message"])
            self.assertEqual(response.json["request_id"], response.headers["X-Request-ID"])

    def test_page_says_so_too(self):
        response = self.client.get("/", headers={"Accept": "text/html"})

        self.assertEqual(response.status_code, 503)
        self.assertIn("<h1>Not available at the moment</h1>", response.text)


class ReadyTests(BaseTestCase):
    """GET /health/ready with a database that answers."""

    def test_service_is_ready_when_the_schema_is_at_head(self):
        db.drop_all(None)
        self.addCleanup(flask_migrate.downgrade, revision="base")
        flask_migrate.upgrade()

        response = self.client.get("/health/ready")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json["message"], "The service is ready.")

    def test_service_is_not_ready_on_another_schema(self):
        response = self.client.get("/health/ready")

        self.assertEqual(response.status_code, 503)
        message = r"^The database schema is at revision None, not at \d+\.$"
        self.assertRegex(response.json["message"], message)


class MetricsTests(BaseTestCase):
    """GET /metrics."""

    def measured(self, name: str) -> float:
        """Return the value of a metric, named with its labels; 0 when it is not there yet."""
        text = self.client.get("/metrics").text
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(match[1]) if match else 0.0

    def test_requests_are_counted_by_route_and_not_by_path(self):
        name = (
            "http_request_duration_seconds_count"
            '{method="GET",route="/users/<user_id>",status="404"}'
        )
        before = self.measured(name)

        for user_id in [101, 102, 103]:
            self.client.get(f"/users/{user_id}")

        self.assertEqual(self.measured(name), before + 3)
        self.assertNotIn("/users/101", self.client.get("/metrics").text)

    def test_what_clients_make_up_becomes_no_label(self):
        self.client.open("/made/up", method="MADEUP")

        text = self.client.get("/metrics").text
        self.assertIn('{method="other",route="unknown",status="404"}', text)
        self.assertNotIn("MADEUP", text)

    def test_errors_are_counted_by_kind(self):
        away = OperationalError("SELECT", {}, Exception(2003, "away"))
        for error, kind in [
            (ZeroDivisionError(), "ZeroDivisionError"),
            (away, "database away"),
            (OutcomeUnknown(), "OutcomeUnknown"),
            (BadGateway(), "BadGateway"),
        ]:
            name = f'errors_total{{error="{kind}"}}'
            before = self.measured(name)

            with mock.patch.object(service, "get_user", side_effect=error):
                self.assertGreaterEqual(self.client.get("/users/1").status_code, 500)

            self.assertEqual(self.measured(name), before + 1)

    def test_request_under_way_is_in_flight(self):
        self.assertEqual(self.measured("http_requests_in_flight"), 1)
        self.assertEqual(self.measured("http_requests_in_flight"), 1)

    def test_answer_that_is_not_read_to_its_end_is_no_longer_in_flight(self):
        make_user()
        with self.client.get("/users/export") as response:
            self.assertEqual(response.status_code, 200)
        del response

        self.assertEqual(self.measured("http_requests_in_flight"), 1)

    def test_open_connections_of_each_engine_are_counted(self):
        make_user()
        self.client.get("/users")
        reads = self.measured('database_connections_open{engine="read"}')
        writes = self.measured('database_connections_open{engine="write"}')

        self.assertGreaterEqual(reads, 1)
        self.assertGreaterEqual(writes, 1)
        with db.engine.connect():
            self.assertEqual(self.measured('database_connections_open{engine="write"}'), writes + 1)
        self.assertEqual(self.measured('database_connections_open{engine="write"}'), writes)


class RequestIdTests(BaseTestCase):
    """X-Request-ID."""

    def test_id_from_the_proxy_comes_back(self):
        response = self.client.get("/ping", headers={"X-Request-ID": "from-nginx_1"})

        self.assertEqual(response.headers["X-Request-ID"], "from-nginx_1")

    def test_id_is_made_where_there_is_none_fit_for_a_log(self):
        for given in ["", "a b", "x" * 65, '"}', "\xff"]:
            with self.subTest(given):
                response = self.client.get("/ping", headers={"X-Request-ID": given})

                self.assertRegex(response.headers["X-Request-ID"], "^[0-9a-f]{32}$")

    def test_each_request_has_its_own(self):
        ids = {self.client.get(path).headers["X-Request-ID"] for path in ["/ping", "/ping", "/no"]}

        self.assertEqual(len(ids), 3)


class ProxyTests(BaseTestCase):
    """Whom the service believes about who called."""

    class BehindProxy(TestingConfig):
        """Settings of the tests, with production's proxy."""

        PROXIES = ProductionConfig.PROXIES

    def remote_address(self, app: Flask) -> str:
        """Return the caller's address as the app sees it, from a request that names others."""
        seen: list[str | None] = []
        app.before_request_funcs.setdefault(None, []).append(
            lambda: seen.append(request.remote_addr)
        )
        app.test_client().get("/ping", headers={"X-Forwarded-For": "1.1.1.1, 2.2.2.2"})
        return str(seen[0])

    def test_last_address_is_believed_in_production_only(self):
        self.assertEqual(self.remote_address(create_app(TestingConfig)), "127.0.0.1")
        self.assertEqual(self.remote_address(create_app(self.BehindProxy)), "2.2.2.2")

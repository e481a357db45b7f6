"""Whether the service is there."""

from flask import Flask

from project import create_app
from project.config import TestingConfig
from project.tests.base import BaseTestCase


class Unreachable(TestingConfig):
    """Settings with a database that nobody answers for."""

    SQLALCHEMY_DATABASE_URI = "mysql+pymysql://u:p@127.0.0.1:1/users"


class PingTests(BaseTestCase):
    """GET /ping."""

    def create_app(self) -> Flask:
        return create_app(Unreachable)

    def setUp(self) -> None:
        """Need no database."""

    def test_ping_answers_pong_without_a_database(self):
        response = self.client.get("/ping")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.content_type, "application/json")
        self.assertEqual(response.json, {"status": "success", "message": "pong!"})

"""The API's description."""

from flask import current_app

from project.tests.base import BaseTestCase
from project.web.openapi import describe

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


class DescriptionTests(BaseTestCase):
    """GET /openapi.json."""

    def test_description_is_served(self):
        response = self.client.get("/openapi.json")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.content_type, "application/json")
        self.assertEqual(response.json, describe(current_app))

    def test_description_is_not_sent_again_to_who_has_it(self):
        response = self.client.get("/openapi.json")
        self.assertEqual(response.headers["Cache-Control"], "no-cache")

        again = self.client.get(
            "/openapi.json", headers={"If-None-Match": response.headers["ETag"]}
        )

        self.assertEqual((again.status_code, again.data), (304, b""))

    def test_nothing_is_below_it(self):
        response = self.client.get("/openapi.json/x", headers=BROWSER)

        self.assertEqual(response.status_code, 404)
        self.assertEqual(response.json["status"], "fail")

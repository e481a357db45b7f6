"""The API's description, and the page that shows it."""

import re

from flask import current_app

from project.tests.base import BaseTestCase
from project.tests.factories import make_user
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


class DocsTests(BaseTestCase):
    """GET /docs."""

    def test_page_has_nothing_from_elsewhere_nor_inline(self):
        response = self.client.get("/docs")

        self.assertEqual((response.status_code, response.mimetype), (200, "text/html"))
        addresses = re.findall(r'<(?:script|link) .*?(?:src|href)="(.*?)"', response.text)
        self.assertGreaterEqual(len(addresses), 7)
        for address in addresses:
            with self.subTest(address), self.client.get(address) as file:
                self.assertRegex(address, r"^/[^/].*\?v=\w+")
                self.assertEqual(file.status_code, 200)
        self.assertNotRegex(response.text, r"<style|style=|<script>|onload=")
        self.assertIn('data-url="/openapi.json"', response.text)

    def test_every_page_leads_to_it(self):
        user = make_user()
        pages = ["/", "/docs", "/sign-in", "/nowhere"]
        pages += [f"/user/{user.id}", f"/remove/{user.id}"]
        for path in pages:
            with self.subTest(path):
                page = self.client.get(path, headers=BROWSER)

                self.assertEqual(page.mimetype, "text/html")
                self.assertIn('href="/docs">API</a>', page.text)

    def test_only_two_files_of_the_package_are_served(self):
        for name in ["VERSION", "swagger-ui.js", "../__init__.py", "", "swagger-ui-bundle.js/x"]:
            with self.subTest(name):
                response = self.client.get(f"/docs/static/{name}")

                self.assertEqual(response.status_code, 404)

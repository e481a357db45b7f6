"""Addresses of static files."""

from flask import url_for

from project.tests.base import BaseTestCase


class StaticFileTests(BaseTestCase):
    """What the page's files are called."""

    def test_address_holds_a_version_and_leads_to_the_file(self):
        for endpoint, filename, media_type in [
            ("static", "page.css", "text/css"),
            ("bootstrap.static", "css/bootstrap.min.css", "text/css"),
        ]:
            with self.subTest(filename):
                address = url_for(endpoint, filename=filename)

                self.assertRegex(address, r"\?v=[0-9a-f]{8}$")
                with self.client.get(address) as response:
                    self.assertEqual(response.status_code, 200)
                    self.assertEqual(response.mimetype, media_type)

    def test_different_files_have_different_versions(self):
        versions = {
            url_for("static", filename=name).split("v=")[1] for name in ["page.css", "icon.svg"]
        }

        self.assertEqual(len(versions), 2)

"""Where the version is shown."""

from project.tests.commands.base import CommandTestCase
from project.version import VERSION


class VersionTests(CommandTestCase):
    """What says which version this is."""

    def test_manage_prints_the_version(self):
        result = self.manage("--version")

        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, f"{VERSION}\n")

    def test_description_of_the_api_names_the_version(self):
        self.assertEqual(self.client.get("/openapi.json").json["info"]["version"], VERSION)

"""What the service says of itself."""

from project.tests.scim.base import SCIMTestCase


class DiscoveryTests(SCIMTestCase):
    """What the service says of itself."""

    def test_what_is_supported(self):
        config = self.call("GET", "/ServiceProviderConfig").json

        self.assertEqual(
            config["bulk"], {"supported": False, "maxOperations": 0, "maxPayloadSize": 0}
        )
        self.assertEqual(config["filter"], {"supported": True, "maxResults": 200})
        self.assertEqual(config["sort"], {"supported": False})
        self.assertEqual(config["patch"], {"supported": True})
        self.assertEqual(config["pagination"]["maxPageSize"], 200)
        self.assertEqual(
            config["meta"]["location"], "http://localhost/scim/v2/ServiceProviderConfig"
        )

    def test_types_and_schemas(self):
        types = self.call("GET", "/ResourceTypes").json
        schemas = self.call("GET", "/Schemas").json

        self.assertEqual([each["endpoint"] for each in types["Resources"]], ["/Users", "/Groups"])
        for each in [*types["Resources"], *schemas["Resources"]]:
            path = each["meta"]["location"].removeprefix("http://localhost/scim/v2")
            self.assertEqual(self.call("GET", path).json, each)

    def test_filter_of_them_is_refused(self):
        for path in ("/Schemas", "/ResourceTypes", "/ServiceProviderConfig"):
            self.assertEqual(self.call("GET", f"{path}?filter=x").status_code, 403)

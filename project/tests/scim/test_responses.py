"""Which attributes clients get."""

from project.tests.scim.base import SCIMTestCase


class SelectionTests(SCIMTestCase):
    """attributes and excludedAttributes."""

    def test_attributes(self):
        urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        core = "urn:ietf:params:scim:schemas:core:2.0:User"
        self.create(
            userName="ada@example.com",
            title="Countess",
            name={"givenName": "Ada", "familyName": "Lovelace"},
            **{urn: {"department": "Engines", "costCenter": "7"}},
        )
        always = {"schemas", "id"}
        everything = {*always, "userName", "title", "name", "emails", "displayName", "active"}
        everything |= {"meta", urn}
        for query, names in {
            "attributes=userName": {*always, "userName"},
            "attributes=USERNAME,%20title": {*always, "userName", "title"},
            f"attributes={core}:title": {*always, "title"},
            f"attributes={urn}": {*always, urn},
            f"attributes={urn}:department": {*always, urn},
            "attributes=name.givenName": {*always, "name"},
            "attributes=emails.value": {*always, "emails"},
            "attributes=nothing": always,
            "attributes=": everything,
            "excludedAttributes=id,emails,name": everything - {"emails", "name"},
            "excludedAttributes=name.givenName": everything,
            f"excludedAttributes={urn}": everything - {urn},
        }.items():
            with self.subTest(query):
                user = self.call("GET", f"/Users/2?{query}").json
                listed = self.call("GET", f"/Users?filter=id+eq+%222%22&{query}").json

                self.assertEqual(set(user), names)
                self.assertEqual(listed["Resources"], [user])
        user = self.call("GET", "/Users/2?attributes=name.GivenName,emails.value").json
        self.assertEqual(user["name"], {"givenName": "Ada"})
        self.assertEqual(user["emails"], [{"value": "ada@example.com"}])
        user = self.call("GET", f"/Users/2?attributes={urn}:department").json
        self.assertEqual(user[urn], {"department": "Engines"})
        user = self.call("GET", "/Users/2?excludedAttributes=name.givenName").json
        self.assertEqual(user["name"], {"familyName": "Lovelace"})

    def test_they_hold_for_answers_to_writes(self):
        body = {"userName": "ada@example.com"}

        user = self.call("POST", "/Users?attributes=userName", body).json

        self.assertEqual(set(user), {"schemas", "id", "userName"})

"""What pages say is wrong is in the person's language."""

import re
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any

from project.api.users import service
from project.database import in_transaction
from project.tests.auth.test_links import LinkTestCase

CHINESE = {"Accept": "text/html", "Accept-Language": "zh"}
NEW = {"username": "Ada", "email": "ada@example.com"}
LONG = "x" * 300
ENGLISH = re.compile(r"[A-Za-z]+\W? [a-z]+ [a-z]+|\b(was|is|must|has) [a-z]+")


class ChineseTests(LinkTestCase):
    """A table of mistakes, in Chinese: none is answered in English."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["UPLOADS_DIR"] = self.enterContext(TemporaryDirectory())

    def assert_chinese(self, method: str, path: str, status: int, **form: Any) -> None:
        """Assert that a mistake is answered, and without English words."""
        response = self.client.open(path, method=method, data=form or None, headers=CHINESE)

        self.assertEqual(response.status_code, status, response.text)
        [page] = re.findall("(?s)<main.*?</main>", response.text)
        self.assertIsNone(ENGLISH.search(re.sub("<[^>]*>", "\n", page)), page)

    def test_wrong_addresses(self):
        for path, status in [
            ("/?sort=x", 400),
            ("/?role=x", 400),
            ("/?active=x", 400),
            ("/?cursor=x", 400),
            ("/?before=x", 400),
            (f"/?q={LONG}", 400),
            ("/user/x", 400),
            ("/user/99", 404),
            ("/user/1?events=x", 400),
            ("/remove/99", 404),
            ("/bulk/remove?ids=x", 404),
            ("/export?role=x", 400),
            ("/export/download?format=x", 400),
            ("/import/x", 404),
            ("/revoke/99", 404),
            ("/activity?action=x", 400),
            ("/activity?cursor=x", 400),
            ("/activity?from=x", 400),
            ("/activity/download?user=nobody", 400),
            ("/welcome?link=x", 410),
            ("/forgot", 404),
            ("/nowhere", 404),
        ]:
            with self.subTest(path):
                self.assert_chinese("GET", path, status)

    def test_wrong_forms(self):
        version = service.get_user(1).version
        for path, status, form in [
            ("/", 400, {"username": LONG, "email": LONG}),
            ("/", 400, {"username": " ", "email": "a b@x"}),
            ("/", 400, {"username": "\u202e", "email": "(x@example.com"}),
            ("/", 400, {"username": "\x00", "email": f"x@{'y' * 64}.com"}),
            ("/", 400, NEW | {"email": "boss@example.com"}),
            ("/invite", 400, NEW | {"role": "king"}),
            ("/user/1", 400, NEW | {"role": "king", "version": version}),
            ("/user/1", 412, {"username": "Ada", "email": "boss@example.com",
                              "role": "admin", "active": "y", "version": 99}),
            ("/user/1", 409, {"username": "Boss", "email": "boss@example.com", "role": "",
                              "active": "y", "version": version}),
            ("/remove/1", 409, {"version": version}),
            ("/remove/1", 412, {"version": 99}),
            ("/account", 400, NEW | {"version": version}),
            ("/account/password", 400, {"current_password": LONG, "password": LONG}),
            ("/account/password", 400, {"current_password": "x", "password": "password password"}),
            ("/account/keys", 400, {"name": LONG, "scopes": "x", "expires_in_days": "x"}),
            ("/account/keys", 400, {"name": "", "scopes": "admin", "expires_in_days": "7"}),
            ("/sign-in", 400, {"email": LONG, "password": LONG}),
            ("/sign-in", 400, {"email": "x", "password": "x"}),
            ("/import", 415, {"x": "y"}),
            ("/import", 400, {"file": (BytesIO(b""), "a.csv")}),
        ]:  # fmt: skip
            with self.subTest(path, form=form):
                self.assert_chinese("POST", path, status, **form)

    def test_wrong_files(self):
        in_transaction(service.create_user)("Ada", "ada@example.com")
        for name, data in [
            ("a.csv", "username,email\nA,x@@y\nB,b@example.com,\x00\n" + f"{LONG},c@x.com\n"),
            ("a.csv", "name\nA\n"),
            ("a.csv", "username,username,email\nA,B,c@x.com\n"),
            ("a.csv", 'username,email\n"A,a@x.com\n'),
            ("a.csv", "username,email,role,active,password_hash\nA,a@x.com,king,maybe,x\n"),
            ("a.csv", "username,email,password_hash\nA,a@x.com,pbkdf2_sha256$1$x$"
                      + "A" * 43 + "=\n"),
            ("a.csv", "username,email\nA,boss@example.com\nA,a@x.com\nB,a@x.com\n"),
            ("a.json", '[{"username": "A"'),
            ("a.json", '[{"username": 1, "email": []}]'),
            ("a.json", "[" * 200),
            ("a.ndjson", '{"username":"A","email":"a@x.com"}\n{\n[]\n'),
            ("a.ldif", "dn: cn=A\ncn: A\nmail: a@x\n\nx\n"),
            ("a.zip", "PK\x03\x04 no zip"),
            ("a.xlsx", "PK\x03\x04 no zip"),
        ]:  # fmt: skip
            with self.subTest(data[:60]):
                form = {"file": (BytesIO(data.encode("latin-1")), name)}
                path = self.client.post("/import", data=form, headers=CHINESE).location
                self.assert_chinese("GET", path, 200)
                self.client.post(path, data={"do": "discard"}, headers=CHINESE)

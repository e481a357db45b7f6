"""What people see when something does not work, and where it leads them."""

import re
from typing import Any
from unittest import mock

from flask import Flask

from project import create_app, db
from project.api.auth import service as auth
from project.api.users import service
from project.errors import OutcomeUnknown, TooManyRequests, Unavailable
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_user

HOST = "http://localhost"
BROWSER = {"Accept": "text/html"}
CHINESE = {**BROWSER, "Accept-Language": "zh-CN"}
OWN_FORM = {**BROWSER, "Origin": HOST}
ENTRIES = {"username": "Ada <3", "email": "ada@example.com"}


def links(page: str) -> dict[str, str]:
    """Return the links of the page itself, by their texts."""
    found = re.findall(r'<a class="btn[^>]* href="([^"]*)">([^<]+)</a>', page.split("<main")[1])
    return {text: address for address, text in found}


class ErrorPageTest(BaseTestCase):
    """Pages of errors while access is open."""

    def failing(self, error: Exception, method: str = "GET", **options: Any) -> str:
        """Return the page of an error of the service."""
        function = "list_users" if method == "GET" else "create_user"
        with mock.patch.object(service, function, side_effect=error):
            page: str = self.client.open("/", method=method, **options).text
        return page

    def test_unknown_address_leads_back(self):
        page = self.client.get("/nowhere", headers=BROWSER).text

        self.assertIn("There is no page at this address.", page)
        self.assertEqual(links(page), {"Back to all users": "/"})

    def test_unknown_user_leads_to_where_the_person_came_from(self):
        referrer = {"Referer": f"{HOST}/?q=ada"}
        page = self.client.get("/user/999", headers={**BROWSER, **referrer}).text

        self.assertIn("User does not exist", page)
        self.assertEqual(links(page), {"Back": "/?q=ada", "Back to all users": "/"})
        for other in ["https://evil.example/x", "http://[", f"{HOST}//evil.example"]:
            page = self.client.get("/user/999", headers={**BROWSER, "Referer": other}).text
            self.assertEqual(links(page), {"Back to all users": "/"})

    def test_method_that_is_not_allowed(self):
        response = self.client.get("/preferences", headers=BROWSER)

        self.assertEqual(response.status_code, 405)
        self.assertIn("<h1>Not possible here</h1>", response.text)
        self.assertIn("Nothing was changed.", response.text)

    def test_too_large_a_form_says_the_limit_and_how_to_keep_it(self):
        response = self.client.post("/", data={"username": "x" * 70_000}, headers=OWN_FORM)

        self.assertEqual(response.status_code, 413)
        self.assertIn("The body is larger than 65,536 bytes.", response.text)
        self.assertIn("Back button", response.text)

    def test_whoever_must_wait_learns_how_long(self):
        for seconds, words in [(1, "1 second"), (59, "59 seconds"), (61, "2 minutes")]:
            page = self.failing(TooManyRequests(seconds), headers=BROWSER)
            self.assertIn("<h1>Please wait</h1>", page)
            self.assertIn(f"You can try again in {words}.", page)
        page = self.failing(TooManyRequests(120), headers=CHINESE)
        self.assertIn("2分钟后可以重试。", page)

    def test_failure_may_be_tried_again(self):
        page = self.failing(Unavailable(), headers=BROWSER)

        self.assertIn("<h1>Not available at the moment</h1>", page)
        self.assertRegex(page, "please give the number: <code>[0-9a-f-]+</code>")
        self.assertEqual(links(page), {"Try again": "/", "Back to all users": "/"})

    def test_failure_keeps_the_entries_of_a_form(self):
        page = self.failing(Unavailable(), "POST", data=ENTRIES, headers=OWN_FORM)

        self.assertIn('name="username" type="hidden" value="Ada &lt;3"', page)
        self.assertIn("Back to the form", page)
        self.app.config["WTF_CSRF_ENABLED"] = True
        page = self.client.post("/", data=ENTRIES, headers=OWN_FORM).text
        self.assertIn('value="Ada &lt;3"', page)
        self.assertIn("The form has expired. Please submit it again.", page)
        self.assertEqual(list(service.list_users(9)), [])

    def test_form_whose_outcome_is_unknown_is_not_offered_again(self):
        page = self.failing(OutcomeUnknown(), "POST", data=ENTRIES, headers=OWN_FORM)

        self.assertIn("It may or may not have been saved", page)
        self.assertNotIn("Back to the form", page)

    def test_pages_are_translated(self):
        for response, words in [
            (self.client.get("/nowhere", headers=CHINESE), "此地址没有页面"),
            (self.client.get("/user/9", headers=CHINESE), "用户不存在"),
            (self.client.get("/preferences", headers=CHINESE), "没有做任何更改"),
            (self.client.post("/", data={"x": "x" * 70_000}, headers=CHINESE), "65,536"),
        ]:
            self.assertIn(words, response.text)
            self.assertNotRegex(response.text.split("<main")[1], "[A-Z][a-z]+ [a-z]+")
        page = self.failing(RuntimeError("secret"), headers=CHINESE)
        self.assertIn("我们这边出了问题。", page)
        self.assertNotIn("secret", page)


class ProtectedErrorPageTest(BaseTestCase):
    """Pages of errors while access is protected."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def sign_in(self, role: str | None) -> None:
        """Sign in as a user with a role."""
        user = make_user(username="Ada", role=role, active=True, password_version=1)
        session = auth._sign_in(user, 0).session
        db.session.commit()
        with self.client.session_transaction() as cookie:
            cookie["sign_in"] = session

    def test_whoever_may_not_is_led_to_where_they_may_be(self):
        self.sign_in(None)
        page = self.client.get("/?q=bo", headers=BROWSER).text

        self.assertIn("<h1>Not allowed</h1>", page)
        self.assertIn("You are signed in as Ada.", page)
        self.assertEqual(
            links(page),
            {
                "Your account": "/account",
                "Sign in with another account": "/sign-in?next=/%3Fq%3Dbo",
            },
        )

    def test_reader_is_led_to_the_users_too(self):
        self.sign_in("viewer")
        page = self.client.get("/remove/1", headers=BROWSER).text

        self.assertEqual(
            list(links(page)), ["Back to all users", "Your account", "Sign in with another account"]
        )

    def test_nobody_is_led_to_the_sign_in(self):
        page = self.client.get("/nowhere", headers=BROWSER).text

        self.assertEqual(links(page), {})
        self.assertIn('href="/sign-in">Sign in</a>', page)

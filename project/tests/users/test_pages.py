"""The page, over the wire; e2e/test_page.py drives it in a browser."""

import re
from datetime import datetime, timedelta
from html import unescape
from unittest import mock

from flask import Flask

from project import create_app
from project.api.users import service
from project.config import TestingConfig
from project.tests.base import BaseTestCase
from project.tests.factories import make_user, make_users
from project.tests.wire import recorded_commands


def shown_names(page: str) -> list[str]:
    """Return the names on the page, from top to bottom."""
    return re.findall(r"<strong>(.*?)</strong>", page)


def find(pattern: str, page: str) -> str:
    """Return what a pattern's group, or all of it, matches on the page."""
    match = re.search(pattern, page)
    if not match:
        raise AssertionError(f"{pattern} is not on the page:\n{page}")
    return match[match.lastindex or 0]


def link(rel: str, page: str) -> str:
    """Return where the page's link of this relation leads; nothing when it has none."""
    found = re.search(f'rel="{rel}" href="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else ""


class IndexTests(BaseTestCase):
    """GET /."""

    def test_index_without_users(self):
        response = self.client.get("/")

        self.assertEqual(response.status_code, 200)
        page = response.text
        self.assertIn("<title>Flask microservice app on Docker</title>", page)
        self.assertIn("<h1", page)
        self.assertIn("All Users</h1>", page)
        self.assertIn("<p>No users!</p>", page)
        for field, placeholder in [
            ("username", "Enter a username"),
            ("email", "Enter an email address"),
        ]:
            tag = find(f'<input[^>]*name="{field}"[^>]*>', page)
            self.assertIn(f'placeholder="{placeholder}"', tag)
            self.assertIn(" required", tag)
            self.assertIn(f'<label class="form-label" for="{field}">', page)
        self.assertRegex(page, r"<button type=\"submit\"[^>]*>Submit</button>")

    def test_index_shows_name_and_day_the_newest_first(self):
        make_user(username="old", created_at=datetime(2026, 1, 2))
        for name in ["first", "second"]:
            make_user(username=name, created_at=datetime(2026, 3, 4))

        page = self.client.get("/").text

        self.assertEqual(shown_names(page), ["second", "first", "old"])
        self.assertIn("<strong>old</strong> - <em>2026-01-02</em>", page)
        self.assertNotIn("No users!", page)

    def test_index_escapes_names(self):
        make_user(username="<script>alert(1)</script>")

        page = self.client.get("/").text

        self.assertNotIn("<script>", page)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;", page)

    def test_index_leads_to_older_users_and_back(self):
        start = datetime(2026, 1, 1)
        for number in range(30):
            make_user(username=f"u{number}", created_at=start + timedelta(days=1 + number))
        make_users(75, created_at=start)

        seen, path, pages = [], "/", 0
        while path:
            page = self.client.get(path).text
            seen += shown_names(page)
            self.assertEqual("Newest users" in page, pages > 0)
            self.assertEqual("Newer users" in page, pages > 0)
            pages += 1
            last, path = path, link("next", page)

        self.assertEqual(pages, 3)
        self.assertEqual(len(seen), 105)
        self.assertEqual(seen[:30], [f"u{number}" for number in range(29, -1, -1)])
        self.assertEqual(seen[30:], [f"user{number}" for number in range(74, -1, -1)])
        back: list[str] = []
        path = link("prev", self.client.get(last).text)
        while path:
            page = self.client.get(path).text
            back = shown_names(page) + back
            path = link("prev", page)
        self.assertEqual(back, seen[:100])

    def test_index_before_a_user_among_the_newest_is_the_first_page(self):
        make_users(60)
        older = self.client.get(link("next", self.client.get("/").text)).text
        make_user(username="new", created_at=datetime(2027, 1, 1))

        newer = self.client.get(link("prev", older)).text
        newest = self.client.get(link("prev", newer)).text

        self.assertEqual(shown_names(newer)[0], "user59")
        self.assertEqual(len(shown_names(newest)), 50)
        self.assertEqual(shown_names(newest)[0], "new")
        self.assertNotIn("Newer users", newest)

    def test_search_finds_names_and_addresses(self):
        make_user(username="Ada", email="x@example.com")
        make_user(username="Bob", email="ada@example.com")
        make_user(username="Eve", email="eve@example.com")

        page = self.client.get("/?q=+AD+").text

        self.assertEqual(shown_names(page), ["Ada", "Bob"])
        self.assertIn("ada@example.com", page)
        self.assertIn('value="AD"', find('<input[^>]*name="q"[^>]*>', page))

    def test_search_leads_to_further_matches_and_back(self):
        make_users(75)
        page = self.client.get("/?q=user").text
        more = link("next", page)

        further = self.client.get(more).text

        self.assertEqual(len(set(shown_names(page) + shown_names(further))), 75)
        self.assertEqual(link("next", further), "")
        self.assertIn('href="/?q=user"', further)

    def test_search_without_a_match_says_so(self):
        make_user(username="Ada")

        page = self.client.get("/?q=nobody").text

        self.assertIn("No users found", page)
        self.assertNotIn("No users!", page)

    def test_search_for_nothing_is_the_list(self):
        make_user(username="Ada")

        for path in ["/?q=", "/?q=%20"]:
            with self.subTest(path):
                self.assertEqual(shown_names(self.client.get(path).text), ["Ada"])

    def test_search_with_wrong_parameters_is_refused(self):
        for path, name in [("/?q=%00", "q"), ("/?q=a&cursor=x", "cursor"), ("/?before=x", "cursor"),
                           ("/?q=" + "x" * 200, "q")]:  # fmt: skip
            with self.subTest(path):
                response = self.client.get(path, headers={"Accept": "text/html"})

                self.assertEqual(response.status_code, 400)
                self.assertIn(f"Invalid parameter: {name}.", response.text)

    def test_row_tells_two_people_of_one_name_apart(self):
        day = datetime(2026, 3, 4)
        make_user(
            username="Ada & Co", email="a'1@example.com", role="editor", last_sign_in_at=day,
            active=True,
        )  # fmt: skip
        make_user(username="Ada & Co", email="a2@example.com", role="admin")

        page = self.client.get("/").text

        second, first = page.split("<li class")[-2:]
        self.assertIn('aria-label="Select Ada &amp; Co, a&#39;1@example.com"', first)
        self.assertIn("<strong>Ada &amp; Co</strong> - <em>", first)
        self.assertIn('<span class="email">a&#39;1@example.com</span>', first)
        self.assertIn("Editor</span>", first)
        self.assertNotIn("Inactive</span>", first)
        self.assertIn("Last sign-in Mar 4, 2026", first)
        self.assertIn('aria-label="Select Ada &amp; Co, a2@example.com"', second)
        self.assertIn("Administrator</span>", second)
        self.assertIn("Inactive</span>", second)
        self.assertIn("Never signed in", second)
        chinese = self.client.get("/", headers={"Accept-Language": "zh"}).text
        self.assertIn("2026年3月4日", chinese)

    def test_count_stands_beside_the_heading(self):
        self.assertEqual(self.count("/"), "0 users")
        make_users(60)
        make_user(username="Ada", email="ada@example.com", role="viewer", active=True)
        for path, expected in [
            ("/", "61 users"),
            (link("next", self.client.get("/").text), "61 users"),
            ("/?role=viewer", "1 user"),
            ("/?active=false", "60 users"),
            ("/?active=false&role=none", "60 users"),
            ("/?q=user", "60 users"),
            ("/?q=user1+example", "11 users"),
            ("/?q=user&active=true", "0 users"),
        ]:
            with self.subTest(path):
                self.assertEqual(self.count(path), expected)
        with mock.patch.multiple(service, MOST_LISTED=54, MOST_FOUND=52):
            for path, expected in [
                ("/", "over 50 users"),
                ("/?active=false&role=none", "over 50 users"),
                ("/?q=user", "over 50 users"),
                ("/?q=ada", "1 user"),
            ]:
                with self.subTest(path, most=54):
                    self.assertEqual(self.count(path), expected)
            with recorded_commands() as commands:
                self.assertEqual(self.count("/"), "over 50 users")
            self.assertEqual(len(commands), 1)  # not counted again

    def count(self, path: str) -> str:
        """Return the count beside the heading, as a screen reader says it."""
        text = find(r'(?s)id="count"[^>]*>(.*?)</p>', self.client.get(path).text)
        return re.sub(r"<.*?>", "", text).strip()

    def test_count_of_a_list_that_fits_on_the_page_reads_nothing(self):
        make_users(50)
        self.client.get("/")

        with recorded_commands() as commands:
            self.client.get("/")

        self.assertEqual(len(commands), 1)

    def test_filters_and_orders_go_together(self):
        for number, (role, active) in enumerate(
            [("viewer", True), ("viewer", False), (None, True), (None, False)]
        ):
            make_user(
                username=f"u{3 - number}",
                email=f"{number}@example.com",
                role=role,
                active=active,
                last_sign_in_at=datetime(2026, 1, 1 + number) if number % 2 else None,
            )
        for query, expected in [
            ("role=viewer", ["u2", "u3"]),
            ("role=viewer&active=true", ["u3"]),
            ("active=false&sort=username", ["u0", "u2"]),
            ("sort=-last_sign_in_at", ["u0", "u2", "u1", "u3"]),
            ("sort=email", ["u3", "u2", "u1", "u0"]),
            ("sort=-created_at&role=&active=&q=", ["u0", "u1", "u2", "u3"]),
            ("q=u&role=none", ["u0", "u1"]),
            ("q=u&sort=email&active=true", ["u1", "u3"]),
        ]:
            with self.subTest(query):
                self.assertEqual(shown_names(self.client.get(f"/?{query}").text), expected)

    def test_links_keep_the_other_filters(self):
        make_user(username="Ada", role="viewer")

        page = unescape(self.client.get("/?role=viewer&active=false&sort=email").text)

        for name, address in [
            ("All", "/?sort=email"),
            ("Active", "/?role=viewer&active=true&sort=email"),
            ("Viewer", "/?active=false&sort=email"),
            ("Editor", "/?role=editor&active=false&sort=email"),
            ("Name", "/?role=viewer&active=false&sort=username"),
            ("Newest", "/?role=viewer&active=false"),
        ]:
            with self.subTest(name):
                self.assertEqual(find(f'<a href="([^"]*)"[^>]*>{name}</a>', page), address)
        current = re.findall(r'aria-current="true">(.*?)</a>', page)
        self.assertEqual(current, ["Inactive", "Viewer", "Email"])
        self.assertIn('<input type="hidden" name="role" value="viewer">', page)

    def test_search_keeps_the_filter_and_offers_no_order(self):
        make_user(username="Ada", role="viewer")

        page = unescape(self.client.get("/?q=a+b&role=viewer").text)

        self.assertIn('href="/?q=a+b&role=editor"', page)
        self.assertIn('href="/?q=a+b"', page)
        self.assertNotIn("Sort by", page)

    def test_each_order_leads_to_the_end_and_back(self):
        make_users(60)
        for number in range(60):
            signed_in = datetime(2026, 1, 1 + number % 20)
            make_user(username=f"b{number:02}", active=True, last_sign_in_at=signed_in)
        for query in ["sort=username", "sort=-last_sign_in_at", "sort=email&role=none"]:
            with self.subTest(query):
                page = self.client.get(f"/?{query}").text
                seen = [shown_names(page)]
                while path := link("next", page):
                    page = self.client.get(path).text
                    seen.append(shown_names(page))
                back = [seen[-1]]
                while path := link("prev", page):
                    page = self.client.get(path).text
                    back.insert(0, shown_names(page))

                self.assertEqual([len(names) for names in seen], [50, 50, 20])
                self.assertEqual(len(set(sum(seen, []))), 120)
                self.assertEqual(back, seen)
                self.assertIn("Next page", page)

    def test_filter_that_finds_nobody_says_so(self):
        make_user(username="Ada")

        page = self.client.get("/?role=admin").text

        self.assertIn("No users found with this filter.", page)
        self.assertNotIn("No users!", page)

    def test_index_with_wrong_filter_is_refused(self):
        for query, name in [("role=x", "role"), ("active=1", "active"), ("sort=x", "sort")]:
            with self.subTest(query):
                response = self.client.get(f"/?{query}", headers={"Accept": "text/html"})

                self.assertEqual(response.status_code, 400)
                self.assertIn(f"Invalid parameter: {name}.", response.text)

    def test_index_of_50_users_has_no_older_ones(self):
        make_users(50)

        self.assertNotIn("Older users", self.client.get("/").text)

    def test_index_with_wrong_cursor_is_refused(self):
        for cursor in ["", "x", "%00"]:
            with self.subTest(cursor):
                response = self.client.get(f"/?cursor={cursor}", headers={"Accept": "text/html"})

                self.assertEqual(response.status_code, 400)
                self.assertIn("Invalid parameter: cursor.", response.text)

    def test_index_asks_no_other_site(self):
        page = self.client.get("/").text

        addresses = set(re.findall(r'(?:src|href|action)="([^"]*)"', page))
        addresses -= {"#main", "/preferences"}
        self.assertTrue(addresses)
        for address in addresses:
            with self.subTest(address):
                self.assertRegex(address, r"^/(?!/)")
                with self.client.get(address) as response:
                    self.assertEqual(response.status_code, 200)


class AddUserTests(BaseTestCase):
    """POST /."""

    def test_form_sent_twice_adds_one_user_and_says_so_each_time(self):
        form = {"username": "Ada", "email": "ada@example.com"}
        form["idempotency_key"] = find(
            'name="idempotency_key"[^>]* value="([^"]+)"', self.client.get("/").text
        )

        answers = [self.client.post("/", data=form) for _ in range(2)]
        page = self.client.get("/").text

        self.assertEqual([answer.status_code for answer in answers], [303, 303])
        self.assertEqual(page.count("ada@example.com was added!"), 2)
        self.assertEqual(shown_names(page), ["Ada"])

    def test_form_sent_again_with_something_else_is_another_request(self):
        first = {"username": "Ada", "email": "ada@example.com", "idempotency_key": "k"}
        second = {**first, "email": "second@example.com"}

        answers = [self.client.post("/", data=form) for form in [first, second, second, first]]

        self.assertEqual([answer.status_code for answer in answers], [303] * 4)
        self.assertEqual(len(service.list_users(9)), 2)

    def test_form_without_a_key_is_a_new_request_each_time(self):
        form = {"username": "Ada", "email": "ada@example.com"}

        for key in [{}, {"idempotency_key": ""}]:
            with self.subTest(key):
                statuses = [
                    self.client.post("/", data={**form, **key}).status_code for _ in range(2)
                ]
                self.assertEqual(statuses[1], 400)

    def test_refusal_of_the_form_is_not_stored(self):
        form = {"username": "Ada", "email": "ada@example.com", "idempotency_key": "k"}
        user = make_user(email="ada@example.com")
        self.assertEqual(self.client.post("/", data=form).status_code, 400)
        self.client.delete(f"/users/{user.id}")

        self.assertEqual(self.client.post("/", data=form).status_code, 303)

    def test_each_form_has_a_key_of_its_own(self):
        keys = {
            find('name="idempotency_key"[^>]* value="([^"]+)"', self.client.get("/").text)
            for _ in range(2)
        }

        self.assertEqual(len(keys), 2)

    def test_add_user_leads_back_to_the_page_that_shows_the_user(self):
        response = self.client.post("/", data={"username": " Ada ", "email": " ada@example.com "})

        self.assertEqual(response.status_code, 303)
        self.assertEqual(response.headers["Location"], "/")
        page = self.client.get("/").text
        self.assertEqual(shown_names(page), ["Ada"])
        self.assertIn("ada@example.com was added!", page)
        self.assertNotIn("ada@example.com was added!", self.client.get("/").text)

    def test_add_user_says_what_is_wrong_beside_the_field(self):
        make_user(email="taken@example.com")
        for data, field, message in [
            ({"username": "", "email": "a@example.com"}, "username", "Must not be blank."),
            ({"email": "a@example.com"}, "username", "Must not be blank."),
            ({"username": "Ada", "email": "ada"}, "email", "must have an @-sign"),
            (
                {"username": "Ada", "email": "TAKEN@example.com"},
                "email",
                "Sorry. That email already exists.",
            ),
        ]:
            with self.subTest(data):
                response = self.client.post("/", data=data)

                self.assertEqual(response.status_code, 400)
                error = find(f'id="{field}-error">(.*?)</div>', response.text)
                self.assertIn(message, error)
                tag = find(f'<input[^>]*name="{field}"[^>]*>', response.text)
                self.assertIn('aria-invalid="true"', tag)
                for value in data.values():
                    self.assertIn(f'value="{value}"', response.text)
        self.assertEqual(len(service.list_users(9)), 1)

    def test_add_user_keeps_what_was_typed_as_text(self):
        response = self.client.post("/", data={"username": '"><script>', "email": "x"})

        self.assertIn('value="&#34;&gt;&lt;script&gt;"', response.text)
        self.assertNotIn("<script>", response.text)

    def test_add_user_with_bytes_that_are_not_utf8_is_refused(self):
        for field, text in [("username", b"\xff\xfe"), ("email", b"a\xff\xfe@example.com")]:
            with self.subTest(field):
                part = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
                parts = {b"username": b"Ada", b"email": b"a@example.com", field.encode(): text}
                body = b"".join(part % each for each in parts.items()) + b"--x--\r\n"
                response = self.client.post(
                    "/", data=body, content_type="multipart/form-data; boundary=x"
                )

                self.assertEqual(response.status_code, 400)
                error = find(f'id="{field}-error">(.*?)</div>', response.text)
                self.assertIn("Must not contain U+FFFD", error)
        self.assertEqual(service.list_users(9), [])

    def test_add_user_with_wrong_body_is_refused(self):
        for body, content_type, status in [
            (b"", "application/x-www-form-urlencoded", 400),
            (b"\xff=\xff&username=\xff", "application/x-www-form-urlencoded", 400),
            (b"--x\r\n", "multipart/form-data; boundary=x", 400),
            (b"garbage", "multipart/form-data", 400),
            (b'{"username": "a"}', "application/json", 400),
            (b"username=" + b"x" * 2_000_000, "application/x-www-form-urlencoded", 413),
        ]:
            with self.subTest(content_type, body=body[:20]):
                response = self.client.post(
                    "/", data=body, content_type=content_type, headers={"Accept": "text/html"}
                )

                self.assertEqual(response.status_code, status)
                self.assertEqual(response.mimetype, "text/html")
        self.assertEqual(service.list_users(9), [])


class WithCSRF(TestingConfig):
    """Settings of the tests, with the protection that is off in them."""

    WTF_CSRF_ENABLED = True


class CSRFTests(BaseTestCase):
    """The form's protection against requests forged by other sites."""

    def create_app(self) -> Flask:
        return create_app(WithCSRF)

    def test_form_without_token_adds_nothing_and_keeps_what_was_typed(self):
        data = {"username": "Ada", "email": "ada@example.com"}
        for token in [{}, {"csrf_token": "forged"}]:
            with self.subTest(token):
                response = self.client.post("/", data={**data, **token})

                self.assertEqual(response.status_code, 400)
                self.assertIn("The form has expired. Please submit it again.", response.text)
                self.assertIn('value="ada@example.com"', response.text)
        self.assertEqual(service.list_users(9), [])

    def test_forms_without_token_neither_change_nor_remove(self):
        user = make_user(username="Ada")
        for path in [f"/user/{user.id}", f"/remove/{user.id}"]:
            with self.subTest(path):
                data = {"username": "Eve", "email": "eve@example.com", "version": "1"}
                response = self.client.post(path, data=data)

                self.assertEqual(response.status_code, 400)
                self.assertIn("The form has expired. Please submit it again.", response.text)
        self.assertEqual(service.get_user(user.id).username, "Ada")

    def test_form_with_its_token_adds_the_user(self):
        page = self.client.get("/").text
        token = find(r'name="csrf_token" type="hidden" value="([^"]+)"', page)

        response = self.client.post(
            "/",
            data={"username": "Ada", "email": "ada@example.com", "csrf_token": token},
        )

        self.assertEqual(response.status_code, 303)
        self.assertEqual(len(service.list_users(9)), 1)

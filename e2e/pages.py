"""Every page of the service, as the different people see it: a row for each.

``test_accessibility`` checks them all, and ``python -m e2e.pages FOLDER [NAME ...]``, or
``make screenshots``, takes their pictures. Add a row for each new page, and one for each state of
it that looks different.
"""

import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from e2e.processes import GUNICORN, find_chromium, manage, served, test_database
from e2e.test_page import PASSWORD, PEOPLE, QUIET
from project import create_app
from project.web.error_handlers import prefixes

LANGUAGES = ("en", "zh_Hans")
THEMES = ("light", "dark")
WIDTHS = {"desktop": 1280, "phone": 390}
HEIGHT = 844
OPEN = "open"
"""Somebody who has not signed in, while access is open."""
NOBODY = "nobody"
"""Somebody who has not signed in, while access is protected."""
FIRST = "first"
"""Somebody who has not signed in, while there is no administrator yet."""
BROKEN = "broken"
"""Somebody for whom the service has a database without tables."""
AWAY = "away"
"""Somebody for whom the database cannot be reached."""
_numbers = count()
ROLES = {"ordinary": None, "viewer": "viewer", "editor": "editor", "admin": "admin"}


# Nothing listens there: no mail is sent.
MAILS = {
    "SMTP_URL": "smtp://127.0.0.1:1",
    "PUBLIC_URL": "http://127.0.0.1:{port}",
    "MAIL_FROM": "directory@example.com",
}


class Visit(NamedTuple):
    """A page in one of its states.

    :param name: the name of its picture.
    :param caller: one of ``ROLES``, or one of the names above.
    :param act: what the person does there first.
    """

    name: str
    path: str
    caller: str = "admin"
    act: Callable[[Page], object] | None = None


def send_empty(page: Page) -> None:
    """Submit the page's form without its entries, past the browser's own check."""
    page.locator("main form[method=post]").first.evaluate("form => (form.noValidate = true)")
    page.locator("main form[method=post] button[type=submit]").first.click()
    expect(page.locator(".is-invalid").first).to_be_visible()


def choose_all(page: Page) -> None:
    """Choose all users on the page of the list."""
    page.get_by_role("main").get_by_role("checkbox").first.check()


def change_one_too_many(page: Page) -> None:
    """Activate somebody, and then deactivate them and one who is an administrator by then."""
    button = page.locator("main form[method=post] button[type=submit]")
    button.click()
    page.goto(page.url.partition("?")[0] + f"bulk?action=deactivate&ids={ADA + 2}")
    page.locator("main input[name=ids]").evaluate("input => (input.value += '.1')")
    button.click()
    expect(page.locator("main form[method=post]")).to_have_count(0)


def guess(page: Page) -> None:
    """Enter a wrong password until one has to wait."""
    for _ in range(9):
        page.locator("main input[name=email]").fill("guessed@example.com")
        page.locator("main input[name=password]").fill("wrong")
        with page.expect_navigation() as waiting:
            page.locator("main form[method=post] button[type=submit]").click()
        answer = waiting.value
        if answer and answer.status == 429:
            return
    raise AssertionError("nobody has to wait")


def empty_and_send(page: Page) -> None:
    """Submit the form with an empty name."""
    page.locator("main input[name=username]").fill("")
    send_empty(page)


def send_expired(page: Page) -> None:
    """Submit the form after its session has ended."""
    page.locator("main input[name=username]").fill("Ada")
    page.locator("main input[name=email]").fill("new@example.com")
    page.context.clear_cookies(name="session")
    page.locator("main form[method=post] button[type=submit]").first.click()
    expect(page.get_by_role("alert")).to_be_visible()


def send_too_much(page: Page) -> None:
    """Submit more than a form may have."""
    page.locator("main input[name=username]").fill("x" * 70_000)
    page.locator("main input[name=email]").fill("new@example.com")
    page.locator("main form[method=post] button[type=submit]").first.click()
    expect(page.locator("main form")).to_have_count(0)


def wait_for_docs(page: Page) -> None:
    """Wait until Swagger UI shows the operations."""
    expect(page.locator(".opblock").first).to_be_visible()


def upload(page: Page) -> None:
    """Upload a file of users, one of whom has no address."""
    rows = "Name,Work email\nNew,new-%d@example.com\nNobody,nowhere\nAda,ada@example.com\n"
    data = (rows % next(_numbers)).encode()
    file: Any = {"name": "people.csv", "mimeType": "text/csv", "buffer": data}
    page.locator("input[type=file]").set_input_files(files=[file])
    page.locator("main form:has(input[type=file]) button[type=submit]").click()
    expect(page.locator("button[value=start]")).to_be_visible()


def import_file(page: Page) -> None:
    """Import a file of users."""
    upload(page)
    page.locator("button[value=start]").click()
    expect(page.locator("main a[href$='/undo']")).to_be_visible(timeout=20_000)


def ask_to_undo(page: Page) -> None:
    """Import a file of users, and go to the page to undo it."""
    import_file(page)
    page.locator("main a[href$='/undo']").click()
    expect(page.locator("main .btn-danger")).to_be_visible()


def open_menu(page: Page) -> None:
    """Open the menu in the bar."""
    page.locator("header summary").click()


def invite(page: Page) -> None:
    """Add somebody, so that the page shows their link."""
    page.locator("main input[name=username]").fill("Grace Murray Brewster Hopper")
    page.locator("main input[name=email]").fill(f"{uuid4()}@example.com")
    page.locator("main button[value=page]").click()
    page.locator("#link").wait_for()


def open_link(page: Page) -> Page:
    """Add somebody, and open their link in the same tab; return it."""
    invite(page)
    page.goto(page.locator("#link").input_value())
    return page


def choose_csv(page: Page) -> None:
    """Choose CSV, which has a choice of its own."""
    page.locator("#format-csv").check()


def edit_at_once(page: Page) -> None:
    """Save the form after somebody else has changed the user."""
    body = {"username": f"Bjarne {next(_numbers)}", "email": "b@example.com"}
    page.request.patch(page.url.replace("/user/", "/users/"), data=body)
    page.locator("main input[name=username]").fill("Bjarne Ø.")
    page.locator("main button[type=submit]").first.click()
    expect(page.locator("main input[type=radio]").first).to_be_visible()


def edit_account_at_once(page: Page) -> None:
    """Save the form after the account was changed in another tab."""
    other = page.context.new_page()
    other.goto(page.url)
    for each, name in [(other, f"Ordinary {next(_numbers)}"), (page, "Ordinary M.")]:
        each.locator("main input[name=username]").fill(name)
        with each.expect_navigation():
            each.locator("main form[action$=account] button[type=submit]").click()
    other.close()
    expect(page.locator("main input[type=radio]").first).to_be_visible()


def demote(page: Page) -> None:
    """Save the form with a lower role."""
    page.locator("main select[name=role]").select_option("viewer")
    page.locator("main button[type=submit]").first.click()
    expect(page.get_by_role("alert")).to_be_visible()


def make_key(page: Page) -> None:
    """Make an API key."""
    page.locator("main input[name=name]").fill("nightly import")
    page.locator("main input[type=checkbox]").first.check()
    page.locator("main form[action$=keys] button[type=submit]").click()
    expect(page.locator("#made-key")).to_be_visible()


def stop_key(page: Page) -> None:
    """Let a key remove so many users that it is stopped, and look again."""
    url = page.url.removesuffix("/provisioning")
    person = {"username": "Admin", "email": "admin@example.com", "password": PASSWORD}
    token = page.request.post(f"{url}/auth/login", data=person).json()["auth_token"]
    headers = {"Authorization": f"Bearer {token}"}
    key = {"name": "identity provider", "scopes": ["users:write"]}
    made = page.request.post(f"{url}/auth/keys", data=key, headers=headers).json()["data"]
    for _ in range(6):
        body = {"username": "Leaver", "email": f"{uuid4()}@example.com", "active": True}
        added = page.request.post(f"{url}/users", data=body, headers=headers).json()["data"]
        with_key = {"Authorization": f"Bearer {made['key']}"}
        page.request.delete(f"{url}/users/{added['id']}", headers=with_key)
    page.reload()
    expect(page.get_by_role("alert").first).to_be_visible()


def add_nameless_group(page: Page) -> None:
    """Submit the form for a group without a name."""
    page.locator("main summary").click()
    send_empty(page)


def add_nobody(page: Page) -> None:
    """Add to a group somebody whom nobody knows."""
    page.locator("main input[name=person]").fill("nobody")
    page.locator("main form[action$=members] button").click()
    expect(page.locator(".is-invalid")).to_be_visible()


def add_somebody(page: Page) -> None:
    """Add to a group one of several."""
    page.locator("main input[name=person]").fill("example")
    page.locator("main form[action$=members] button").click()
    expect(page.get_by_role("alert")).to_be_visible()


def send_scim(page: Page) -> None:
    """Send requests as an identity provider does, and look again."""
    url = page.url.removesuffix("/provisioning")
    person = {"email": "admin@example.com", "password": PASSWORD}
    token = page.request.post(f"{url}/auth/login", data=person).json()["auth_token"]
    key = {"name": "Okta", "scopes": ["users:read"]}
    bearer = {"Authorization": f"Bearer {token}"}
    made = page.request.post(f"{url}/auth/keys", data=key, headers=bearer).json()["data"]
    bearer = {"Authorization": f"Bearer {made['key']}"}
    page.request.get(f"{url}/scim/v2/Users?count=1", headers=bearer)
    page.request.get(f"{url}/scim/v2/Users?filter=name eq 1", headers=bearer)
    page.request.post(f"{url}/scim/v2/Users", data={"userName": "x"}, headers=bearer)
    page.request.get(f"{url}/scim/v2/Users")
    page.wait_for_timeout(2_000)  # they are stored every second
    page.reload()
    expect(page.locator("main ol")).to_be_visible()


# The ids of the editor and of Ada Lovelace; see ``prepare``.
EDITOR, ADA = 4, 5
PAGES: dict[str, list[Visit]] = {
    "/": [
        Visit("list", "/"),
        Visit("list-open", "/", OPEN),
        Visit("list-viewer", "/", "viewer"),
        Visit("list-found", "/?q=a", "editor"),
        Visit("list-nothing-found", "/?q=nobody", OPEN),
        Visit("list-filtered", "/?role=editor&active=true&sort=username"),
        Visit("list-chosen", "/", "admin", choose_all),
        Visit("list-error", "/", OPEN, send_empty),
        Visit("list-expired", "/", OPEN, send_expired),
        Visit("bar-menu", "/", "admin", open_menu),
    ],
    "/bulk": [
        Visit("bulk", f"/bulk?action=role&new_role=editor&ids=1&ids=4&ids={ADA}"),
        Visit("bulk-remove", "/bulk?action=remove&all=1", OPEN),
        Visit("bulk-remove-error", "/bulk?action=remove&all=1", OPEN, send_empty),
        Visit("bulk-nobody", "/bulk?action=deactivate&ids=1", "editor"),
        Visit("bulk-done", f"/bulk?action=activate&ids={ADA + 2}", "editor", change_one_too_many),
    ],
    "/bulk/export": [Visit("list-nobody-chosen", "/bulk/export", "viewer")],
    "/edit/<user_id>": [],  # leads to the next one
    "/user/<user_id>": [
        Visit("user", f"/user/{EDITOR}"),
        Visit("user-open", f"/user/{ADA}?q=ada", OPEN),
        Visit("user-viewer", f"/user/{EDITOR}", "viewer"),
        Visit("user-editor", "/user/1", "editor"),
        Visit("user-error", f"/user/{ADA}?q=ada", OPEN, empty_and_send),
        Visit("user-conflict", f"/user/{ADA + 1}", OPEN, edit_at_once),
        Visit("user-last-administrator", "/user/1", "admin", demote),
    ],
    "/remove/<user_id>": [Visit("remove", f"/remove/{ADA}")],
    "/group": [
        Visit("groups", "/group"),
        Visit("groups-error", "/group", OPEN, add_nameless_group),
        Visit("groups-nothing-found", "/group?q=nobody", "viewer"),
    ],
    "/group/<group_id>": [
        Visit("group", "/group/1", "editor"),
        Visit("group-viewer", "/group/1", "viewer"),
        Visit("group-error", "/group/1", OPEN, add_nobody),
        Visit("group-choice", "/group/1", OPEN, add_somebody),
    ],
    "/group/<group_id>/remove": [Visit("group-remove", "/group/1/remove")],
    "/sign-in": [
        Visit("sign-in", "/sign-in", NOBODY),
        Visit("sign-in-error", "/sign-in", NOBODY, send_empty),
        Visit("sign-in-throttled", "/sign-in", NOBODY, guess),
    ],
    "/account": [
        Visit("account", "/account", "ordinary"),
        Visit("account-admin", "/account"),
        Visit("account-error", "/account", "editor", empty_and_send),
        Visit("account-key", "/account", "editor", make_key),
        Visit("account-conflict", "/account", "ordinary", edit_account_at_once),
    ],
    "/revoke/<key_id>": [Visit("revoke", "/revoke/1")],
    "/invite": [
        Visit("invite", "/invite"),
        Visit("invite-error", "/invite", "admin", send_empty),
        Visit("invite-link", "/invite", "admin", invite),
    ],
    "/welcome": [
        Visit("welcome", "/invite", "admin", open_link),
        Visit("welcome-error", "/invite", "admin", lambda page: send_empty(open_link(page))),
        Visit("welcome-ended", "/welcome", NOBODY),
    ],
    "/forgot": [
        Visit("forgot", "/forgot", NOBODY),
        Visit("forgot-error", "/forgot", NOBODY, send_empty),
    ],
    "/register": [
        Visit("register", "/register", NOBODY),
        Visit("register-error", "/register", NOBODY, send_empty),
    ],
    "/setup": [
        Visit("setup", "/setup", FIRST),
        Visit("setup-error", "/setup", FIRST, send_empty),
    ],
    "/export": [
        Visit("export", "/export", OPEN),
        Visit("export-found", "/export?q=a&role=none&active=false", "viewer", choose_csv),
    ],
    "/activity": [
        Visit("activity", "/activity"),
        Visit("activity-found", f"/activity?user={ADA}&action=user.created"),
        Visit("activity-choice", "/activity?user=example.com&actor=nobody"),
        Visit("activity-nothing-found", "/activity?to=2020-01-01"),
    ],
    "/provisioning": [
        Visit("provisioning", "/provisioning"),
        Visit("provisioning-requests", "/provisioning", "admin", send_scim),
        Visit("provisioning-stopped", "/provisioning", "admin", stop_key),
    ],
    "/import": [Visit("import", "/import", "editor"), Visit("import-open", "/import", OPEN)],
    "/import/<import_id>": [
        Visit("import-preview", "/import", "editor", upload),
        Visit("import-result", "/import", "editor", import_file),
    ],
    "/import/<import_id>/undo": [Visit("import-undo", "/import", "editor", ask_to_undo)],
    "/docs": [Visit("docs", "/docs", OPEN, wait_for_docs)],
}
"""The visits by the rule of their page."""
ERRORS = [
    Visit("error-403", "/", "ordinary"),
    Visit("error-404", "/nowhere", OPEN),
    Visit("error-404-nobody", "/nowhere", NOBODY),
    Visit("error-405", "/preferences", "admin"),
    Visit("error-413", "/", OPEN, send_too_much),
    Visit("error-500", "/", BROKEN),
    Visit("error-503", "/", AWAY),
]
VISITS = [*(visit for visits in PAGES.values() for visit in visits), *ERRORS]


def rules() -> set[str]:
    """Return the rules of all pages that the service has."""
    app = create_app("project.config.TestingConfig")
    apis = prefixes(app)
    return {
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.rule.startswith(apis)
        and "static" not in rule.rule
        and not rule.rule.endswith(("/download", "/failed"))  # files
        and "refuse " not in rule.endpoint
    }


class World:
    """The service with some people in it, once open and once protected, on one database."""

    def __init__(self, browser: Browser, protected_url: str, urls: dict[str, str]) -> None:
        self.browser = browser
        self.urls = urls
        self.protected_url = protected_url
        self.states: dict[str, Any] = {}

    def visit(self, visit: Visit, language: str, theme: str) -> Page:
        """Return the page of a visit; its context is the caller's to close."""
        context = self.browser.new_context(
            viewport={"width": WIDTHS["desktop"], "height": HEIGHT},
            storage_state=self._state(visit.caller),
            reduced_motion="reduce",
        )
        url = self.url_of(visit.caller)
        context.add_cookies(
            [
                {"name": "language", "value": language, "url": url},
                {"name": "theme", "value": theme, "url": url},
            ]
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(url + visit.path)
        if visit.act:
            visit.act(page)
        return page

    def url_of(self, caller: str) -> str:
        """Return the address of the service for a caller."""
        return self.urls.get(caller, self.protected_url)

    def _state(self, caller: str) -> Any:
        """Return the cookies of a caller, who signs in once."""
        if caller not in ROLES:
            return None
        if caller not in self.states:
            context = self.browser.new_context()
            _sign_in(context, self.protected_url, f"{caller}@example.com")
            self.states[caller] = context.storage_state()
            context.close()
        return self.states[caller]


def _sign_in(context: BrowserContext, url: str, email: str) -> None:
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


@contextmanager
def world() -> Iterator[World]:
    """Serve the service, and start a browser."""
    with ExitStack() as stack:
        uploads = stack.enter_context(TemporaryDirectory(prefix="users-uploads-"))
        database = stack.enter_context(test_database())
        administrator = ["--username=Grace Hopper", "--email=admin@example.com"]
        manage(
            "create_admin",
            *administrator,
            "--password-stdin",
            input=PASSWORD,
            DATABASE_URL=database,
        )
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="users-first-"))
        empty = f"sqlite:///{folder}/users.db"
        manage("recreate_db", "--yes", DATABASE_URL=empty)
        urls = {
            caller: stack.enter_context(
                served(GUNICORN, DATABASE_URL=url, ACCESS=access, UPLOADS_DIR=uploads, **MAILS)
            )
            for caller, url, access in [
                (OPEN, database, "open"),
                (NOBODY, database, "protected"),
                (FIRST, empty, "protected"),
                (BROKEN, f"sqlite:///{folder}/broken.db", "open"),
                (AWAY, "mysql://users:x@127.0.0.1:1/users", "open"),
            ]
        }
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        stack.callback(browser.close)
        made = World(browser, urls[NOBODY], urls)
        prepare(browser, urls[OPEN])
        yield made


def prepare(browser: Browser, url: str) -> None:
    """Add people: one of each role, and others."""
    context = browser.new_context()
    administrator = {"email": "admin@example.com", "password": PASSWORD}
    token = context.request.post(f"{url}/auth/login", data=administrator).json()["auth_token"]

    def send(method: str, path: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return context.request.fetch(url + path, method=method, data=body, headers=headers).json()

    for name, role in list(ROLES.items())[:-1]:
        person = {"username": name.title(), "email": f"{name}@example.com", "password": PASSWORD}
        added = send("POST", "/users", person)["data"]
        send("PATCH", f"/users/{added['id']}", {"active": True, "role": role})
    for username, email in PEOPLE:
        send("POST", "/users", {"username": username, "email": email})
    for name in ("Research & Development", "Operations"):
        send("POST", "/groups", {"display_name": name})
    send("POST", "/groups/1/members", {"ids": [EDITOR, ADA, ADA + 1]})
    send("POST", "/auth/keys", {"name": "robot", "scopes": ["users:read", "admin"]})
    context.close()


def take_pictures(folder: Path, names: Sequence[str] = ()) -> None:
    """Take pictures of all pages in each width, theme and language.

    :param names: of the visits; empty: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    visits = [visit for visit in VISITS if not names or visit.name in names]
    with world() as here:
        for visit, language, theme in product(visits, LANGUAGES, THEMES):
            page = here.visit(visit, language, theme)
            for size, width in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": HEIGHT})
                name = f"{visit.name}-{size}-{theme}-{language}.png"
                page.screenshot(path=folder / name, full_page=True)
            page.context.close()


if __name__ == "__main__":
    parser = ArgumentParser(description="Take pictures of the pages.")
    parser.add_argument("folder", type=Path, help="where they are put; it is made if need be")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of rows; default: all")
    options = parser.parse_args()
    take_pictures(options.folder, options.names)

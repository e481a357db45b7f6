"""The nginx configuration in a real nginx, in front of a service that echoes its request."""

import json
import re
import tempfile
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from flask import Flask

from e2e.nginx import site, write_cors_origins, write_trusted_proxies
from e2e.processes import (
    GUNICORN,
    ROOT,
    answers,
    find_program,
    free_port,
    manage,
    running,
    served,
    test_database,
    wait_until,
)
from project import create_app
from project.api.users.schemas import UserRead
from project.tests.test_origins import RIGHT
from project.web.contract import contract_of, returns
from project.web.error_handlers import prefixes, register_prefix, shared_prefixes
from project.web.response_headers import ALWAYS, NO_STORE, OVER_TLS

WRONG_PREFIXES = [
    "directory", "/", "//evil.example", "/a//evil.example", "/\\evil.example", "/..", "/a/../b",
    "/%2e%2e", "/a b", "/a?b", "/a#b", "/é", "https://evil.example", "/a, /b", '/"><script>',
    "/$host", "1 /a",
]  # fmt: skip
PROXY, ANOTHER_PROXY, STRANGER = "127.0.0.2", "127.0.1.7", "127.0.0.3"
AWAY = "/users/away"  # the service ends the connection without an answer
AWAY_SCIM = "/scim/v2/Users/away"
SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        if self.path in (AWAY, AWAY_SCIM):
            self.close_connection = True
            return
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(404 if self.path == "/users/0" else 200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in [*ALWAYS, OVER_TLS, NO_STORE]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def make_client(folder: Path) -> None:
    """Put a client's files, and nginx's for them, where docker-compose-client.yml does."""
    client = folder / "client"
    (client / "static").mkdir(parents=True)
    (folder / "client.conf").rename(client / "client.conf")
    (client / "index.html").write_text("<!doctype html><title>Client</title>")
    (client / "static" / "main.css").write_text("p { margin: 0 }")


def differences(app: Flask, text: str) -> list[str]:
    """Return what to change in flask.conf, so that it agrees with the paths of the app.

    :param text: of flask.conf.
    """
    [block] = re.findall(r"map \$request_uri \$api \{(.*?)\n\}", text, re.DOTALL)
    known = {
        kind: {"/" + name.replace("\\", "") for name in names.split("|")}
        for names, kind in re.findall(r'"~\^/\((.+?)\)\(.*" (\w+);', block)
    }
    shared = set(shared_prefixes(app))
    return [
        *_other_prefixes(known, "shared", shared),
        *_other_prefixes(known, "unshared", set(prefixes(app)) - shared - {"/scim"}),
        *_other_prefixes(known, "scim", {"/scim"}),
        *_compressed_etags(app, text),
    ]


def _other_prefixes(known: dict[str, set[str]], kind: str, registered: set[str]) -> Iterator[str]:
    """Give what to change in one pattern of the map."""
    where = f"{kind} in the map $api in nginx/flask.conf"
    for path in sorted(registered - known[kind]):
        yield f"Add {path} to {where}: a feature has registered it."
    for path in sorted(known[kind] - registered):
        yield f"Remove {path} from {where}: no feature registers it."


def _compressed_etags(app: Flask, text: str) -> Iterator[str]:
    """Give the paths where nginx would weaken an ETag, and those where `gzip off` has no use."""
    locations = re.findall(r"\n    location (=|~) (\S+) \{(.*?)\n    \}", text, re.DOTALL)
    exact = {path for kind, path, _block in locations if kind == "="}
    off = [path for kind, path, block in locations if kind == "~" and "gzip off;" in block]
    used = set()
    for rule in app.url_map.iter_rules():
        contract = contract_of(app.view_functions[rule.endpoint])
        if contract is None or not contract.etag or "GET" not in (rule.methods or ()):
            continue
        path = re.sub("<.+?>", "7", rule.rule)
        matching = {each for each in off if re.search(each, path) and path not in exact}
        used |= matching
        if not matching:
            yield (
                f"Add a location with `gzip off` for {rule.rule} to nginx/flask.conf: it answers"
                " with an ETag, which compressing would weaken."
            )
    for path in sorted(set(off) - used):
        yield f"Remove `gzip off` at {path} from nginx/flask.conf: there is no ETag there."


class PathsTests(unittest.TestCase):
    """flask.conf has a copy of what the application knows of its paths."""

    def setUp(self) -> None:
        self.text = (ROOT / "nginx" / "flask.conf").read_text(encoding="utf-8")
        self.app = create_app("project.config.TestingConfig")

    def test_nginx_and_the_application_agree(self):
        self.assertEqual(differences(self.app, self.text), [])

    def test_prefix_that_nginx_does_not_know_is_found(self):
        register_prefix(self.app, "/teams")

        self.assertEqual(
            differences(self.app, self.text),
            [
                "Add /teams to shared in the map $api in nginx/flask.conf: a feature has"
                " registered it."
            ],
        )

    def test_prefix_that_only_nginx_knows_is_found(self):
        self.text = self.text.replace("(ping|", "(ping|teams|")

        [difference] = differences(self.app, self.text)
        self.assertIn("Remove /teams from shared", difference)

    def test_etag_that_would_be_compressed_is_found(self):
        self.app.add_url_rule("/users/<id>/photo", view_func=returns(UserRead)(lambda: None))

        [difference] = differences(self.app, self.text)
        self.assertIn("`gzip off` for /users/<id>/photo", difference)


class NginxTestCase(unittest.TestCase):
    """nginx on its own files, in front of a service."""

    def setUp(self) -> None:
        service = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        self.addCleanup(service.server_close)
        self.addCleanup(service.shutdown)
        Thread(target=service.serve_forever, daemon=True).start()
        self.service = service.server_port

    @contextmanager
    def nginx(
        self, proxies: str = "", origins: str = "", *, has_client: bool = False
    ) -> Iterator[None]:
        """Run nginx with these proxies in front of it, and with these origins listed.

        :param has_client: whether it serves a client's files, too.
        """
        with tempfile.TemporaryDirectory(prefix="users-nginx-") as name:
            folder, self.port = Path(name), free_port()
            folder.chmod(0o755)
            written = write_trusted_proxies(folder / "trusted_proxies.conf", proxies)
            self.assertEqual(written.returncode, 0, written.stderr)
            written = write_cors_origins(folder / "cors_origins.conf", origins)
            self.assertEqual(written.returncode, 0, written.stderr)
            program = find_program("nginx") or "nginx"
            file = site(folder, self.port, self.service)
            if has_client:
                make_client(folder)
            self.log = folder / "log"
            command = [program, "-p", name, "-c", file, "-g", "daemon off;"]
            with running(command, folder / "output") as process:
                url = f"http://127.0.0.1:{self.port}/ping"
                wait_until(lambda: answers(url), process, folder / "output")
                wait_until(lambda: bool(self.log.read_text()), process, folder / "output")
                yield

    def get(
        self, source: str, path: str = "/users", **headers: str
    ) -> tuple[dict[str, str], HTTPMessage]:
        """Send a request from an address; return what the service received, and its headers.

        The line in the log comes after the answer; it is waited for.
        """
        lines = len(self.log.read_text().splitlines())
        connection = HTTPConnection("127.0.0.1", self.port, 10, source_address=(source, 0))
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=sent)
        response = connection.getresponse()
        received = json.loads(response.read())
        connection.close()
        deadline = time.monotonic() + 10
        while len(self.log.read_text().splitlines()) == lines and time.monotonic() < deadline:
            time.sleep(0.01)
        return received, response.headers

    def logged_client(self) -> str:
        """Return the address in the last line of the access log."""
        return str(json.loads(self.log.read_text().splitlines()[-1])["client"])


class ErrorFormTests(NginxTestCase):
    """The form of nginx's own errors."""

    def ask_wrongly(self, path: str) -> str | None:
        """Send what nginx refuses itself, as a browser; return the media type of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, 10)
        connection.request("X", path, headers={"Accept": "text/html"})
        response = connection.getresponse()
        connection.close()
        self.assertEqual(response.status, 405)
        return response.headers.get_content_type()

    def test_registered_prefixes_are_answered_in_json_and_others_by_a_page(self):
        with self.nginx(""):
            for prefix in prefixes(create_app("project.config.TestingConfig")):
                with self.subTest(prefix):
                    json_type = "scim+json" if prefix == "/scim" else "json"
                    form = f"application/{json_type}"
                    self.assertEqual(self.ask_wrongly(prefix), form)
                    self.assertEqual(self.ask_wrongly(f"{prefix}/x/y?z"), form)
                    self.assertEqual(self.ask_wrongly(f"{prefix}x"), "text/html")

    def test_errors_of_scim_have_its_form(self):
        with self.nginx():
            for method, path, status, headers, detail in [
                ("X", "/scim/v2/Users", 405, {}, "The method is not allowed here."),
                (
                    "POST",
                    "/scim/v2//Users?aadOptscim062020",
                    413,
                    {"Content-Length": "10000001"},
                    "The body is larger than 10,000,000 bytes.",
                ),
                ("GET", AWAY_SCIM, 502, {}, "The service cannot be reached."),
            ]:
                with self.subTest(path[:40]):
                    connection = HTTPConnection("127.0.0.1", self.port, 10)
                    connection.request(method, path, headers={"Accept": "text/html", **headers})
                    response = connection.getresponse()
                    body = json.loads(response.read())
                    connection.close()

                    self.assertEqual(response.status, status)
                    kind = response.headers.get_content_type()
                    self.assertEqual(kind, "application/scim+json")
                    self.assertEqual(body["schemas"], [SCIM_ERROR])
                    self.assertEqual(body["status"], str(status))
                    self.assertIn(detail, body["detail"])

    def page(self, accepted: str = "", cookie: str = "", path: str = "/") -> str:
        """Return the page of what nginx refuses itself."""
        connection = HTTPConnection("127.0.0.1", self.port, 10)
        headers = {"Accept": "text/html", "Accept-Language": accepted, "Cookie": cookie}
        connection.request("X", path, headers=headers)
        page = connection.getresponse().read().decode()
        connection.close()
        return page

    def test_page_is_in_the_language_of_the_person(self):
        with self.nginx(""):
            for accepted, cookie, language in [
                ("", "", "en"),
                ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-Hans"),
                ("zh-TW", "", "zh-Hans"),
                ("fr,zh;q=0.5", "", "zh-Hans"),
                ("en-GB,en;q=0.9,zh;q=0.8", "", "en"),
                ("fr,en,zh", "", "en"),
                ("de", "", "en"),
                ("en", "theme=dark; language=zh_Hans", "zh-Hans"),
                ("zh", "language=en", "en"),
                ("zh", "language=x", "zh-Hans"),
            ]:
                with self.subTest(accepted, cookie=cookie):
                    page = self.page(accepted, cookie)
                    message, link = {
                        "en": ("The method is not allowed here.", "Back to all users"),
                        "zh-Hans": ("此地址不接受这种请求。", "返回所有用户"),
                    }[language]
                    self.assertIn(f'<html lang="{language}">', page)
                    self.assertIn(f"<p>{message}</p>", page)
                    self.assertIn(link, page)

    def test_every_message_is_in_every_language(self):
        site = (ROOT / "nginx/flask.conf").read_text(encoding="utf-8")
        english = re.search(r"map \$status \$error_message \{(.*?)\}", site, re.DOTALL)
        assert english is not None
        statuses = re.findall(r"^    (\d{3}) ", english[1], re.MULTILINE)
        self.assertGreater(len(statuses), 10)
        for status in statuses:
            self.assertIn(f'"zh-Hans {status}" ', site)


class TrustedProxiesTests(NginxTestCase):
    """The client's address, as the service and the log receive it."""

    def test_nobody_is_believed_unless_named(self):
        with self.nginx(""):
            received, headers = self.get(
                PROXY, X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https"
            )

            self.assertEqual(
                (received["X-Forwarded-For"], received["X-Forwarded-Proto"]), (PROXY, "http")
            )
            self.assertIsNone(headers["Strict-Transport-Security"])
            self.assertEqual(self.logged_client(), PROXY)

    def test_proxy_that_is_named_is_believed_and_nobody_else(self):
        with self.nginx(f"{PROXY} 127.0.1.0/24 2001:db8::/32"):
            for source, forwarded, client in [
                (PROXY, "203.0.113.9", "203.0.113.9"),
                (PROXY, "203.0.113.9:4711", "203.0.113.9"),
                (PROXY, "2001:db9::1", "2001:db9::1"),
                # What a client has made up stands before what the proxy adds.
                (PROXY, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
                (ANOTHER_PROXY, f"198.51.100.1, 203.0.113.9, {PROXY}", "203.0.113.9"),
                (PROXY, "made up", PROXY),
                (STRANGER, "203.0.113.9", STRANGER),
                (STRANGER, f"203.0.113.9, {PROXY}", STRANGER),
            ]:
                with self.subTest(source, forwarded=forwarded):
                    received, _headers = self.get(source, X_Forwarded_For=forwarded)

                    self.assertEqual(received["X-Forwarded-For"], client)
                    self.assertEqual(received["X-Real-IP"], client)
                    self.assertEqual(self.logged_client(), client)

    def test_scheme_is_believed_of_those_proxies_only(self):
        with self.nginx(PROXY):
            for source, sent, scheme in [
                (PROXY, "https", "https"),
                (PROXY, "http", "http"),
                (PROXY, "gopher", "http"),
                (STRANGER, "https", "http"),
            ]:
                with self.subTest(source, sent=sent):
                    received, headers = self.get(
                        source, X_Forwarded_For="203.0.113.9", X_Forwarded_Proto=sent
                    )

                    self.assertEqual(received["X-Forwarded-Proto"], scheme)
                    self.assertEqual(
                        headers["Strict-Transport-Security"] is not None, scheme == "https"
                    )

    def test_prefix_is_believed_of_those_proxies_only(self):
        with self.nginx(PROXY):
            for source, sent, prefix in [
                (PROXY, "/directory", "/directory"),
                (PROXY, "/directory/", "/directory"),
                (PROXY, "/a/b-c_d.e~f", "/a/b-c_d.e~f"),
                *((PROXY, wrong, None) for wrong in WRONG_PREFIXES),
                (STRANGER, "/directory", None),
            ]:
                with self.subTest(source, sent=sent):
                    received, _headers = self.get(source, X_Forwarded_Prefix=sent)

                    self.assertEqual(received.get("X-Forwarded-Prefix"), prefix)
                    self.assertEqual(
                        self.link_of_error_page(source, sent), f'href="{prefix or ""}/"'
                    )

    def link_of_error_page(self, source: str, prefix: str) -> str:
        """Return the link on nginx's own error page, as a browser gets it."""
        connection = HTTPConnection("127.0.0.1", self.port, 10, source_address=(source, 0))
        headers = {"Accept": "text/html", "X-Forwarded-Prefix": prefix}
        connection.request("X", "/", headers=headers)
        page = connection.getresponse().read().decode()
        connection.close()
        [link] = re.findall(r'href=".*?"', page)
        return str(link)

    def test_headers_of_the_service_are_sent_once(self):
        with self.nginx(PROXY):
            for path in ["/users", "/users/0"]:
                _received, headers = self.get(PROXY, path, X_Forwarded_Proto="https")

                for name, value in [*ALWAYS, OVER_TLS, NO_STORE]:
                    with self.subTest(path, name=name):
                        self.assertEqual(headers.get_all(name), [value])

    def test_limits_count_each_client_behind_a_proxy(self):
        def write(client: str) -> int:
            connection = HTTPConnection("127.0.0.1", self.port, 10, source_address=(PROXY, 0))
            connection.request("POST", "/users", headers={"X-Forwarded-For": client})
            status = connection.getresponse().status
            connection.close()
            return status

        with self.nginx(PROXY):
            statuses = [write("203.0.113.9") for _ in range(3)]

            self.assertEqual(statuses, [200, 200, 429])
            self.assertEqual(write("203.0.113.10"), 200)
            self.assertEqual(write("203.0.113.10, 203.0.113.9"), 429)

    def test_what_is_no_address_is_refused(self):
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "trusted_proxies.conf")
            for wrong in [
                "balancer.example", "10.0.0.256", "10.0.0", "10.0.0.0/33", "0.0.0.0/0", "::/0",
                "::1/129", "10.0.0.1;", "10.0.0.1,10.0.0.2", "*", "$host",
            ]:  # fmt: skip
                with self.subTest(wrong):
                    result = write_trusted_proxies(file, f"192.0.2.1 {wrong}")

                    self.assertEqual(result.returncode, 1)
                    self.assertIn(f"TRUSTED_PROXIES: '{wrong}' is no address", result.stderr)
                    self.assertFalse(file.exists())


CLIENT, STRANGERS = "https://client.example", ["https://a.example", "null", None]
ORIGIN, EXPOSED = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"


class CORSTests(NginxTestCase):
    """nginx's own answers to pages of other origins, and those of the service behind it."""

    def send(
        self, method: str, path: str, origin: str | None, **headers: str
    ) -> tuple[int, HTTPMessage]:
        """Send a request of a page of this origin; return the status and the headers."""
        connection = HTTPConnection("127.0.0.1", self.port, 10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={**sent, **({"Origin": origin} if origin else {})})
        response = connection.getresponse()
        connection.close()
        return response.status, response.headers

    def assert_shared(self, headers: HTTPMessage, origin: str | None) -> None:
        """Assert that the pages of one origin, or of none, may read the answer."""
        self.assertEqual(headers.get_all(ORIGIN), [origin] if origin else None)
        exposed = ["ETag, Link, Location, Retry-After, X-Request-ID"] if origin else None
        self.assertEqual(headers.get_all(EXPOSED), exposed)
        vary = [name for line in headers.get_all("Vary", []) for name in line.split(", ")]
        self.assertEqual(vary.count("Origin"), 1)

    def test_own_answers_are_shared_with_listed_origins(self):
        other = RIGHT[-1]
        with self.nginx(origins=" ".join([*RIGHT, CLIENT])):
            for origin in [CLIENT, other, *STRANGERS, CLIENT.upper(), f"{CLIENT}.a.example"]:
                for method, path, status, headers in [
                    ("X", "/users", 405, {}),
                    ("X", "/users/1?a=b", 405, {"Accept": "text/html"}),
                    ("X", "/openapi.json?", 405, {}),
                    ("POST", "/users", 413, {"Content-Length": "65537"}),
                    ("POST", "/auth/login", 413, {"Content-Length": "65537"}),
                ]:
                    with self.subTest(path, origin=origin):
                        found, answer = self.send(method, path, origin, **headers)
                        self.assertEqual(found, status)
                        listed = origin in (CLIENT, other, CLIENT.upper())
                        self.assert_shared(answer, (origin or "").lower() if listed else None)

    def test_limit_and_outage_are_shared(self):
        with self.nginx(origins=CLIENT):
            answers = [self.send("POST", "/users", CLIENT) for _ in range(3)]
            self.assertEqual([status for status, _headers in answers], [200, 200, 429])
            self.assert_shared(answers[-1][1], CLIENT)
            status, headers = self.send("GET", AWAY, CLIENT)
            self.assertEqual(status, 502)
            self.assert_shared(headers, CLIENT)

    def test_pages_and_paths_of_operators_are_not_shared(self):
        with self.nginx(origins=CLIENT):
            for path in ["/", "/sign-in", "/metrics", "/health/ready", "/userst", "/nowhere/users"]:
                with self.subTest(path):
                    _status, headers = self.send("X", path, CLIENT)
                    for name in (ORIGIN, EXPOSED, "Vary"):
                        self.assertIsNone(headers[name])

    def test_nothing_is_added_while_it_is_off(self):
        with self.nginx():
            for origin in [CLIENT, "", None]:
                _status, headers = self.send("X", "/users", origin)
                for name in (ORIGIN, EXPOSED, "Vary"):
                    self.assertIsNone(headers[name])

    def test_answers_of_the_application_have_each_header_once(self):
        database = self.enterContext(test_database())
        url = self.enterContext(served(GUNICORN, DATABASE_URL=database, CORS_ORIGINS=CLIENT))
        self.service = int(url.rpartition(":")[2])
        manage("seed_db", "--count", "20", DATABASE_URL=database)
        with self.nginx(origins=CLIENT):
            for origin in [CLIENT, *STRANGERS]:
                listed = origin if origin == CLIENT else None
                for method, path, status, sent in [
                    ("GET", "/users", 200, {"Accept-Encoding": "gzip"}),
                    ("GET", "/users/1", 200, {}),
                    ("GET", "/users/1", 304, {"If_None_Match": "*"}),
                    ("GET", "/users/999", 404, {}),
                    ("OPTIONS", "/users/1", 200, {"Access_Control_Request_Method": "PATCH"}),
                ]:
                    with self.subTest(path, status=status, origin=origin):
                        found, headers = self.send(method, path, origin, **sent)
                        self.assertEqual(found, status)
                        self.assert_shared(headers, listed)
                        is_preflight = bool(listed) and method == "OPTIONS"
                        self.assertEqual("Access-Control-Allow-Methods" in headers, is_preflight)

    def test_what_is_no_origin_is_refused(self):
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "cors_origins.conf")
            for wrong in [
                "*", "null", "client.example", "https://client.example/", "https://Client.example",
                "https://a.example,https://b.example", "https://user@client.example", "https://é.example",
                'https://a"', "https://a;", "https://$host", "https://a{}", "~^https://", "default",
                "https://*.example.com", "http://localhost:x", "http://localhost:0", "include", "#",
                "https://a\\b", "ftp://client.example",
            ]:  # fmt: skip
                with self.subTest(wrong):
                    result = write_cors_origins(file, f"{CLIENT} {wrong}")

                    self.assertEqual(result.returncode, 1)
                    self.assertIn(f"CORS_ORIGINS: '{wrong}' is no origin", result.stderr)
                    self.assertFalse(file.exists())


class ClientTests(NginxTestCase):
    """The optional location of a client's files."""

    def fetch(self, path: str) -> tuple[int, str | None, bytes]:
        """Return status, media type and body."""
        connection = HTTPConnection("127.0.0.1", self.port, 10)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        self.headers = response.headers
        return response.status, response.headers.get_content_type(), body

    def test_it_is_off_by_default(self):
        with self.nginx():
            for path in ["/client", "/client/", "/client/index.html"]:
                with self.subTest(path):
                    _status, _kind, body = self.fetch(path)
                    self.assertIn("X-Forwarded-For", json.loads(body))  # from the service

    def test_files_are_served_and_other_paths_are_the_clients_own(self):
        page = b"<!doctype html><title>Client</title>"
        with self.nginx(has_client=True):
            for path, kind, body in [
                ("/client/", "text/html", page),
                ("/client/index.html", "text/html", page),
                ("/client/status?a=b", "text/html", page),
                ("/client/static/", "text/html", page),
                ("/client/static/main.css", "text/css", b"p { margin: 0 }"),
            ]:
                with self.subTest(path):
                    self.assertEqual(self.fetch(path), (200, kind, body))
                    self.assertEqual(self.headers.get_all("Cache-Control"), ["no-cache"])
                    self.assertIn("default-src 'self'", self.headers["Content-Security-Policy"])
            self.assertEqual(self.fetch("/client")[0], 301)
            self.assertEqual(self.headers["Location"], f"http://127.0.0.1:{self.port}/client/")
            for path in ["/users", "/clients"]:
                self.assertIn("X-Forwarded-For", json.loads(self.fetch(path)[2]))

"""manage.py scim_check, against a server on a port of its own."""

import io
import threading
from contextlib import redirect_stdout
from typing import Any
from unittest import mock

from werkzeug.serving import WSGIRequestHandler, make_server

from project.api.auth import service as auth
from project.api.groups import service as groups
from project.api.users import deactivation_guard
from project.commands import scim_check
from project.database import close_thread_connections
from project.tests.factories import all_users, make_user
from project.tests.scim.base import SCIMTestCase

STEPS = ["discovery", "create", "create again", "filter", "patch", "groups"]
STEPS += ["deactivate", "read inactive", "delete"]


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log(self, *_: Any) -> None:
        """Do nothing."""


class ScimCheckTests(SCIMTestCase):
    """What it prints, its exit code, and what it leaves."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["ACCESS"] = "protected"
        server = make_server("127.0.0.1", 0, self.app, request_handler=_Quiet)
        thread = threading.Thread(target=self.serve, args=[server])
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.there = all_users()

    def serve(self, server: Any) -> None:
        """Serve, and leave no connection."""
        server.serve_forever()
        with self.app.app_context():
            close_thread_connections()

    def check(self, key: str | None = None, url: str | None = None) -> tuple[int, list[str]]:
        """Return the exit code and the printed lines."""
        code = 0
        with redirect_stdout(io.StringIO()) as printed:
            try:
                scim_check.check(url or self.url, key)
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 2
        return code, printed.getvalue().splitlines()

    def test_each_step_is_ok_and_nothing_is_left(self):
        for key, url in [
            (self.key, self.url),
            (None, self.url),
            (self.key, f"{self.url}/scim/v2/"),
        ]:
            with self.subTest(key=key, url=url):
                code, lines = self.check(key, url)

                self.assertEqual(lines, [f"{self.url}/scim/v2", *(f"OK      {s}" for s in STEPS)])
                self.assertEqual(code, 0)
        self.assertEqual(all_users(), self.there)
        self.assertEqual(len(auth.list_keys()), 1)

    def test_key_may_be_in_the_environment(self):
        with mock.patch.dict("os.environ", SCIM_KEY="usk_wrong"):
            code, lines = self.check()

        self.assertEqual(code, 1)
        self.assertIn(
            "FAILED  discovery: GET /ServiceProviderConfig: expected 200, got 401", lines[1]
        )
        self.assertEqual(lines[2:], [f"skipped {step}" for step in STEPS[1:]])

    def test_failed_step_says_why_and_the_user_goes(self):
        key = self.make_key("users:write", email="w@example.com", username="w", role="editor")
        there = all_users()

        code, lines = self.check(key)

        self.assertEqual(code, 1)
        self.assertEqual(lines[1:4], [f"OK      {step}" for step in STEPS[:3]])
        self.assertRegex(lines[4], "FAILED  filter: GET /Users.*expected 200, got 403 .*users:read")
        self.assertEqual(all_users(), there)

    def test_key_without_groups_is_no_failure(self):
        key = self.make_key(
            *("users:read", "users:write"), email="w@example.com", username="w", role="editor"
        )

        code, lines = self.check(key)

        self.assertEqual(code, 0)
        said = [f"OK      {step}" for step in STEPS]
        reason = "You do not have permission to do that. scope: The key needs groups:write."
        said[5] = f"skipped groups: {reason}"
        self.assertEqual(lines[1:], said)

    def test_failed_step_leaves_no_group(self):
        scopes = ["users:read", "users:write", "groups:write"]
        key = self.make_key(*scopes, email="w@example.com", username="w", role="editor")
        there = all_users()

        code, lines = self.check(key)

        self.assertEqual(code, 1)
        self.assertRegex(lines[6], "FAILED  groups: GET /Groups/.*: expected 404, got 403")
        self.assertEqual((all_users(), groups.list_groups(9)), (there, []))

    def test_user_whom_it_may_not_remove_is_named(self):
        for _ in range(deactivation_guard.ALWAYS):
            self.call("DELETE", f"/Users/{make_user(active=True).id}")

        code, lines = self.check(self.key)

        self.assertEqual(code, 1)
        self.assertRegex(lines[7], "FAILED  deactivate: PATCH /Users/.*: expected 200, got 429")
        self.assertRegex(
            lines[-1], r"/Users/\d+ \(scim-check-.*\) is still there, and must be removed"
        )

    def test_service_that_is_not_there_is_said_so(self):
        for url, code in [("http://127.0.0.1:9", 1), ("ftp://127.0.0.1", 2), ("nonsense", 2)]:
            with self.subTest(url):
                ended, lines = self.check(self.key, url)

                self.assertEqual(ended, code)
                if code == 1:
                    self.assertIn("no answer", lines[1])
        self.assertEqual(all_users(), self.there)

"""Suites of others that ask a SCIM service what the RFCs say."""

import threading
from typing import Any

from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_tester import Status, check_server
from scim_sanity.probe.runner import run_probe_api
from werkzeug.serving import WSGIRequestHandler, make_server

from project.tests.scim.base import SCIMTestCase


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log(self, *_: Any) -> None:
        """Do nothing."""


class ConformanceTests(SCIMTestCase):
    """The service before their suites."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["DEACTIVATION_GUARD"] = False  # they remove all that they have added

    def test_scim2_tester(self):
        check_server(self.client_of_tester(), raise_exceptions=True, exclude_tags={"patch:remove"})

        results = check_server(self.client_of_tester())

        # Every user here has a name, and is active or not; see docs/decisions/scim.md.
        kept = "PATCH modify() did not remove attribute"
        self.assertEqual(
            [each.reason for each in results if each.status == Status.ERROR],
            [f"{kept} 'displayName'", f"{kept} 'active'"],
        )
        self.assertGreater(sum(each.status == Status.SUCCESS for each in results), 100)

    def client_of_tester(self) -> WSGISCIMClient:
        """Return a client with the API key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return WSGISCIMClient(self.app, "http://localhost/scim/v2", headers=headers)

    def test_scim_sanity(self):
        server = make_server("127.0.0.1", 0, self.app, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        for options in ({}, {"profile": "entra"}):
            with self.subTest(**options):
                found = self.probe(server.server_port, **options)

                self.assertEqual(found["issues"], [])
                self.assertEqual(found["exit_code"], 0)
                self.assertEqual(found["summary"]["passed"], 28)

    def probe(self, port: int, **options: Any) -> dict[str, Any]:
        """Return what scim-sanity has found."""
        url = f"http://127.0.0.1:{port}/scim/v2"
        found = run_probe_api(url, token=self.key, **options)
        return found  # type: ignore[no-any-return]

"""Suites of others that ask a SCIM service what the RFCs say; on gunicorn."""

import os
import subprocess
import sys
import unittest
from typing import Any

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server
from scim_sanity.probe.runner import run_probe_api

from e2e.processes import GUNICORN, ROOT, served, test_database


class ConformanceTests(unittest.TestCase):
    """The service before their suites, with the key of a service account."""

    def setUp(self) -> None:
        database = self.enterContext(test_database())
        # They remove all that they have added.
        settings = {"DATABASE_URL": database, "ACCESS": "protected", "DEACTIVATION_GUARD": "off"}
        self.url = self.enterContext(served(GUNICORN, **settings)) + "/scim/v2"
        self.key = subprocess.run(
            [sys.executable, "manage.py", "create_key", "okta", "--service"],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def test_scim2_tester(self):
        with Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60
        ) as http:
            client = SyncSCIMClient(http)
            check_server(client, raise_exceptions=True, exclude_tags={"patch:remove"})

            results = check_server(client)

        # Every user here has a name, and is active or not; see docs/decisions/scim.md.
        kept = "PATCH modify() did not remove attribute"
        self.assertEqual(
            [each.reason for each in results if each.status == Status.ERROR],
            [f"{kept} 'displayName'", f"{kept} 'active'"],
        )
        self.assertGreater(sum(each.status == Status.SUCCESS for each in results), 100)

    def test_scim_sanity(self):
        for options in ({}, {"profile": "entra"}):
            with self.subTest(**options):
                found: Any = run_probe_api(self.url, token=self.key, **options)

                self.assertEqual(found["issues"], [])
                self.assertEqual(found["exit_code"], 0)
                self.assertEqual(found["summary"]["passed"], 28)

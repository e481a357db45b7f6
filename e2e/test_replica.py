"""READ_DATABASE_URL: lists and exports from a MariaDB replica, while it is recent."""

import time
import unittest
from typing import Any
from urllib.parse import urlsplit

from e2e.processes import GUNICORN, MariaDB, manage, served
from e2e.stacks import Site, until

MAX_LAG_SECONDS = 2


class ReplicaTests(unittest.TestCase):
    """A user who is on the replica alone shows what is read from it."""

    def setUp(self) -> None:
        self.primary = self.enterContext(MariaDB(["--log-bin=primary", "--server-id=1"]))
        self.replica = self.enterContext(MariaDB(["--server-id=2"]))
        port = urlsplit(self.primary.url).port
        self.on_replica(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port},"
            " MASTER_USER = 'root', MASTER_USE_GTID = slave_pos, MASTER_SSL_VERIFY_SERVER_CERT = 0"
        )
        self.on_replica("START SLAVE")
        manage("recreate_db", "--yes", DATABASE_URL=self.primary.url)
        settings = {"DATABASE_URL": self.primary.url, "WEB_CONCURRENCY": "1"}
        replica = {"READ_DATABASE_URL": self.replica.url, "MAX_LAG_SECONDS": str(MAX_LAG_SECONDS)}
        url = self.enterContext(served(GUNICORN, None, **settings, **replica))
        self.site = Site(urlsplit(url).port or 0)
        self.assertEqual(self.site.add("both", "both@example.com").status, 201)
        until(lambda: self.on_replica("SELECT 1 FROM users_test.users"))
        self.on_replica(
            "INSERT INTO users_test.users (username, email, email_folded, username_folded,"
            " created_at, updated_at) VALUES ('replica', 'replica@example.com',"
            " 'replica@example.com', 'replica', NOW(), NOW())"
        )

    def on_replica(self, sql: str) -> Any:
        """Run a statement on the replica, and return its first row."""
        with self.replica.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()
            return cursor.fetchone()

    def listed(self) -> list[str]:
        """Return the emails of the list."""
        answer = self.site.get("/users")
        self.assertEqual(answer.status, 200, answer.body)
        return sorted(user["email"] for user in answer.json["data"]["users"])

    def is_read(self) -> bool:
        """Return whether the list comes from the replica."""
        return "replica@example.com" in self.listed()

    def test_lists_and_exports_are_read_from_the_replica_and_nothing_else_is(self):
        until(self.is_read)

        self.assertIn(b"replica@example.com", self.site.get("/users/export").body)
        self.assertIn(b"replica", self.site.get("/users?q=replica&total=true").body)
        both, of_replica = 1, 2
        self.assertEqual(self.site.get(f"/users/{both}").status, 200)
        self.assertEqual(self.site.get(f"/users/{of_replica}").status, 404)
        self.assertNotIn(b"replica", self.site.get("/").body)

    def test_replica_that_lags_is_left_until_it_has_caught_up(self):
        until(self.is_read)
        self.on_replica("STOP SLAVE SQL_THREAD")
        self.assertEqual(self.site.add("new", "new@example.com").status, 201)

        time.sleep(MAX_LAG_SECONDS)
        for _ in range(20):
            self.assertEqual(self.listed(), ["both@example.com", "new@example.com"])

        self.on_replica("DELETE FROM users_test.users WHERE username = 'replica'")
        self.on_replica("START SLAVE SQL_THREAD")
        until(lambda: self.on_replica("SELECT 1 FROM users_test.users WHERE username = 'new'"))
        self.on_replica("UPDATE users_test.users SET email = 'replica@example.com' WHERE id = 1")
        until(self.is_read)

    def test_replica_that_is_away_fails_no_request(self):
        until(self.is_read)

        self.replica.kill()

        for _ in range(20):
            self.assertEqual(self.listed(), ["both@example.com"])
        self.replica.start()
        until(self.is_read, 60)

"""100,000 users go in, are listed, searched and sent out, and go into another database."""

import tempfile
import unittest
from pathlib import Path

from e2e.processes import MariaDB
from e2e.round_trip import make_round_trip

COUNT = 100_000


class RoundTripTests(unittest.TestCase):
    """The same way on each database; `python -m bench.transfer` takes it with a million."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="users-transfer-")))

    def test_on_sqlite(self):
        first, second = (f"sqlite:///{self.folder}/{name}.db" for name in ("first", "second"))

        make_round_trip(self, COUNT, (first, second), self.folder)

    def test_on_mariadb(self):
        server = self.enterContext(MariaDB())

        make_round_trip(self, COUNT, (server.url, server.create_database("users_2")), self.folder)

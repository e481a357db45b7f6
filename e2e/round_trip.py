"""Many users go in, are listed, searched and sent out, and go into another database."""

import gzip
import hashlib
import json
import shutil
import unittest
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from e2e.processes import GUNICORN, manage, peak_memory, served_process

NAMES = ["Ada Abebe", "Chidi Costa", "Dagný Novák", 'Inés "La" Sato', "名前, 空", "O'Wu; 😀"]
ANSWER_SECONDS = 3600
MAX_MEMORY_MIB = 143  # 150 MB


def write_rows(path: Path, count: int) -> None:
    """Write the rows of so many users as CSV, all alike but for their numbers.

    The numbers are spread, so that no index grows at its end only.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("username,email,active\r\n")
        for number in range(count):
            spread = hashlib.blake2b(b"%d" % number, digest_size=5).hexdigest()
            name = NAMES[number % len(NAMES)].replace('"', '""')
            active = "true" if number % 3 else "false"
            file.write(f'"{name} {spread}",{spread}.{number}@example.com,{active}\r\n')


class Client:
    """Speaks HTTP with one server.

    :param seconds: how long an answer may take.
    """

    def __init__(self, url: str, seconds: float = ANSWER_SECONDS) -> None:
        self._place, self._seconds = urlsplit(url).netloc, seconds

    def get(self, path: str) -> Any:
        """Return the ``data`` of an answer."""
        connection = HTTPConnection(self._place, timeout=self._seconds)
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["data"]

    def users(self, path: str) -> Iterator[dict[str, Any]]:
        """Give the users of all pages."""
        page = self.get(path)
        while True:
            yield from page["users"]
            if page["next"] is None:
                return
            page = self.get(f"{path}&cursor={quote(page['next'])}")

    def send(self, file: Path) -> Any:
        """Import a CSV file; return the report."""
        connection = HTTPConnection(self._place, timeout=self._seconds)
        headers = {"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)}
        if file.suffix == ".gz":
            headers["Content-Encoding"] = "gzip"
        with open(file, "rb") as body:
            connection.request("POST", "/users/import", body, headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["data"]

    def fetch(self, file: Path) -> None:
        """Export into a CSV file."""
        connection = HTTPConnection(self._place, timeout=self._seconds)
        connection.request("GET", "/users/export")
        with open(file, "wb") as target:
            shutil.copyfileobj(connection.getresponse(), target)
        connection.close()


def make_round_trip(
    test: unittest.TestCase, count: int, databases: tuple[str, str], folder: Path
) -> None:
    """Take so many users the whole way, between two empty databases.

    :param databases: their URLs; their schemas are made here.
    :param folder: where the files go.
    """
    for url in databases:
        manage("recreate_db", "--yes", DATABASE_URL=url)
    rows, packed = folder / "rows.csv", folder / "rows.csv.gz"
    write_rows(rows, count)
    with open(rows, "rb") as source, gzip.open(packed, "wb", 1) as target:
        shutil.copyfileobj(source, target)
    first, again = folder / "first.csv", folder / "again.csv"

    with served_process(GUNICORN, DATABASE_URL=databases[0]) as (url, process):
        client = Client(url)
        report = client.send(packed)
        test.assertEqual((report["created"], report["rows"]), (count, []))
        look_around(test, client, count)
        client.fetch(first)
        report = client.send(first)
        test.assertEqual((report["skipped"], report["rows_omitted"]), (count, count - 10_000))
        test.assertLess(peak_memory(process.pid), MAX_MEMORY_MIB)
    manage("import_users", str(first), DATABASE_URL=databases[1])
    manage("export_users", str(again), DATABASE_URL=databases[1])

    with open(first, "rb") as one, open(again, "rb") as other:
        number = 0
        for number, (line, same) in enumerate(zip(one, other, strict=True)):
            if line != same:
                test.assertEqual(line, same, f"line {number + 1}")
        test.assertEqual(number, count)


def look_around(test: unittest.TestCase, client: Client, count: int) -> None:
    """List all users to the last page, and search among them."""
    last_id = 0
    for user in client.users("/users?limit=1000"):
        test.assertEqual(user["id"], last_id + 1)
        last_id = user["id"]
    test.assertEqual(last_id, count)
    middle = client.get(f"/users/{count // 2}")
    for query in [f"email={middle['email'].upper()}", f"q={quote(middle['email'])}"]:
        found = client.get(f"/users?{query}")["users"]
        test.assertEqual([user["id"] for user in found], [middle["id"]])
    newest = client.get("/users?sort=-email&limit=2")["users"]
    test.assertGreater(newest[0]["email"], newest[1]["email"])
    test.assertEqual(client.get("/users?limit=1&total=true")["total"], count)

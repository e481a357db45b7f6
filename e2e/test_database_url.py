"""Commands on MariaDB by URLs that are right, with TLS, and by such as are wrong."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from e2e.processes import ROOT, MariaDB


class DatabaseURLTests(unittest.TestCase):
    """What a command makes of DATABASE_URL, on a server that takes nothing without TLS."""

    folder: Path
    certificate: Path
    server: MariaDB
    place: str

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server, with a certificate for 127.0.0.1 that proves itself."""
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.certificate = cls.make_certificate("server", "IP:127.0.0.1")
        options = [f"--ssl-ca={cls.certificate}", f"--ssl-cert={cls.certificate}"]
        options += [f"--ssl-key={cls.folder / 'server.key'}"]
        cls.server = cls.enterClassContext(MariaDB(options))
        with cls.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER app@'%' IDENTIFIED BY 'password' REQUIRE SSL")
            cursor.execute("GRANT ALL ON users_test.* TO app@'%'")
        cls.place = cls.server.url.partition("@")[2]

    @classmethod
    def make_certificate(cls, name: str, subject: str) -> Path:
        """Return a new certificate, with its key beside it."""
        path = cls.folder / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
            + ["-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}"]
            + ["-keyout", str(path.with_suffix(".key")), "-out", str(path)],
            check=True,
            capture_output=True,
        )
        return path

    def migrate(self, url: str) -> "subprocess.CompletedProcess[str]":
        """Bring the schema up on the database of a URL."""
        return subprocess.run(
            [sys.executable, "manage.py", "db", "upgrade"],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_certificate_and_name_of_the_server_are_checked(self):
        other = self.make_certificate("other", "IP:127.0.0.1")
        stranger = self.place.replace("127.0.0.1", "localhost")
        own = f"ssl_ca={self.certificate}"
        for place, options, reason in [
            (self.place, own, None),
            (self.place, f"ssl_ca={other}", "CERTIFICATE_VERIFY_FAILED"),
            (stranger, own, "Hostname mismatch"),
            (stranger, f"{own}&ssl_check_hostname=false", None),
        ]:
            result = self.migrate(f"mysql://app:password@{place}?{options}")

            with self.subTest(place, options=options):
                if reason is None:
                    self.assertEqual(result.returncode, 0, result.stderr)
                else:
                    self.assert_one_line(result, reason)

    def test_wrong_places_and_accounts_are_one_line(self):
        account, tls = "mysql://app:password", f"ssl_ca={self.certificate}"
        for url, reason in [
            (f"mysql://app:wrong@{self.place}?{tls}", "Access denied for user 'app'"),
            (f"{account}@{self.place.replace('users_test', 'users')}?{tls}", "users"),
            (f"mysql://root@{self.place.replace('users_test', 'users')}", "Unknown database"),
            (f"{account}@127.0.0.1:1/users_test?{tls}", "Can't connect to MySQL server"),
            (f"{account}@{self.place.partition('/')[0]}", "it does not name a database"),
        ]:
            with self.subTest(url):
                self.assert_one_line(self.migrate(url), reason)

    def assert_one_line(self, result: "subprocess.CompletedProcess[str]", reason: str) -> None:
        """See that a command has failed, and says why in one line."""
        self.assertEqual(result.returncode, 1)
        self.assertIn(reason, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

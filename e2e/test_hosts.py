"""A cluster on three hosts, set up by the commands of docs/cluster.md: `make cluster-test`.

Each host is a Compose project with networks of its own. As between hosts, they reach one another by
published ports at their addresses only. Needs a Docker engine.
"""

import re
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster import NODES, ClusterTestCase
from e2e.processes import free_port
from e2e.stacks import Stack, copy_tracked_files, documented, run

NETWORK = "10.213"


class Host(Stack):
    """One of three hosts: its copy of the repository, and its Compose project.

    :ivar address: the gateway of its network, at which its ports are published.
    """

    def __init__(self, folder: Path, number: int) -> None:
        project, port = f"users-host{number}-test", free_port()
        super().__init__(
            folder,
            project,
            "docker-compose-host.yml",
            port,
            HTTP_PORT=str(port),
            ACCESS="open",
            WEB_CONCURRENCY="2",
        )
        self.number, self.address = number, f"{NETWORK}.{number}.1"
        copy_tracked_files(folder)
        file = folder / "docker-compose-host.yml"
        pool = f"  hosts:\n    ipam: {{config: [{{subnet: {NETWORK}.{number}.0/24}}]}}\n"
        file.write_text(file.read_text().replace("  hosts:\n", pool))

    def documented(self, words: str) -> str:
        """Run commands of docs/cluster.md on this host; return what they print."""
        script = documented(words, "cluster").replace("users-cluster", self.project)
        script = script.replace("NODE=1", f"NODE={self.number}")
        script = script.replace("ADDRESS=10.0.0.1", f"ADDRESS={self.address}")
        return self.shell(re.sub(r"=10\.0\.0\.(\d)", rf"={NETWORK}.\1.1", script))


class HostsTests(ClusterTestCase):
    """Three hosts for all tests; each test leaves them whole."""

    hosts: list[Host]

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="users-hosts-")))
        cls.hosts = [Host(folder / str(number), number) for number in (1, 2, 3)]
        cls.nodes = {node: (host, "db") for node, host in zip(NODES, cls.hosts, strict=True)}
        for host in cls.hosts:
            host.documented("ADDRESS=")
            cls.addClassCleanup(host.take_down)
            host.take_down()
        first, *others = cls.hosts
        first.documented("run --rm secrets")
        for host in others:
            shutil.copy(first.folder / "secrets.tar", host.folder)
            host.documented("create --build secrets")
        with ThreadPoolExecutor(3) as pool:
            starts = [
                pool.submit(host.documented, "docker-compose-host.yml up") for host in cls.hosts
            ]
        for start in starts:
            start.result()

    def test_what_one_host_saves_the_others_show(self):
        for number, host in enumerate(self.hosts):
            self.assertEqual(host.add("a", f"host{number}@example.com").status, 201)
            for each in self.hosts:
                self.assertIn(f"host{number}@example.com", each.emails())

    def test_three_migrations_at_once_are_one(self):
        for host in self.hosts:
            with self.subTest(host.number):
                logs = run("docker", "logs", host.containers("migrate")[0])
                self.assertNotIn("Traceback", logs)
                self.assertEqual(host.inspect()["migrate"]["State"]["ExitCode"], 0)

    def test_host_of_the_primary_cut_from_the_others_and_back(self):
        primary = self.hosts[NODES.index(self.primary())]
        other = next(host for host in self.hosts if host is not primary)
        network = f"{primary.project}_hosts"
        cut = [primary.containers(service)[0] for service in ("db", "group", "users-db")]
        with self.fault("host of the primary cut", other, 20):
            for container in cut:
                run("docker", "network", "disconnect", network, container)
            time.sleep(20)
            self.assertEqual(primary.add("a", "cut@example.com").status, 503)
            for container in cut:
                run("docker", "network", "connect", network, container)

        self.assertEqual(primary.add("a", "back@example.com").status, 201)
        self.assertNotIn("cut@example.com", other.emails())

    def test_planned_change_of_primary(self):
        node = next(each for each in NODES if each != self.primary())
        with self.fault("planned change of primary on three hosts", self.hosts[0], 5, set()):
            self.hosts[1].compose("exec", "-T", "group", "group.sh", "primary", node)

        self.assertEqual(self.primary(), node)

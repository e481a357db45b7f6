"""The stack with three database nodes, and what it does when parts of it go: `make cluster-test`.

Each fault is met under a polite load of six writers and a reader through nginx. No acknowledged
write may be lost, nothing may answer 500, and in the end all nodes have the same transactions. How
long no write was possible is printed, and bounded. Needs a Docker engine.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import NODES, NONE, REFUSALS, ClusterTestCase, Load
from e2e.processes import free_port, manage
from e2e.stacks import Stack, copy_tracked_files, documented, run, until

USERS_TO_MOVE = 200_000
A_MIGRATION = '''"""Make an index that the running code needs not."""

from alembic import op

revision, down_revision = "test", "{newest}"


def upgrade():
    op.create_index("ix_users_test", "users", ["username"])


def downgrade():
    op.drop_index("ix_users_test", "users")
'''
MESSAGE_BYTES = 10_485_760  # group_replication_communication_max_message_size


class ClusterTests(ClusterTestCase):
    """One stack for all faults; each test leaves it whole."""

    stack: Stack

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="users-cluster-")))
        copy_tracked_files(folder)
        port = free_port()
        made = Stack(
            folder,
            "users-cluster-test",
            "docker-compose-cluster.yml",
            port,
            HTTP_PORT=str(port),
            ACCESS="open",
        )
        cls.stack = cls.enterClassContext(made.running())
        cls.nodes = {node: (made, node) for node in NODES}

    @contextmanager
    def met(self, name: str, seconds: float, allowed: set[int] = REFUSALS) -> Iterator[Load]:
        """Let the block do something to the stack under load, as ``fault`` says."""
        with self.fault(name, self.stack, seconds, allowed) as load:
            yield load

    def documented(self, words: str, **names: str) -> str:
        """Run commands of docs/cluster.md, for other nodes; return what they print."""
        names = {"users-cluster": self.stack.project, **names}
        script = re.sub("|".join(names), lambda name: names[name[0]], documented(words, "cluster"))
        return self.stack.shell(script)

    def test_primary_killed_and_started_again(self):
        with self.met("primary killed", 15):
            primary = self.container(self.primary())
            run("docker", "kill", primary)
            time.sleep(10)
            run("docker", "start", primary)

    def test_primary_paused_and_resumed(self):
        with self.met("primary paused", 20):
            primary = self.container(self.primary())
            run("docker", "pause", primary)
            time.sleep(15)
            run("docker", "unpause", primary)

    def test_network_of_the_primary_cut_and_mended(self):
        with self.met("network of the primary cut", 20):
            node = self.primary()
            network = f"{self.stack.project}_database"
            run("docker", "network", "disconnect", network, self.container(node))
            time.sleep(20)
            run("docker", "network", "connect", "--alias", node, network, self.container(node))

    def test_primary_stopped_in_order(self):
        with self.met("primary stopped in order", 10):
            node = self.primary()
            self.stack.compose("stop", node)
            time.sleep(3)
            self.stack.compose("start", node)

    def test_planned_change_of_primary(self):
        primary = self.primary()
        node = next(each for each in NODES if each != primary)
        with self.met("planned change of primary", 5, NONE):
            self.documented("primary db3", db3=node)

        self.assertEqual(self.primary(), node)
        state = self.documented("group.sh state")
        self.assertIn(f"{primary} ONLINE\n", state)
        self.assertIn(f"primary: {node}\n", state)

    def test_rolling_restart_of_all_nodes(self):
        first, *others = sorted(NODES, key=lambda node: node != self.primary())
        with self.met("rolling restart", 5, NONE):
            self.documented("for node in db2 db3", db1=first, db2=others[0], db3=others[1])

        self.assertEqual(self.primary(), others[0])

    def test_quorum_lost_and_back(self):
        with self.met("quorum lost", 90):
            others = [self.container(node) for node in NODES if node != self.primary()]
            run("docker", "kill", *others)
            time.sleep(13)
            run("docker", "start", *others)

    def test_two_nodes_lost_for_good(self):
        survivor = self.primary()
        first, second = (node for node in NODES if node != survivor)
        with self.met("two nodes lost for good", 240):
            run("docker", "kill", self.container(first), self.container(second))
            self.documented("cluster stop group", db1=survivor)
            self.stack.compose("rm", "-sf", first)
            run("docker", "volume", "rm", f"{self.stack.project}_{first}")
            self.stack.compose("up", "-d", "--no-deps", "--wait", first)
            self.documented("cluster rm -sf db3", db3=second)

    def test_all_nodes_without_power(self):
        with self.met("all nodes without power", 90):
            nodes = [self.container(node) for node in NODES]
            run("docker", "kill", *nodes)
            time.sleep(2)
            run("docker", "start", *nodes)

    def test_volume_of_a_node_lost(self):
        with self.met("volume lost", 5):
            node = next(each for each in NODES if each != self.primary())
            self.documented("cluster rm -sf db3", db3=node)

    def test_haproxy_restarted(self):
        with self.met("HAProxy restarted", 10, NONE):
            self.stack.compose("restart", "users-db")

    def test_replica_of_the_service_killed(self):
        with self.met("replica of the service killed", 5):
            replica = self.stack.containers("users-service")[0]
            run("docker", "kill", replica)
            time.sleep(3)
            run("docker", "start", replica)

    def test_schema_changes_under_load(self):
        client = ["mysql", "--defaults-extra-file=/run/users/mysql_client.cnf", "-h", "127.0.0.1"]
        [newest] = re.findall(r"^(\w+) \(head\)", self.stack.manage("db", "current"), re.MULTILINE)
        migration = self.stack.folder / "9999_test.py"
        migration.write_text(A_MIGRATION.format(newest=newest))
        mount = f"{migration}:/app/migrations/versions/9999_test.py:ro"
        command = ["run", "--rm", "-T", "--no-deps", "-v", mount, "users-service"]
        command += ["python", "manage.py", "db"]
        with self.met("three migrations at once, and an index, under load", 5, NONE):
            node = self.primary()
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda _: self.stack.compose(*command, "upgrade"), range(3)))
            self.assertIn("test (head)", self.stack.compose(*command, "current"))
            self.stack.compose(*command, "downgrade", "-1")
            for change in ["CREATE INDEX unused ON users (username)", "DROP INDEX unused ON users"]:
                self.stack.compose("exec", "-T", node, *client, "-e", change, "users_prod")

        self.assertIn(f"{newest} (head)", self.stack.manage("db", "current"))

    def test_move_from_another_database(self):
        with tempfile.TemporaryDirectory() as folder:
            small = {"DATABASE_URL": f"sqlite:///{folder}/users.db"}
            manage("recreate_db", "--yes", **small)
            manage("seed_db", "--count", str(USERS_TO_MOVE), **small)
            backups = self.stack.folder / "backups"
            backups.mkdir()
            manage("backup", f"{backups}/move.backup", **small)
            os.chown(backups / "move.backup", 10001, 10001)
        node, started = self.primary(), time.monotonic()
        before = self.binary_log_bytes(node)

        self.addCleanup(self.stack.manage, "recreate_db", "--yes")
        self.stack.shell(documented("restore --yes", "cluster").splitlines()[-1])

        size = self.binary_log_bytes(node) - before
        print(
            f"restore of {USERS_TO_MOVE:,} users, {size / 1e6:.0f} MB:"
            f" {time.monotonic() - started:.0f} s",
            file=sys.stderr,
        )
        self.assertGreater(size, 3 * MESSAGE_BYTES)
        self.assertEqual(self.ask(node, "SELECT @@group_replication_transaction_size_limit"), "0")
        until(self.is_whole, 300, 1)
        until(self.same_transactions, 300, 1)
        for each in NODES:
            client = ["mysql", "--defaults-extra-file=/run/users/mysql_client.cnf", "-NB", "-e"]
            count = "SELECT COUNT(*) FROM users_prod.users"
            counted = self.stack.compose("exec", "-T", each, *client, count)
            self.assertEqual(counted.strip(), str(USERS_TO_MOVE))

    def test_lists_are_read_from_secondaries_when_that_is_set(self):
        asked = "SELECT COUNT(*) FROM performance_schema.threads WHERE processlist_user = 'users'"
        secondaries = [node for node in NODES if node != self.primary()]
        self.assertEqual([self.ask(node, asked) for node in secondaries], ["0", "0"])
        self.stack.environment["READ_DATABASE_URL_FILE"] = "/run/users/read_database_url"
        self.addCleanup(self.stack.up, "--no-deps", "users-service")
        self.addCleanup(self.stack.environment.pop, "READ_DATABASE_URL_FILE")
        self.stack.up("--no-deps", "users-service")
        # nginx meets the former replicas until it asks for their addresses anew.
        until(lambda: all(self.stack.get("/ping").status == 200 for _ in range(20)))

        with self.met("lists read from secondaries, and one of them killed", 5, NONE):
            until(lambda: sum(int(self.ask(node, asked)) for node in secondaries))
            secondary = self.container(secondaries[0])
            run("docker", "kill", secondary)
            time.sleep(3)
            run("docker", "start", secondary)

    def binary_log_bytes(self, node: str) -> int:
        """Return the size of all transactions that a node has logged."""
        listing = self.stack.compose(
            "exec", "-T", node, "sh", "-c", "cat /var/lib/mysql/binlog.0* | wc -c"
        )
        return int(listing)

    def test_containers_are_hardened_and_only_nginx_publishes(self):
        found = json.loads(run("docker", "inspect", *self.stack.containers()))
        for one in found:
            service = one["Config"]["Labels"]["com.docker.compose.service"]
            with self.subTest(service):
                host = one["HostConfig"]
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertEqual(host["CapDrop"], ["ALL"])
                self.assertIn("no-new-privileges:true", host["SecurityOpt"])
                self.assertEqual(bool(host["PortBindings"]), service == "nginx")

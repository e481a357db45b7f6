"""The stack with three database nodes, and what it does when parts of it go.

Each fault is met under a polite load of six writers and a reader through nginx. No acknowledged
write may be lost, nothing may answer 500, and in the end all nodes have the same transactions. How
long no write was possible is printed, and bounded.
"""

import json
import re
import sys
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from e2e.processes import free_port
from e2e.stacks import Stack, copy_tracked_files, run, until

NODES = ("db1", "db2", "db3")
WRITERS = 6
PAUSE_SECONDS = 0.1
REFUSALS = {429, 502, 503, 504}
"""What may answer instead: nobody, or somebody who says that it cannot be done now."""

_numbers = count(1)


class Load:
    """Writers and a reader until the block ends; each write has a key and is sent once.

    :ivar written: the emails of acknowledged users, each with the time of its answer.
    :ivar statuses: how often each status came; 0 stands for no answer.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.written: list[tuple[float, str]] = []
        self.statuses: Counter[int] = Counter()
        self._is_over = Event()

    def __enter__(self) -> "Load":
        self._threads = [Thread(target=self._repeat, args=[self._write]) for _ in range(WRITERS)]
        self._threads.append(Thread(target=self._repeat, args=[self._read]))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, send: Any) -> None:
        while not self._is_over.wait(PAUSE_SECONDS):
            try:
                self.statuses[send()] += 1
            except OSError:
                self.statuses[0] += 1

    def _write(self) -> int:
        email = f"u{next(_numbers)}@example.com"
        answer = self.stack.request(
            "POST", "/users", {"username": "u", "email": email}, 30, Idempotency_Key=uuid4().hex
        )
        if answer.status == 201:
            self.written.append((time.monotonic(), email))
        return answer.status

    def _read(self) -> int:
        return self.stack.get("/users?limit=5").status

    def wait_for(self, writes: int) -> None:
        """Wait until so many more users are acknowledged."""
        goal = len(self.written) + writes
        until(lambda: len(self.written) >= goal, 120)

    def longest_gap(self) -> float:
        """Return the longest time without an acknowledged write, in seconds."""
        times = sorted(moment for moment, _ in self.written)
        return max(after - before for before, after in zip(times, times[1:], strict=False))


class ClusterTests(unittest.TestCase):
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

    def ask(self, node: str, sql: str) -> str:
        """Return what a node answers."""
        client = ["mysql", "--defaults-extra-file=/run/users/group.cnf", "-h", "127.0.0.1", "-NBe"]
        return self.stack.compose("exec", "-T", node, *client, sql).strip()

    def primary(self) -> str:
        """Return the node that takes writes."""
        for node in NODES:
            try:
                found = self.ask(
                    node,
                    "SELECT member_host FROM performance_schema.replication_group_members"
                    " WHERE member_role = 'PRIMARY' AND member_state = 'ONLINE'",
                )
            except AssertionError:
                continue
            if found:
                return found
        raise AssertionError("no primary")

    def container(self, service: str) -> str:
        """Return the id of a service's first container."""
        return self.stack.containers(service)[0]

    def is_whole(self) -> bool:
        """Return whether all nodes are in the group."""
        online = "SELECT COUNT(*) FROM performance_schema.replication_group_members"
        try:
            counts = [self.ask(node, f"{online} WHERE member_state = 'ONLINE'") for node in NODES]
        except AssertionError:
            return False
        return counts == ["3"] * len(NODES)

    @contextmanager
    def fault(self, name: str, seconds: float, allowed: set[int] = REFUSALS) -> Iterator[Load]:
        """Let the block do something to a stack under load; then check that nothing was lost.

        :param seconds: the bound on the time without writes.
        :param allowed: the refusals that clients may get meanwhile.
        """
        until(self.is_whole, 120, 1)
        with Load(self.stack) as load:
            load.wait_for(100)
            yield load
            load.wait_for(100)
            until(self.is_whole, 120, 1)
            load.wait_for(20)
        gap, refused = load.longest_gap(), {s: n for s, n in load.statuses.items() if s >= 400}
        print(
            f"{name}: {gap:.1f} s without writes,"
            f" {sum(refused.values())} of {sum(load.statuses.values())} requests refused {refused}",
            file=sys.stderr,
        )
        self.assertLessEqual(set(refused), allowed)
        self.assertEqual(load.statuses[0], 0)
        stored = set(self.stack.emails())
        self.assertEqual([email for _, email in load.written if email not in stored], [])
        self.assertLess(gap, seconds)
        until(self.same_transactions, 30, 1)

    def same_transactions(self) -> str:
        """Return the transactions of all nodes if they are the same; else nothing."""
        sets = {re.sub(r"\s", "", self.ask(node, "SELECT @@gtid_executed")) for node in NODES}
        return sets.pop() if len(sets) == 1 else ""

    def test_primary_killed_and_started_again(self):
        with self.fault("primary killed", 15):
            primary = self.container(self.primary())
            run("docker", "kill", primary)
            time.sleep(10)
            run("docker", "start", primary)

    def test_primary_paused_and_resumed(self):
        with self.fault("primary paused", 20):
            primary = self.container(self.primary())
            run("docker", "pause", primary)
            time.sleep(15)
            run("docker", "unpause", primary)

    def test_network_of_the_primary_cut_and_mended(self):
        with self.fault("network of the primary cut", 20):
            node = self.primary()
            network = f"{self.stack.project}_database"
            run("docker", "network", "disconnect", network, self.container(node))
            time.sleep(20)
            run("docker", "network", "connect", "--alias", node, network, self.container(node))

    def test_primary_stopped_in_order(self):
        with self.fault("primary stopped in order", 10):
            node = self.primary()
            self.stack.compose("stop", node)
            time.sleep(3)
            self.stack.compose("start", node)

    def test_planned_change_of_primary(self):
        with self.fault("planned change of primary", 5):
            node = next(each for each in NODES if each != self.primary())
            server = self.ask(node, "SELECT @@server_uuid")
            self.ask(node, f"SELECT group_replication_set_as_primary('{server}')")

        self.assertEqual(self.primary(), node)

    def test_rolling_restart_of_all_nodes(self):
        with self.fault("rolling restart", 10):
            primary = self.primary()
            for node in [*(each for each in NODES if each != primary), primary]:
                self.stack.compose("restart", node)
                until(self.is_whole, 120, 1)

    def test_quorum_lost_and_back(self):
        with self.fault("quorum lost", 90):
            others = [self.container(node) for node in NODES if node != self.primary()]
            run("docker", "kill", *others)
            time.sleep(13)
            run("docker", "start", *others)

    def test_all_nodes_without_power(self):
        with self.fault("all nodes without power", 90):
            nodes = [self.container(node) for node in NODES]
            run("docker", "kill", *nodes)
            time.sleep(2)
            run("docker", "start", *nodes)

    def test_volume_of_a_node_lost(self):
        with self.fault("volume lost", 5):
            node = next(each for each in NODES if each != self.primary())
            self.stack.compose("rm", "-sf", node)
            run("docker", "volume", "rm", f"{self.stack.project}_{node}")
            self.stack.compose("up", "-d", "--no-deps", node)

    def test_haproxy_restarted(self):
        with self.fault("HAProxy restarted", 10):
            self.stack.compose("restart", "users-db")

    def test_replica_of_the_service_killed(self):
        with self.fault("replica of the service killed", 5):
            replica = self.container("users-service")
            run("docker", "kill", replica)
            time.sleep(3)
            run("docker", "start", replica)

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

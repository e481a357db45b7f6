"""The load under which a cluster meets a fault, and what must be true afterwards."""

import re
import sys
import time
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from e2e.stacks import Answer, Site, Stack, until

NODES = ("db1", "db2", "db3")
WRITERS = 6
PAUSE_SECONDS = 0.1
REFUSALS = {502, 503, 504}
"""What may answer instead: nobody, or somebody who says that it cannot be done now."""

NONE: set[int] = set()

_numbers = count(1)


class Load:
    """Writers and a reader until the block ends; each write has a key and is sent once.

    :ivar written: the emails of acknowledged users, each with the time of its answer.
    :ivar statuses: how often each status came; 0 stands for no answer.
    :ivar refusals: how often each refusal came, with its message.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.written: list[tuple[float, str]] = []
        self.statuses: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
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
                answer = send()
                self.statuses[answer.status] += 1
                if answer.status >= 400:
                    self.refusals[f"{answer.status} {answer.json['message']}"] += 1
            except OSError:
                self.statuses[0] += 1

    def _write(self) -> Answer:
        email = f"u{next(_numbers)}@example.com"
        answer = self.site.request(
            "POST", "/users", {"username": "u", "email": email}, 60, Idempotency_Key=uuid4().hex
        )
        if answer.status == 201:
            self.written.append((time.monotonic(), email))
        return answer

    def _read(self) -> Answer:
        return self.site.get("/users?limit=5")

    def wait_for(self, writes: int) -> None:
        """Wait until so many more users are acknowledged."""
        goal = len(self.written) + writes
        until(lambda: len(self.written) >= goal, 120)

    def longest_gap(self) -> float:
        """Return the longest time without an acknowledged write, in seconds."""
        times = sorted(moment for moment, _ in self.written)
        return max(after - before for before, after in zip(times, times[1:], strict=False))


class ClusterTestCase(unittest.TestCase):
    """A group of three nodes; each test leaves it whole.

    :ivar nodes: the stack and the service of each.
    """

    nodes: dict[str, tuple[Stack, str]]

    def setUp(self) -> None:
        until(self.is_whole, 300, 1)

    def ask(self, node: str, sql: str) -> str:
        """Return what a node answers."""
        stack, service = self.nodes[node]
        client = ["mysql", "--defaults-extra-file=/run/users/group.cnf", "-h", "127.0.0.1", "-NBe"]
        return stack.compose("exec", "-T", service, *client, sql).strip()

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

    def container(self, node: str) -> str:
        """Return the id of a node's container."""
        stack, service = self.nodes[node]
        return stack.containers(service)[0]

    def is_whole(self) -> bool:
        """Return whether all nodes are in the group."""
        online = "SELECT COUNT(*) FROM performance_schema.replication_group_members"
        try:
            counts = [self.ask(node, f"{online} WHERE member_state = 'ONLINE'") for node in NODES]
        except AssertionError:
            return False
        return counts == ["3"] * len(NODES)

    @contextmanager
    def fault(
        self, name: str, site: Stack, seconds: float, allowed: set[int] = REFUSALS
    ) -> Iterator[Load]:
        """Let the block do something to a cluster under load; then check that nothing was lost.

        :param site: the stack that gets the load.
        :param seconds: the bound on the time without writes.
        :param allowed: the refusals that clients may get meanwhile.
        """
        with Load(site) as load:
            load.wait_for(100)
            yield load
            try:
                load.wait_for(100)
                until(self.is_whole, 120, 1)
            except AssertionError as error:
                error.add_note(site.compose("logs", "--tail", "40", "group"))
                raise
            load.wait_for(20)
        gap, refusals = load.longest_gap(), load.refusals
        print(
            f"{name}: {gap:.1f} s without writes, {refusals.total()} of {load.statuses.total()}"
            f" requests refused {dict(refusals)}",
            file=sys.stderr,
        )
        self.assertLessEqual({status for status in load.statuses if status >= 400}, allowed)
        self.assertEqual(load.statuses[0], 0)
        stored = set(site.emails())
        self.assertEqual([email for _, email in load.written if email not in stored], [])
        self.assertLess(gap, seconds)
        until(self.same_transactions, 30, 1)

    def same_transactions(self) -> str:
        """Return the transactions of all nodes if they are the same; else nothing."""
        sets = {re.sub(r"\s", "", self.ask(node, "SELECT @@gtid_executed")) for node in NODES}
        return sets.pop() if len(sets) == 1 else ""

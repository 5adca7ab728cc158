"""Memory and SQLite against a model of thirty lines: a multiset with leases, places and keys.

After every step the driver must hand out exactly what the model does, in the same order.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasuki.contracts.driver import Ack, Driver, Nack, Outgoing, QueueSpec, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import DriverError, QueueFullError
from tasuki.testing.clock import FakeClock
from tests.support.settings import parsed

LEASE = 10.0
T = TypeVar("T")


@dataclass
class Item:
    number: int
    outgoing: Outgoing
    due: float
    failures: int = 0
    receipt: Any = None
    """Of its last delivery, until that is settled."""
    is_held: bool = False
    until: float = 0.0
    is_started: bool = False
    is_suspect: bool = False


class Model:
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.spec = QueueSpec("q", lease=LEASE)

    def held(self) -> list[Item]:
        return [item for item in self.items if item.is_held]

    def delivered(self, receipt: Any) -> Item | None:
        """What this receipt settles: also after the lease, as long as the message was not handed out again."""
        return next((item for item in self.items if item.receipt is not None and item.receipt == receipt), None)

    def receivable(self, now: float) -> list[Item]:
        ready = [item for item in self.items if not item.is_held and item.due <= now and self.is_front(item)]
        return sorted(ready, key=lambda item: (-item.outgoing.priority, item.number))

    def is_front(self, item: Item) -> bool:
        key = item.outgoing.key
        if self.spec.ordering == "none" or key is None:
            return True
        line = [other for other in self.items if other.outgoing.key == key]
        return line[0] is item and not any(other.is_held for other in line)

    def hand_out(self, item: Item) -> None:
        item.is_held, item.is_started = True, False

    def nack(self, item: Item, due: float = 0.0) -> None:
        item.failures += not item.is_started
        item.is_suspect = False
        self._put_back(item, due)

    def release(self, item: Item, due: float = 0.0) -> None:
        item.failures -= item.is_started
        self._put_back(item, due)

    def lose(self, item: Item) -> None:
        """Its delivery ended without a settlement."""
        item.is_held, item.is_suspect, item.due = False, True, 0.0

    def start(self, item: Item) -> None:
        item.failures += not item.is_started
        item.is_started = True

    def expire(self, now: float) -> None:
        for item in self.held():
            if item.until <= now:
                self.lose(item)

    def _put_back(self, item: Item, due: float = 0.0) -> None:
        item.is_held, item.receipt, item.is_started, item.due = False, None, False, due


outgoing = st.builds(
    lambda delay, priority, key: ("", delay, priority, key),
    st.sampled_from([0.0, 0.0, 0.0, 4.0, 15.0]),
    st.sampled_from([0, 0, 0, 1, 9]),
    st.sampled_from([None, None, "a", "b"]),
)


class DriverMachine(RuleBasedStateMachine):
    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.count = 0
        self.old: list[Any] = []

    def make_driver(self) -> Driver:
        return MemoryDriver("memory", clock=self.clock)

    def run(self, verb: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(verb)

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def settle_clock(self) -> None:
        if self.driver.capabilities.has("leases"):
            self.model.expire(self.now)

    @initialize()
    def start(self) -> None:
        self.driver = self.make_driver()
        self.run(self.driver.open())
        self.run(self.driver.declare(self.model.spec))

    @rule(parts=st.lists(outgoing, min_size=1, max_size=4))
    def publish(self, parts: list[Any]) -> None:
        batch = []
        for _, delay, priority, key in parts:
            self.count += 1
            batch.append(Outgoing(f"{self.count}", b"%d" % self.count, {"n": self.count}, delay, priority, key))
        most = self.model.spec.max_length
        room = len(batch) if most is None else max(most - len(self.model.items), 0)
        try:
            results = list(self.run(self.driver.publish("q", batch))) or [None] * len(batch)
        except DriverError as error:
            results = [error] * len(batch)
        assert [type(result) for result in results] == [
            type(None) if number < room else QueueFullError for number in range(len(batch))
        ]
        for message in batch[:room]:
            due = self.now + message.delay if message.delay else 0.0
            self.model.items.append(Item(int(message.id), message, due))
        self.settle_clock()

    @rule(limit=st.integers(1, 5))
    def receive(self, limit: int) -> None:
        self.settle_clock()
        expected: list[Item] = []
        for _ in range(limit):
            if first := self.model.receivable(self.now)[:1]:
                expected += first
                self.model.hand_out(first[0])
        got = self.run(self.driver.receive("q", limit, 0.0))
        assert [(item.id, item.attempt, item.suspect) for item in got] == [
            (item.outgoing.id, item.failures + 1, item.is_suspect) for item in expected
        ]
        for item, received in zip(expected, got, strict=True):
            assert (received.body, received.headers) == (item.outgoing.body, item.outgoing.headers)
            item.receipt, item.until = received.receipt, self.now + LEASE
            self.old.append(received.receipt)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        receipts = data.draw(st.lists(st.sampled_from(self.old), min_size=1, max_size=4))
        batch: list[Settlement] = []
        stale: list[Any] = []
        for receipt in receipts:
            kind = data.draw(st.sampled_from(["ack", "ack", "nack", "later", "release", "snooze"]))
            delay = 6.0 if kind in ("later", "snooze") else 0.0
            item = self.model.delivered(receipt)
            if item is None:
                stale.append(receipt)
            if kind == "ack":
                batch.append(Ack(receipt))
                self.model.items = [other for other in self.model.items if other is not item]
            elif kind in ("release", "snooze"):
                batch.append(Release(receipt, delay))
                if item:
                    self.model.release(item, self.now + delay if delay else 0.0)
            else:
                batch.append(Nack(receipt, delay))
                if item:
                    self.model.nack(item, self.now + delay if delay else 0.0)
        assert sorted(self.run(self.driver.settle("q", batch))) == sorted(stale)
        self.settle_clock()

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        receipt = data.draw(st.sampled_from(self.old))
        item = self.model.delivered(receipt)
        if item is not None and not item.is_held:
            return  # past its lease: whether it can still be recorded is the driver's choice
        assert list(self.run(self.driver.start("q", [receipt]))) == ([] if item else [receipt])
        if item:
            self.model.start(item)

    @precondition(lambda self: self.old)
    @rule(data=st.data(), lease=st.sampled_from([3.0, LEASE, 30.0]))
    def extend(self, data: st.DataObject, lease: float) -> None:
        receipt = data.draw(st.sampled_from(self.old))
        item = self.model.delivered(receipt)
        if item is not None and not item.is_held:
            return  # past its lease: whether it can be had back is the driver's choice
        assert list(self.run(self.driver.extend("q", [receipt], lease))) == ([] if item else [receipt])
        if item:
            item.until = self.now + lease
        self.settle_clock()

    @rule(seconds=st.sampled_from([1.0, 5.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(ordering=st.sampled_from(["none", "key"]), most=st.sampled_from([None, None, 3, 8]))
    def declare(self, ordering: Any, most: int | None) -> None:
        self.model.spec = QueueSpec("q", lease=LEASE, ordering=ordering, max_length=most)
        self.run(self.driver.declare(self.model.spec))
        self.settle_clock()

    @rule()
    def purge(self) -> None:
        self.settle_clock()
        held = self.model.held()
        assert self.run(self.driver.purge("q")) == len(self.model.items) - len(held)
        self.model.items = held

    @rule()
    def reopen(self) -> None:
        self.run(self.driver.close())
        self.run(self.driver.open())
        # Whether a receipt past its lease is still good after that is the driver's choice.
        late = {item.receipt for item in self.model.items if not item.is_held}
        self.old = [receipt for receipt in self.old if receipt not in late]
        for item in self.model.items:
            item.receipt = None
        for item in self.model.held():
            self.model.lose(item)

    @rule(limit=st.integers(1, 4), after=st.integers(0, 4))
    def peek(self, limit: int, after: int) -> None:
        self.settle_clock()
        waiting = [item for item in self.model.items if not item.is_held]
        shown = self.run(self.driver.peek("q", 100))
        assert sorted(message.id for message in shown) == sorted(item.outgoing.id for item in waiting)
        receivable = [item.outgoing.id for item in self.model.receivable(self.now)]
        assert [message.id for message in shown][: len(receivable)] == receivable
        assert list(self.run(self.driver.peek("q", limit, after))) == list(shown[after : after + limit])

    @invariant()
    def depth(self) -> None:
        if not hasattr(self, "driver"):
            return
        self.settle_clock()
        held = len(self.model.held())
        delayed = sum(item.due > self.now and not item.is_held for item in self.model.items)
        depth = self.run(self.driver.depth("q"))
        assert (depth.ready, depth.in_flight, depth.delayed) == (len(self.model.items) - held - delayed, held, delayed)
        assert (depth.oldest_age is None) == (not self.model.receivable(self.now))

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.run(self.driver.close())
        self.runner.close()


class SQLiteMachine(DriverMachine):
    def make_driver(self) -> Driver:
        self.folder = tempfile.TemporaryDirectory(prefix="tasuki-")
        path = Path(self.folder.name) / "queue.db"
        return SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path, synchronous="normal"), self.clock)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


slow = [HealthCheck.too_slow]
TestMemoryModel = DriverMachine.TestCase
TestMemoryModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=slow)
TestSQLiteModel = SQLiteMachine.TestCase
TestSQLiteModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=slow)

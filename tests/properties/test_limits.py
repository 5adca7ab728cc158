"""Limits and lanes of the memory driver against a model, among all else that can happen to a queue.

The model knows what may be handed out, and not whose turn it is. It counts messages owed; the driver keeps a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sized
from dataclasses import dataclass, field
from itertools import combinations
from sys import maxsize
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasuki.contracts.driver import Ack, Driver, Limit, Nack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.testing.clock import FakeClock

T = TypeVar("T")
NEAR = 1e-6
LEASE = 1e6
"""Seconds; none ends, where there are leases."""

limits = st.sampled_from(
    [None, None, Limit(0.5, 3), Limit(0.01, 2), Limit(0.02, 4), Limit(concurrency=1), Limit(0.2, 4, 3)]
)
rarely = st.integers(0, 5).map(lambda number: number == 0)
specs = st.builds(
    lambda limit, lane_limit, fair, ordering: QueueSpec(
        "q", lease=LEASE, limit=limit, lane_limit=lane_limit if fair else None, fair=fair, ordering=ordering
    ),
    limits,
    limits,
    st.sampled_from([0, 1, 1, 3]),
    st.sampled_from(["none", "none", "key"]),
)
parts = st.tuples(
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from([None, "k", "l"]),
    st.sampled_from([0, 0, 9]),
    st.sampled_from([0.0, 0.0, 0.0, 4.0]),
)


@dataclass
class Item:
    number: int
    lane: str
    key: str | None
    priority: int
    due: float
    receipt: Any = None


@dataclass
class Owed:
    """How many messages were handed out that the rate has not made up for, and each of them: +1, and -1 back."""

    limit: Limit
    messages: float = 0.0
    at: float = 0.0
    history: list[tuple[float, int]] = field(default_factory=list)

    def now(self, now: float) -> float:
        self.messages = max(self.messages - (now - self.at) * (self.limit.rate or 0.0), 0.0)
        self.at = now
        return self.messages

    def room(self, now: float, held: int) -> int:
        places = maxsize if self.limit.concurrency is None else max(self.limit.concurrency - held, 0)
        if self.limit.rate is None:
            return places
        return max(min(places, int(self.limit.burst - self.now(now) + NEAR)), 0)

    def add(self, now: float, number: int) -> None:
        if self.limit.rate is not None:
            self.messages = max(self.now(now) + number, 0.0)
            self.history.append((now, number))
            if number > 0:
                self._check()

    def change(self, limit: Limit, now: float) -> None:
        self.now(now)
        if limit.rate is None or self.limit.rate is None:
            self.messages = 0.0
        if limit != self.limit:
            self.history = [(now, 1)] * int(self.messages)  # they count as handed out just now
        self.limit = limit

    def _check(self) -> None:
        """I2: no window has more than the burst and what came meanwhile."""
        total, (end, _) = 0, self.history[-1]
        for at, number in reversed(self.history):
            total += number
            most = self.limit.burst + (self.limit.rate or 0.0) * (end - at)
            assert total <= most + NEAR, f"{total} in {end - at} s: {self.history}"


class LimitMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.driver = self.make_driver()
        self.spec = QueueSpec("q", lease=LEASE)
        self.items: list[Item] = []
        self.count = 0
        self.all = Owed(Limit())
        self.lanes: dict[str, Owed] = {}
        self.ahead: dict[tuple[str, str], int] = {}
        """By how many messages the first of two lanes was given more, since when both could give some."""

    def make_driver(self) -> Driver:
        return MemoryDriver("memory", clock=self.clock)

    def left_behind(self) -> Sized:
        """The lanes that the driver still knows; nothing is stored and nothing is owed."""
        assert isinstance(self.driver, MemoryDriver)
        return self.driver._queues["q"].lanes or ()

    def run(self, verb: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(verb)

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def held(self) -> list[Item]:
        return [item for item in self.items if item.receipt is not None]

    def lane_of(self, item: Item) -> str:
        if not self.spec.fair:
            return ""
        return (item.key or "") if self.spec.ordering == "key" else item.lane

    def owed(self, lane: str) -> Owed:
        if not self.spec.fair:
            return Owed(Limit())
        if lane not in self.lanes:
            self.lanes[lane] = Owed(self.spec.lane_limit or Limit(), at=self.now)
        return self.lanes[lane]

    def receivable(self, lane: str) -> list[Item]:
        """What a lane could give, in order, if there were no limit."""
        ready = [
            item
            for item in self.items
            if item.receipt is None and item.due <= self.now and self.lane_of(item) == lane and self.is_front(item)
        ]
        return sorted(ready, key=lambda item: (-item.priority, item.number))

    def is_front(self, item: Item) -> bool:
        if self.spec.ordering == "none" or item.key is None:
            return True
        line = [other for other in self.items if other.key == item.key]
        return line[0] is item and not any(other.receipt is not None for other in line)

    def able(self) -> dict[str, int]:
        """How many messages each lane could give now, beside all others."""
        held = Counter(map(self.lane_of, self.held()))
        found = {lane: len(self.receivable(lane)) for lane in set(map(self.lane_of, self.items))}
        able = {lane: min(number, self.owed(lane).room(self.now, held[lane])) for lane, number in found.items()}
        return {lane: number for lane, number in able.items() if number}

    def compare(self, given: Iterable[str]) -> None:
        """I3: two lanes that could give messages all the time were given about as many."""
        counts, able = Counter(given), self.able()
        pairs = list(combinations(sorted(able), 2))
        self.ahead = {pair: self.ahead.get(pair, 0) + counts[pair[0]] - counts[pair[1]] for pair in pairs}
        for pair, ahead in self.ahead.items():
            assert abs(ahead) <= 2 * self.spec.fair, f"{pair}: {ahead} ahead, with a turn of {self.spec.fair}"

    @initialize(spec=specs)
    def start(self, spec: QueueSpec) -> None:
        self.run(self.driver.open())
        self.run(self.driver.declare(self.spec))
        self.declare(spec)

    @rule(parts=st.lists(parts, min_size=1, max_size=2) | st.lists(parts, min_size=1, max_size=9))
    def publish(self, parts: list[tuple[str, str | None, int, float]]) -> None:
        batch: list[Outgoing] = []
        for lane, key, priority, delay in parts:
            self.count += 1
            batch.append(Outgoing(f"{self.count}", b"", {}, delay, priority, key, lane=lane))
            due = self.now + delay if delay else 0.0
            self.items.append(Item(self.count, lane if self.spec.fair else "", key, priority, due))
        assert list(self.run(self.driver.publish("q", batch))) == []
        self.compare(())

    @rule(limit=st.integers(1, 6))
    def receive(self, limit: int) -> None:
        self.compare(())
        able, held = self.able(), self.held()
        room = self.all.room(self.now, len(held))
        got = self.run(self.driver.receive("q", limit, 0.0))
        # I1 and I4: neither more than the limits allow, nor less.
        assert len(got) == min(limit, room, sum(able.values())), f"{[each.id for each in got]} of {able}"
        lanes = self._take(got)
        for lane, number in Counter(lanes).items():
            assert number <= able[lane], f"{number} of lane {lane!r}, {able}"
            self.owed(lane).add(self.now, number)
        self.all.add(self.now, len(got))
        self.compare(lanes)

    def _take(self, got: list[Received]) -> list[str]:
        """Hold these messages in the model; the lanes of them. Within a lane they come in order."""
        lanes = []
        for received in got:
            item = next(item for item in self.items if f"{item.number}" == received.id)
            lane = self.lane_of(item)
            assert self.receivable(lane)[:1] == [item], f"{received.id} is not the next one of its lane"
            item.receipt = received.receipt
            lanes.append(lane)
        return lanes

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.held()), min_size=1, max_size=4, unique_by=id))
        batch: list[Settlement] = []
        for item in chosen:
            kind = data.draw(st.sampled_from([Ack, Ack, Nack, Release]))
            delay = data.draw(st.sampled_from([0.0, 0.0, 3.0])) if kind is not Ack else 0.0
            batch.append(Ack(item.receipt) if kind is Ack else kind(item.receipt, delay))
            item.receipt, item.due = None, self.now + delay if delay else 0.0
            if kind is Ack:
                self.items.remove(item)
            if kind is Release and not delay:
                self.owed(self.lane_of(item)).add(self.now, -1)
                self.all.add(self.now, -1)
        assert list(self.run(self.driver.settle("q", batch))) == []
        self.compare(())

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0]), is_long=rarely)
    def wait(self, seconds: float, is_long: bool) -> None:
        self.clock.advance(100.0 if is_long else seconds)
        self.compare(())

    @rule(spec=specs, acts=st.sampled_from([True, False, False]))
    def change(self, spec: QueueSpec, acts: bool) -> None:
        if acts:
            self.declare(spec)

    def declare(self, spec: QueueSpec) -> None:
        self.run(self.driver.declare(spec))
        if (spec.fair > 0, spec.ordering) != (self.spec.fair > 0, self.spec.ordering):
            self.lanes = self.lanes if spec.fair and self.spec.fair else {}
        for owed in self.lanes.values():
            owed.change(spec.lane_limit or Limit(), self.now)
        self.all.change(spec.limit or Limit(), self.now)
        self.spec = spec
        self.ahead = {}
        self.compare(())

    @rule(acts=rarely)
    def purge(self, acts: bool) -> None:
        if not acts:
            return
        held = self.held()
        assert self.run(self.driver.purge("q")) == len(self.items) - len(held)
        self.items = held
        self.compare(())

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        waiting = [item for item in self.items if item.receipt is None]
        gone = data.draw(st.lists(st.sampled_from(waiting), max_size=2, unique_by=id)) if waiting else []
        assert self.run(self.driver.remove("q", [f"{item.number}" for item in gone])) == len(gone)
        self.items = [item for item in self.items if all(item is not each for each in gone)]
        self.compare(())

    @rule(acts=rarely)
    def reopen(self, acts: bool) -> None:
        if not acts:
            return
        self.run(self.driver.close())
        self.run(self.driver.open())
        for item in self.held():
            item.receipt, item.due = None, 0.0
        self.compare(())

    @invariant()
    def counts(self) -> None:
        if not self.items and not self.count:
            return
        depth = self.run(self.driver.depth("q"))
        held, delayed = len(self.held()), sum(item.due > self.now and item.receipt is None for item in self.items)
        assert (depth.ready, depth.in_flight, depth.delayed) == (len(self.items) - held - delayed, held, delayed)

    def teardown(self) -> None:
        """I4 and I5: with time enough all messages come, and then nothing is left."""
        handled = 0
        for item in self.held():
            self.run(self.driver.settle("q", [Nack(item.receipt)]))
        while self.items and handled < len(self.items):
            got = self.run(self.driver.receive("q", 5, 0.0))
            self.run(self.driver.settle("q", [Ack(each.receipt) for each in got]))
            handled += len(got)
            self.clock.advance(0.0 if got else 10.0)
            assert self.now < 100_000, f"{len(self.items) - handled} messages never come"
        self.clock.advance(1000.0)
        if self.count:
            assert self.run(self.driver.receive("q", 5, 0.0)) == []
            assert not self.left_behind(), "an empty lane that owes nothing is still there"
        self.run(self.driver.close())
        self.runner.close()


TestLimits = LimitMachine.TestCase
TestLimits.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

"""What a limited queue may hand out, and in which turns, by the words of the contract; a driver is held to it.

The model counts messages owed; drivers keep a time. It knows what may be handed out, and bounds whose turn it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import combinations
from sys import maxsize
from types import MappingProxyType
from typing import Any, TypeVar

from tasuki.contracts.driver import Ack, Driver, Limit, Nack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.testing.clock import FakeClock

T = TypeVar("T")
NEAR = 1e-6
LEASE = 1e6
"""Seconds; none ends, where there are leases."""
Parts = tuple[str, str | None, int, float]
"""Of a message: lane, key, priority, delay."""
Kind = type[Ack] | type[Nack] | type[Release]
Ending = tuple[Kind, "Item", float]
"""A settlement of a held message, with its delay."""


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


@dataclass
class Turn:
    """A lane that could give a message all the time, and waits for its turn."""

    others: Counter[str] = field(default_factory=Counter)
    """How many messages each other lane has given meanwhile."""
    behind: set[str] = field(default_factory=set)
    """Lanes that have come to life since: each goes behind this one."""
    is_seen: bool = False
    """A receive has passed it over."""


class LimitModel:
    """A driver with one queue, and what the contract lets it do."""

    def __init__(self) -> None:
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
        self.turns: dict[str, Turn] = {}
        self.keeping: set[str] = set()
        """Lanes that may have kept their turn without a message, until they are served."""

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

    def is_receivable(self, item: Item) -> bool:
        """Whether it could be handed out now, if there were no limit and no turn."""
        return item.receipt is None and item.due <= self.now and self.is_front(item)

    def first(self, lane: str) -> Item:
        """What this lane gives next."""
        ready = (item for item in self.items if self.lane_of(item) == lane and self.is_receivable(item))
        return min(ready, key=lambda item: (-item.priority, item.number))

    def is_front(self, item: Item) -> bool:
        if self.spec.ordering == "none" or item.key is None:
            return True
        line = [other for other in self.items if other.key == item.key]
        return line[0] is item and not any(other.receipt is not None for other in line)

    def able(self) -> dict[str, int]:
        """How many messages each lane could give now, beside all others."""
        held = Counter(map(self.lane_of, self.held()))
        found = Counter(self.lane_of(item) for item in self.items if self.is_receivable(item))
        able = {lane: min(number, self.owed(lane).room(self.now, held[lane])) for lane, number in found.items()}
        return {lane: number for lane, number in able.items() if number}

    def compare(self, given: Sequence[str] = (), could: Mapping[str, int] = MappingProxyType({})) -> None:
        """I3: two lanes that could give messages all the time were given about as many, and none waits for long.

        Args:
            given: the lanes of the messages that were handed out, in order.
            could: how many messages each lane could give before.
        """
        counts, able = Counter(given), self.able()
        pairs = list(combinations(sorted(able), 2))
        self.ahead = {pair: self.ahead.get(pair, 0) + counts[pair[0]] - counts[pair[1]] for pair in pairs}
        for pair, ahead in self.ahead.items():
            assert abs(ahead) <= 2 * self.spec.fair, f"{pair}: {ahead} ahead, with a turn of {self.spec.fair}"
        left = Counter(could)
        for lane in given:
            left[lane] -= 1
            self._pass(lane, is_able=left[lane] > 0)
        self.turns = {lane: self.turns.get(lane, Turn()) for lane in able}

    def _pass(self, lane: str, *, is_able: bool) -> None:
        """A message of this lane was handed out; the others wait on."""
        self.keeping.discard(lane)
        for waiting, turn in self.turns.items():
            turn.others[lane] += 1
            assert waiting == lane or turn.others[lane] <= 2 * self.spec.fair, f"{waiting!r} waits: {turn.others}"
            assert waiting == lane or lane not in turn.behind, f"{lane!r} came later than {waiting!r}"
        if is_able:
            self.turns[lane] = Turn(is_seen=True)
        else:
            self.turns.pop(lane, None)

    def _come(self, lane: str) -> None:
        """A message of this lane is about to be published: if the lane was empty, it goes behind those in turn."""
        if lane not in self.keeping and all(self.lane_of(item) != lane for item in self.items):
            for waiting, turn in self.turns.items():
                if turn.is_seen and waiting != lane:
                    turn.behind.add(lane)

    def disturb(self) -> None:
        """All messages were put in line again: lanes of one turn may have changed places, and empty ones stay."""
        self.keeping.update(self.lanes, map(self.lane_of, self.items))
        for turn in self.turns.values():
            turn.behind.clear()

    def start(self, spec: QueueSpec) -> None:
        self.run(self.driver.open())
        self.run(self.driver.declare(self.spec))
        self.declare(spec)

    def publish(self, parts: Iterable[Parts]) -> None:
        batch: list[Outgoing] = []
        for lane, key, priority, delay in parts:
            self.count += 1
            batch.append(Outgoing(f"{self.count}", b"", {}, delay, priority, key, lane=lane))
            due = self.now + delay if delay else 0.0
            item = Item(self.count, lane if self.spec.fair else "", key, priority, due)
            self._come(self.lane_of(item))
            self.items.append(item)
        assert list(self.run(self.driver.publish("q", batch))) == []
        self.compare()

    def receive(self, limit: int) -> list[Item]:
        self.compare()
        able, held = self.able(), self.held()
        room = self.all.room(self.now, len(held))
        got = self.run(self.driver.receive("q", limit, 0.0))
        # I1 and I4: neither more than the limits allow, nor less.
        assert len(got) == min(limit, room, sum(able.values())), f"{[each.id for each in got]} of {able}"
        items = self._take(got)
        lanes = [self.lane_of(item) for item in items]
        for lane, number in Counter(lanes).items():
            assert number <= able[lane], f"{number} of lane {lane!r}, {able}"
            self.owed(lane).add(self.now, number)
        self.all.add(self.now, len(got))
        self.compare(lanes, able)
        for turn in self.turns.values():
            turn.is_seen = True
        return items

    def _take(self, got: list[Received]) -> list[Item]:
        """Hold these messages in the model. Within a lane they come in order."""
        items = []
        for received in got:
            item = next(item for item in self.items if f"{item.number}" == received.id)
            assert self.first(self.lane_of(item)) is item, f"{received.id} is not the next one of its lane"
            item.receipt = received.receipt
            items.append(item)
        return items

    def settle(self, endings: Iterable[Ending]) -> None:
        batch: list[Settlement] = []
        for kind, item, delay in endings:
            batch.append(Ack(item.receipt) if kind is Ack else kind(item.receipt, delay))  # type: ignore[call-arg]
            item.receipt, item.due = None, self.now + delay if delay else 0.0
            if kind is Ack:
                self.items.remove(item)
            if kind is Release and not delay:
                self.owed(self.lane_of(item)).add(self.now, -1)
                self.all.add(self.now, -1)
        assert list(self.run(self.driver.settle("q", batch))) == []
        self.compare()

    def serve(self, limit: int) -> None:
        """Receive, and ack what comes."""
        self.settle([(Ack, item, 0.0) for item in self.receive(limit)])

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.compare()

    def declare(self, spec: QueueSpec) -> None:
        self.run(self.driver.declare(spec))
        if (spec.fair > 0, spec.ordering) != (self.spec.fair > 0, self.spec.ordering):
            self.lanes = self.lanes if spec.fair and self.spec.fair else {}
        for owed in self.lanes.values():
            owed.change(spec.lane_limit or Limit(), self.now)
        self.all.change(spec.limit or Limit(), self.now)
        if spec != self.spec:
            self.disturb()
            self.ahead, self.turns = {}, {}
        self.spec = spec
        self.compare()

    def purge(self) -> None:
        held = self.held()
        assert self.run(self.driver.purge("q")) == len(self.items) - len(held)
        self.disturb()
        self.items = held
        self.compare()

    def remove(self, gone: Sequence[Item]) -> None:
        assert self.run(self.driver.remove("q", [f"{item.number}" for item in gone])) == len(gone)
        self.disturb()
        self.items = [item for item in self.items if all(item is not each for each in gone)]
        self.compare()

    def reopen(self) -> None:
        self.run(self.driver.close())
        self.run(self.driver.open())
        for item in self.held():
            item.receipt, item.due = None, 0.0
        self.disturb()
        self.compare()

    def check_counts(self) -> None:
        if not self.items and not self.count:
            return
        depth = self.run(self.driver.depth("q"))
        held, delayed = len(self.held()), sum(item.due > self.now and item.receipt is None for item in self.items)
        assert (depth.ready, depth.in_flight, depth.delayed) == (len(self.items) - held - delayed, held, delayed)

    def drain(self) -> None:
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

    def close(self) -> None:
        self.run(self.driver.close())
        self.runner.close()

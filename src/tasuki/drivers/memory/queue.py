"""One queue in memory: decides places, never waits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, count
from math import inf

from tasuki.contracts.driver import Depth, Outgoing, QueueSpec, Received
from tasuki.drivers.memory.lanes import Lane, Line, Slot, by_number
from tasuki.drivers.memory.uniques import Uniques
from tasuki.drivers.toolkit.wait_list import WaitList

_FORGOTTEN = 10
"""Outdated ids forgotten with each publish, besides two for each of its messages."""


class MemoryQueue:
    """What it holds, and who waits for it."""

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self.total = 0
        self.plain = Lane()
        self.lanes: dict[int, Lane] = {0: self.plain}
        self.delayed: list[tuple[float, int, Slot]] = []
        self.held: dict[int, Slot] = {}
        self.lines: dict[str, Line] = {}
        # A plain dict searches the room of all deleted ids for its first one.
        self.known: OrderedDict[str, float] = OrderedDict()
        """When each id was published, oldest first; those outside the ``dedup_window`` are forgotten gradually."""
        self.uniques = Uniques()
        self.waiters: WaitList[bool] = WaitList()
        """Receives; one that is woken with False gets nothing."""

    def declare(self, spec: QueueSpec) -> None:
        """Take new options; a change of ordering puts all waiting messages in line again."""
        changed = spec.ordering != self.spec.ordering
        waiting = sorted(self.peek(), key=by_number) if changed else []
        self.spec = spec
        if spec.dedup_window is None:
            self.known = OrderedDict()
        if changed:
            self._line_up(waiting)

    def place(self, slot: Slot) -> None:
        """Put a message that is not in front of its key where it belongs."""
        if slot.due:
            heappush(self.delayed, (slot.due, slot.number, slot))
        line = self._line(slot)
        if line is None:
            self._show(slot)
        elif line.front:
            line.join(slot)
        else:
            line.front = 1
            line.join(slot)
            self._show(line.rest.popleft())

    def put_back(self, slot: Slot) -> None:
        """Put a message that was held back at its place; it stays in front of its key."""
        slot.receipt = 0
        if (line := self._line(slot)) is not None:
            line.front -= 1
        self.place(slot)

    def leave(self, slot: Slot) -> None:
        """Let the next of the same key come to the front after this one is done."""
        line = self._line(slot)
        if line is None:
            return
        line.front -= 1
        if not line.front and line.rest:
            line.front = 1
            self._show(line.rest.popleft())
        elif not line.front and slot.key is not None:
            del self.lines[slot.key]

    def surface(self, now: float) -> None:
        """Make the delayed messages whose time has come receivable."""
        delayed = self.delayed
        while delayed and delayed[0][0] <= now:
            slot = heappop(delayed)[2]
            slot.due = 0.0
            line = self._line(slot)
            if line is None or not line.rest or slot.number < line.rest[0].number:
                self._show(slot)

    def take(self, limit: int, numbers: count[int]) -> list[Received]:
        """Hand out up to ``limit`` receivable messages, highest priority first."""
        taken: list[Received] = []
        if len(self.lanes) == 1:
            taken = self._take_from(self.plain, limit, numbers)
            return self._noted(taken) if self.uniques else taken
        for priority in sorted(self.lanes, reverse=True):
            taken += self._take_from(self.lanes[priority], limit - len(taken), numbers)
            if priority and not self.lanes[priority]:
                del self.lanes[priority]
        return self._noted(taken) if self.uniques else taken

    def _noted(self, taken: list[Received]) -> list[Received]:
        """The same; messages with a unique key know that they are held."""
        for received in taken:
            self.held[received.receipt].receipt = received.receipt
        return taken

    def _take_from(self, lane: Lane, limit: int, numbers: count[int]) -> list[Received]:
        pop = lane.pop if lane.back else lane.fresh.popleft
        held = self.held
        taken = []
        for _ in range(min(limit, len(lane))):
            slot = pop()
            receipt = next(numbers)
            held[receipt] = slot
            headers = slot.headers.copy()
            taken.append(Received(slot.id, slot.body, headers, receipt, slot.failures + 1, slot.suspect, slot.deaths))
        return taken

    def can_give(self) -> bool:
        """Whether something is receivable now or will be at a known time."""
        return bool(self.delayed) or any(self.lanes.values())

    def start(self, receipt: int) -> bool:
        """Count the delivery as a failure until it is settled; False: it is not held."""
        slot = self.held.get(receipt)
        if slot is None:
            return False
        if not slot.started:
            slot.failures += 1
            slot.started = True
        return True

    def let_go(self) -> None:
        """End all deliveries without a settlement."""
        held, self.held = self.held, {}
        for slot in held.values():
            slot.lose()
            self.put_back(slot)

    def purge(self) -> int:
        """Remove all messages but the held ones; returns how many."""
        removed = self.total - len(self.held)
        self.total = len(self.held)
        self._line_up(())
        self.uniques.keep_only(self.held.values())
        return removed

    def remove(self, ids: frozenset[str]) -> int:
        """Remove what has one of these ids and is not held; returns how many."""
        waiting = sorted(self.peek(), key=by_number)
        left = [slot for slot in waiting if slot.id not in ids]
        removed = len(waiting) - len(left)
        if removed:
            self.total -= removed
            self._line_up(left)
            self.uniques.keep_only(chain(left, self.held.values()))
        return removed

    def expedite(self, ids: frozenset[str]) -> int:
        """End the delays of the messages of these ids; returns how many there were."""
        found = [slot for _, _, slot in self.delayed if slot.id in ids]
        if found:
            waiting = sorted(self.peek(), key=by_number)
            for slot in found:
                slot.due = 0.0
            self._line_up(waiting)
        return len(found)

    def hide(self, slot: Slot, due: float) -> None:
        """Hide a waiting message until another time."""
        waiting = sorted(self.peek(), key=by_number)
        slot.due = due
        self._line_up(waiting)

    def depth(self, now: float, consumers: int) -> Depth:
        """Count the messages."""
        in_flight, delayed = len(self.held), len(self.delayed)
        oldest = min((lane.first().published_at for lane in self.lanes.values() if lane), default=None)
        age = None if oldest is None else now - oldest
        return Depth(self.total - in_flight - delayed, in_flight, delayed, age, consumers)

    def peek(self) -> Iterator[Slot]:
        """The receivable messages in order, then those behind their key, then the delayed ones by their time."""
        lanes = (self.lanes[priority] for priority in sorted(self.lanes, reverse=True))
        behind = (slot for line in self.lines.values() for slot in line.rest if not slot.due)
        return chain(chain.from_iterable(lanes), behind, (slot for _, _, slot in sorted(self.delayed)))

    def fits(self, batch: Sequence[Outgoing], now: float) -> bool:
        """Whether there is room for all of these; a duplicate needs none."""
        if self.spec.max_length is None:
            return True
        needed = len(batch)
        if self.spec.dedup_window is not None:
            since = now - self.spec.dedup_window
            once = {message.id for message in batch if message.deduplicate}
            needed -= sum(message.deduplicate for message in batch)
            needed += sum(self.known.get(id, -inf) <= since for id in once)
        return self.total + needed <= self.spec.max_length

    def choose(self, batch: Sequence[Outgoing], now: float) -> tuple[Sequence[Outgoing], int]:
        """The messages of a batch to store, and how many from its start are taken care of: later ones find no room.

        Duplicates take no room; the others are known from now on.
        """
        most = self.spec.max_length
        room = len(batch) if most is None else max(most - self.total, 0)
        if self.spec.dedup_window is None:
            return (batch, len(batch)) if room >= len(batch) else (batch[:room], room)
        known, since = self.known, now - self.spec.dedup_window
        for _ in range(_FORGOTTEN + 2 * len(batch)):
            if not known or next(iter(known.values())) > since:
                break
            known.popitem(last=False)
        chosen: list[Outgoing] = []
        for index, message in enumerate(batch):
            if message.deduplicate and known.get(message.id, -inf) > since:
                continue
            if len(chosen) == room:
                return chosen, index
            chosen.append(message)
            if message.deduplicate:
                known[message.id] = now
                known.move_to_end(message.id)
        return chosen, len(batch)

    def is_known(self, message: Outgoing, now: float) -> bool:
        """Whether its id was published within the ``dedup_window``."""
        window = self.spec.dedup_window
        return window is not None and message.deduplicate and self.known.get(message.id, -inf) > now - window

    def remember(self, message: Outgoing, now: float) -> None:
        """Know its id for the ``dedup_window``, if there is one."""
        if self.spec.dedup_window is not None and message.deduplicate:
            self.known[message.id] = now
            self.known.move_to_end(message.id)

    def _line_up(self, waiting: Iterable[Slot]) -> None:
        """Let the queue hold these, in order, beside the held messages."""
        self.plain = Lane()
        self.lanes = {0: self.plain}
        self.delayed = []
        self.lines = {}
        for slot in self.held.values():
            if (line := self._line(slot)) is not None:
                line.front += 1
        for slot in waiting:
            self.place(slot)

    def _line(self, slot: Slot) -> Line | None:
        if slot.key is None or self.spec.ordering != "key":
            return None
        if (line := self.lines.get(slot.key)) is None:
            line = self.lines[slot.key] = Line()
        return line

    def _show(self, slot: Slot) -> None:
        if slot.due:
            return
        lane = self.lanes.get(slot.priority)
        if lane is None:
            lane = self.lanes[slot.priority] = Lane()
        lane.put(slot)

"""One queue in memory: decides places, never waits."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, count
from math import inf

import msgspec

from tasuki.contracts.driver import Depth, Outgoing, QueueSpec, Received, Unique
from tasuki.drivers.memory.lanes import Lanes
from tasuki.drivers.memory.ranks import Rank, Ranks
from tasuki.drivers.memory.slots import Slot, by_number
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.wait_list import WaitList

_CHECKED = 3
"""Old pins that each publish of a unique message checks, to forget those that mean nothing any more."""


class Pin(msgspec.Struct, gc=False):
    """The message that was stored last for a key; ``until``: the end of its window, in monotonic seconds."""

    slot: Slot
    until: float = 0.0
    is_gone: bool = False


class Uniques:
    """The pins of one queue by key. A pin is no lock: it counts only while its message is where the span says."""

    def __init__(self) -> None:
        self._pins: OrderedDict[str, Pin] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._pins)

    def holder(self, unique: Unique, now: float) -> Slot | None:
        """The message that has the key for this span; None: the key is free."""
        pin = self._pins.get(unique.key)
        if pin is None:
            return None
        if isinstance(unique.span, str):
            has = not pin.is_gone and (unique.span == "running" or not pin.slot.receipt)
        else:
            has = pin.until > now
        return pin.slot if has else None

    def is_waiting(self, unique: Unique) -> bool:
        """Whether the message of the key is in the queue, and no receiver holds it."""
        pin = self._pins[unique.key]
        return not pin.is_gone and not pin.slot.receipt

    def pin(self, unique: Unique, slot: Slot, now: float) -> None:
        """Give the key to a message that was stored."""
        slot.unique = unique.key
        self._pins[unique.key] = Pin(slot, 0.0 if isinstance(unique.span, str) else now + unique.span)
        self._pins.move_to_end(unique.key)
        for _ in range(_CHECKED):
            key, oldest = next(iter(self._pins.items()))
            if oldest.is_gone and oldest.until <= now:
                del self._pins[key]
            else:
                self._pins.move_to_end(key)

    def done(self, slot: Slot) -> None:
        """The message is not in the queue any more."""
        if slot.unique is not None and (pin := self._pins.get(slot.unique)) is not None and pin.slot is slot:
            if pin.until:
                pin.is_gone, slot.body = True, b""
            else:
                del self._pins[slot.unique]

    def keep_only(self, left: Iterable[Slot]) -> None:
        """The queue holds these messages, and no others."""
        numbers = {slot.number for slot in left}
        for pin in [*self._pins.values()]:
            if not pin.is_gone and pin.slot.number not in numbers:
                self.done(pin.slot)


class Line:
    """The messages of one key: how many are in front (receivable, delayed or held; normally one), and the rest."""

    __slots__ = ("front", "rest")

    def __init__(self) -> None:
        self.front = 0
        self.rest: deque[Slot] = deque()

    def join(self, slot: Slot) -> None:
        """Add one behind the front, at its place."""
        if self.rest and self.rest[-1].number > slot.number:
            insort(self.rest, slot, key=by_number)
        else:
            self.rest.append(slot)


_FORGOTTEN = 10
"""Outdated ids forgotten with each publish, besides two for each of its messages."""


class MemoryQueue:
    """What it holds, and who waits for it."""

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self.total = 0
        self.ready = Ranks()
        """What can be received, where the queue has no lanes."""
        self.lanes = Lanes(spec.lane_limit, spec.fair) if spec.fair else None
        self.tat = -inf
        """When all that was handed out is made up for at the queue's rate; see ``limits``."""
        self.delayed: list[tuple[float, int, Slot]] = []
        self.held: dict[int, Slot] = {}
        self.lines: dict[str, Line] = {}
        # A plain dict searches the room of all deleted ids for its first one.
        self.known: OrderedDict[str, float] = OrderedDict()
        """When each id was published, oldest first; those outside the ``dedup_window`` are forgotten gradually."""
        self.uniques = Uniques()
        self.waiters: WaitList[bool] = WaitList()
        """Receives; one that is woken with False gets nothing."""

    def declare(self, spec: QueueSpec, now: float) -> None:
        """Take new options; a change of the order puts all waiting messages in line again."""
        before, waiting = self.spec, []
        if is_new := (spec.ordering, spec.fair > 0) != (before.ordering, before.fair > 0):
            waiting = sorted(self.peek(), key=by_number)
        self.spec = spec
        self.tat = limits.changed(before.limit or limits.NONE, spec.limit or limits.NONE, self.tat, now)
        if not spec.fair:
            self.lanes = None
        elif self.lanes is None:
            self.lanes = Lanes(spec.lane_limit, spec.fair)
        else:
            self.lanes.change(spec.lane_limit, spec.fair, now)
        if spec.dedup_window is None:
            self.known = OrderedDict()
        if is_new:
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
        if self.lanes is not None:
            self.lanes.freed(self._lane_of(slot))
        if (line := self._line(slot)) is not None:
            line.front -= 1
        self.place(slot)

    def give_back(self, slot: Slot) -> None:
        """Let a held message, which is put back next, have cost nothing of the queue's rates."""
        if self.spec.limit is not None:
            self.tat = limits.given_back(self.spec.limit, self.tat)
        if self.lanes is not None:
            self.lanes.give_back(self._lane_of(slot))

    def done(self, slot: Slot) -> None:
        """Let a message go that was held and is acked."""
        if self.lanes is not None:
            self.lanes.freed(self._lane_of(slot))
        if slot.key is not None:
            self.leave(slot)
        if slot.unique is not None:
            self.uniques.done(slot)

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

    def take(self, limit: int, numbers: count[int], now: float) -> list[Received]:
        """Hand out up to ``limit`` receivable messages, highest priority first, lane by lane."""
        if self.delayed:
            self.surface(now)
        if self.spec.limit is not None:
            limit = min(limit, limits.room(self.spec.limit, self.tat, now, len(self.held)))
        slots = self.ready.take(limit) if self.lanes is None else self.lanes.take(limit, now)
        if self.spec.limit is not None:
            self.tat = limits.spent(self.spec.limit, self.tat, now, len(slots))
        return [self._hand_out(slot, next(numbers)) for slot in slots]

    def next_at(self, now: float) -> float:
        """When something can be handed out: ``now``, a later time, or never by itself (inf)."""
        at = now if self.ready else inf
        if self.lanes is not None:
            at = self.lanes.next_at(now)
        if self.delayed:
            at = min(at, self.delayed[0][0])
        if self.spec.limit is not None and at < inf:
            at = max(at, limits.opens_at(self.spec.limit, self.tat, now, len(self.held)))
        return at

    def can_give(self, now: float) -> bool:
        """Whether something can be handed out now, or will be at a known time."""
        return self.next_at(now) < inf

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

    def remove(self, ids: frozenset[str], places: Collection[str] = ()) -> int:
        """Remove what has one of these ids, and is at one of the places, and is not held; returns how many."""
        found = {slot.number for slot in self.peek() if slot.id in ids and (not places or str(slot.number) in places)}
        if found:
            self.total -= len(found)
            self.take_out(found)
        return len(found)

    def take_out(self, numbers: Collection[int]) -> None:
        """Remove messages that are not held, and that ``total`` does not count any more."""
        left = [slot for slot in sorted(self.peek(), key=by_number) if slot.number not in numbers]
        self._line_up(left)
        self.uniques.keep_only(chain(left, self.held.values()))

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

    def depth(self, now: float) -> Depth:
        """Count the messages."""
        in_flight, delayed = len(self.held), len(self.delayed)
        oldest = (self.ready if self.lanes is None else self.lanes).oldest()
        age = None if oldest is None else now - oldest
        return Depth(self.total - in_flight - delayed, in_flight, delayed, age)

    def peek(self) -> Iterator[Slot]:
        """The receivable messages in order, then those behind their key, then the delayed ones by their time."""
        behind = (slot for line in self.lines.values() for slot in line.rest if not slot.due)
        return chain(self.receivable(), behind, (slot for _, _, slot in sorted(self.delayed)))

    def ranks(self) -> Iterator[Rank]:
        """The ranks of these messages, of all lanes."""
        return self.ready.ranks() if self.lanes is None else self.lanes.ranks()

    def receivable(self) -> Iterator[Slot]:
        """The messages that can be handed out as soon as limits allow."""
        return iter(self.ready if self.lanes is None else self.lanes)

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
        self.ready = Ranks()
        if self.lanes is not None:
            self.lanes.clear(map(self._lane_of, self.held.values()))
        self.delayed = []
        self.lines = {}
        for slot in self.held.values():
            if (line := self._line(slot)) is not None:
                line.front += 1
        for slot in waiting:
            self.place(slot)
        if self.lanes is not None:
            self.lanes.stir()

    def _line(self, slot: Slot) -> Line | None:
        if slot.key is None or self.spec.ordering != "key":
            return None
        if (line := self.lines.get(slot.key)) is None:
            line = self.lines[slot.key] = Line()
        return line

    def _lane_of(self, slot: Slot) -> str:
        """With order per key, the lanes are the keys."""
        return (slot.key or "") if self.spec.ordering == "key" else slot.lane

    def _show(self, slot: Slot) -> None:
        if slot.due:
            return
        if self.lanes is None:
            self.ready.put(slot)
        else:
            self.lanes.put(self._lane_of(slot), slot)

    def _hand_out(self, slot: Slot, receipt: int) -> Received:
        self.held[receipt] = slot
        if slot.unique is not None:
            slot.receipt = receipt
        headers = slot.headers.copy()
        return Received(slot.id, slot.body, headers, receipt, slot.failures + 1, slot.suspect, slot.deaths)

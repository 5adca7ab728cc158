"""Ranks: what a queue, or one of its lanes, can hand out, by priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush, merge
from itertools import chain, islice

from tasuki.drivers.memory.slots import Slot, by_number


class Rank:
    """The receivable messages of one priority: new ones in a deque, those that came back in a heap, both by number."""

    __slots__ = ("back", "fresh")

    def __init__(self) -> None:
        self.fresh: deque[Slot] = deque()
        self.back: list[tuple[int, Slot]] = []

    def __len__(self) -> int:
        return len(self.fresh) + len(self.back)

    def put(self, slot: Slot) -> None:
        """Add one at its place."""
        if self.fresh and self.fresh[-1].number > slot.number:
            heappush(self.back, (slot.number, slot))
        else:
            self.fresh.append(slot)

    def pop(self) -> Slot:
        """Take the first."""
        back, fresh = self.back, self.fresh
        if back and (not fresh or back[0][0] < fresh[0].number):
            return heappop(back)[1]
        return fresh.popleft()

    def take(self, limit: int) -> list[Slot]:
        """Remove the first ones, up to this many."""
        pop = self.pop if self.back else self.fresh.popleft
        return [pop() for _ in range(min(limit, len(self)))]

    def first(self) -> Slot:
        """Show the first."""
        return min(chain(islice(self.fresh, 1), (slot for _, slot in self.back[:1])), key=by_number)

    def __iter__(self) -> Iterator[Slot]:
        return merge((slot for _, slot in sorted(self.back)), self.fresh, key=by_number)


class Ranks:
    """The receivable messages: a rank for each priority; the one of priority 0 is always there."""

    __slots__ = ("by_priority", "plain")

    def __init__(self) -> None:
        self.plain = Rank()
        self.by_priority: dict[int, Rank] = {0: self.plain}

    def __bool__(self) -> bool:
        return any(self.by_priority.values())

    def __iter__(self) -> Iterator[Slot]:
        return chain.from_iterable(self.by_priority[priority] for priority in sorted(self.by_priority, reverse=True))

    def put(self, slot: Slot) -> None:
        """Add one at its place."""
        rank = self.by_priority.get(slot.priority)
        if rank is None:
            rank = self.by_priority[slot.priority] = Rank()
        rank.put(slot)

    def take(self, limit: int) -> list[Slot]:
        """Remove up to this many, the highest priority first."""
        if len(self.by_priority) == 1:
            return self.plain.take(limit)
        taken: list[Slot] = []
        for priority in sorted(self.by_priority, reverse=True):
            rank = self.by_priority[priority]
            taken += rank.take(limit - len(taken))
            if priority and not rank:
                del self.by_priority[priority]
        return taken

    def ranks(self) -> Iterator[Rank]:
        """One for each priority."""
        return iter(self.by_priority.values())

    def oldest(self) -> float | None:
        """When the oldest one was published."""
        return min((rank.first().published_at for rank in self.by_priority.values() if rank), default=None)

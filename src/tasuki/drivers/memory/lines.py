"""Line: the messages of one key, in a queue that keeps their order."""

from __future__ import annotations

from bisect import insort
from collections import deque

from tasuki.drivers.memory.slots import Slot, by_number


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

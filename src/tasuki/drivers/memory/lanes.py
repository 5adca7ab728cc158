"""What stands in line in a queue, and the two kinds of line: one a priority, one a key."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush, merge
from itertools import chain, islice
from operator import attrgetter

import msgspec

from tasuki.drivers.toolkit.results import failed
from tasuki.message import HeaderValue, Message


class Slot(msgspec.Struct, gc=False):
    """A stored message and its place in line; ``due`` is 0.0 unless it is hidden until then."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]
    number: int
    published_at: float
    priority: int = 0
    key: str | None = None
    due: float = 0.0
    failures: int = 0
    """Nacks, and recorded starts that ended without a settlement."""
    started: bool = False
    """Whether the failures contain the start of the delivery that is open."""
    suspect: bool = False
    deaths: int = 0
    """How many of the failures are starts that ended without a settlement."""
    failure: tuple[str, float] | None = None
    """The last error that a nack gave, and when (Unix seconds)."""
    unique: str | None = None
    """The key of which it was to be the only message."""
    receipt: int = 0
    """Of a message with ``unique`` that a receiver holds."""

    def lose(self) -> None:
        """Its delivery ends without a settlement."""
        self.deaths += self.started
        self.started, self.suspect = False, True

    def replace(self, id: str, body: bytes, headers: dict[str, HeaderValue]) -> None:
        """Become another message at the same place, without a failure."""
        self.id, self.body, self.headers = id, body, headers
        self.failures = self.deaths = 0
        self.suspect, self.failure = False, None

    def shown(self) -> Message:
        """The message as ``peek`` shows it."""
        if self.failure:
            return failed(self.id, self.body, self.headers, *self.failure)
        return Message(self.id, self.body, self.headers.copy())


by_number = attrgetter("number")


class Lane:
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

    def first(self) -> Slot:
        """Show the first."""
        return min(chain(islice(self.fresh, 1), (slot for _, slot in self.back[:1])), key=by_number)

    def __iter__(self) -> Iterator[Slot]:
        return merge((slot for _, slot in sorted(self.back)), self.fresh, key=by_number)


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

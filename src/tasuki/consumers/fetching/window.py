"""Window: how many deliveries a consumer may hold, and so how many to request now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MOST_CONCURRENCY = 1000
"""Most messages that one consumer of a process handles at the same time."""
MAX_PREFETCH = 10000
"""Most messages that it holds."""


def prefetch_for(concurrency: int, prefetch: int, own: int, least: int = 1) -> int:
    """The window of a consumer that handles this many messages at a time, instead of its ``own`` with ``prefetch``.

    It has the same proportion, and room for each worker; ``least``: the size of a batch.
    """
    return max(min(max(-(-prefetch * concurrency // own), least), MAX_PREFETCH), concurrency)


Keeping = Literal["kept", "ended", "parked", "unparked", "owed", "paid"]
"""A delivery is kept beside the places of the window, or no more; a kept one takes no place, or has ended as such;
something is owed for one that is settled already, or no more."""
MOST_PARKED = 1000
"""Most messages that take no place, as no queue can take their dead letters."""
MOST_PARKED_BYTES = 64 * 1024 * 1024


@dataclass(eq=False, slots=True)
class DeliveryWindow:
    """``prefetch`` bounds the held deliveries: buffered, running, and not yet settled at the broker.

    As many more may be ``kept`` because their dead letter or reply cannot be published yet, so that a full or
    unavailable dead-letter queue does not stop the other messages at once. ``owed`` ones count as those do: they were
    acked early, and their results cannot be written yet. A ``parked`` one takes no place at all: it is kept for a
    reason that may last for days.
    """

    prefetch: int
    held: int = 0
    kept: int = 0
    owed: int = 0
    parked: int = 0
    parked_bytes: int = 0

    def wanted(self, buffered: int) -> int:
        """How many messages to request; 0: wait.

        While the buffer keeps the workers busy, at least a quarter of the window is requested at once; with an empty
        buffer any room is used.
        """
        beside = min(self.kept + self.owed, self.prefetch)
        room = self.prefetch - self.held - self.owed + self.parked + beside
        return room if room > 0 and (buffered == 0 or room * 4 >= self.prefetch) else 0

    @property
    def is_filled_by_kept(self) -> bool:
        """Whether kept deliveries leave no place for others."""
        return self.kept + self.owed >= 2 * self.prefetch

    def keep(self, change: Keeping, size: int) -> bool:
        """Note a change of a delivery with a body of ``size`` bytes; False: it is not parked, as too many are."""
        if change == "parked":
            if self.parked >= MOST_PARKED or self.parked_bytes + size > MOST_PARKED_BYTES:
                return False
            self.kept -= 1
            self.parked += 1
            self.parked_bytes += size
        elif change == "unparked":
            self.parked -= 1
            self.parked_bytes -= size
        elif change in ("owed", "paid"):
            self.owed += 1 if change == "owed" else -1
        else:
            self.kept += 1 if change == "kept" else -1
        return True
